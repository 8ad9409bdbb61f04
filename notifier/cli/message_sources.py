"""
Where `notifier messages` finds messages: at a running server, by HTTP; without one, in the
journal itself.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

from msgspec import Struct

from notifier.acts import filter_text
from notifier.audit import Audit
from notifier.audit.records import actor
from notifier.cli.display import Resource
from notifier.cli.journal import in_journal
from notifier.cli.progress import Progress, with_spinner
from notifier.cli.sources import AtServer, InJournal, builtins, converted
from notifier.deliveries import Delivery
from notifier.journal import Change, Journal
from notifier.retries import retry
from notifier.settling import Settlement, settle
from notifier.web.api.message_json import MessageList, resource
from notifier.web.api.queries import Filters, MessageQuery

T = TypeVar("T")

MOST_COUNTED = 10_000  # messages; counting stops there
ALL_SECONDS = 600.0  # for a server to change all that match


class Act(Struct, frozen=True):
    """What is done to messages: the last word of the call's path, and how they are settled."""

    verb: str
    settlement: Settlement | None = None

    @property
    def body(self) -> dict[str, str] | None:
        """Of the call."""
        if self.settlement is None:
            return None
        return {"as": self.settlement.outcome.value, "why": self.settlement.why}


class ByHttp(AtServer):
    """Messages of a running server. Raises RequestFailed."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        return self._client.get(f"/v1/messages?{urlencode(query, doseq=True)}")

    def show(self, id: str) -> Resource:
        return self._client.get(f"/v1/messages/{id}")

    def act(self, act: Act, id: str) -> Resource:
        return self._client.post(f"/v1/messages/{id}/{act.verb}", act.body)

    def count(self, query: Mapping[str, Any]) -> int:
        found = self._client.get(f"/v1/messages/count?{urlencode(query, doseq=True)}")
        return MOST_COUNTED + 1 if found["more"] else int(found["count"])

    def act_all(self, act: Act, query: Mapping[str, Any], count: int) -> int:  # noqa: ARG002 - the server does not report progress
        path = f"/v1/messages/{act.verb}?{urlencode(query, doseq=True)}"
        post = partial(self._client.post, path, act.body, timeout=ALL_SECONDS)
        return int(with_spinner(f"{act.verb}: messages", post)["count"])


class ByJournal(InJournal):
    """Messages of a journal that no server has open. Raises JournalInUse, Rejected."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = converted(query, MessageQuery)
        page = self._do(lambda it: it.find(asked.filter(), limit=asked.limit, cursor=asked.cursor))
        found = MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)
        return builtins(found)

    def show(self, id: str) -> Resource:
        return builtins(resource(self._do(lambda it: it.get(id))))

    def act(self, act: Act, id: str) -> Resource:
        step = self._step(act)
        said = act.settlement.said if act.settlement else ""

        def amend(journal: Journal) -> Awaitable[Delivery]:
            record = Audit(journal).one(actor(), act.verb, on=id, detail=said)
            return journal.amend(id, step, also=record)

        return builtins(resource(self._do(amend)))

    def count(self, query: Mapping[str, Any]) -> int:
        which = converted(query, Filters).filter()
        return self._do(lambda it: it.count(which, most=MOST_COUNTED + 1))

    def act_all(self, act: Act, query: Mapping[str, Any], count: int) -> int:
        which, step, done = converted(query, Filters).filter(), self._step(act), itertools.count(1)
        whole = count if count <= MOST_COUNTED else 0
        with Progress(counted=True) as progress:

            def counted(delivery: Delivery) -> Delivery:
                changed = step(delivery)
                progress(f"{act.verb}: messages", next(done), whole)
                return changed

            def amend(journal: Journal) -> Awaitable[int]:
                said = act.settlement.said if act.settlement else ""
                detail = f"{filter_text(which)} {said}".strip()
                record = Audit(journal).many(actor(), act.verb, detail=detail)
                return journal.amend_all(which, counted, also=record)

            return self._do(amend)

    def _step(self, act: Act) -> Change:
        now, by = datetime.now(UTC), actor()
        if act.settlement is not None:
            return partial(settle, now=now, settlement=act.settlement, by=by)
        if act.verb == "cancel":
            return partial(Delivery.cancelled, now=now, by=by)
        kept = timedelta(seconds=self._settings.body_retention)
        return partial(retry, now=now, kept=kept, by=by)

    def _do(self, ask: Callable[[Journal], Awaitable[T]]) -> T:
        return in_journal(self._settings, ask)


Source: TypeAlias = ByHttp | ByJournal
