"""`notifier messages`: of a running server by HTTP; without one, of the journal itself."""

import asyncio
import itertools
import os
import pwd
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from notifier.cli.client import Client, Refused, RequestFailed
from notifier.cli.display import Resource, story, table
from notifier.cli.progress import Progress, shown_meanwhile
from notifier.deliveries import Delivery
from notifier.errors import JournalInUse, NotifierError, Rejected
from notifier.journal import Journal, Step, journal_at, journal_exists
from notifier.logs import Logs
from notifier.retries import again
from notifier.settings import Settings
from notifier.web.api.queries import Filters, MessageQuery
from notifier.web.api.resources import MessageList, resource

T = TypeVar("T")
F = TypeVar("F", bound=Filters)

MOST_COUNTED = 10_000  # further nobody counts
ALL_SECONDS = 600.0  # given to a server to change all that match


class NotDone(NotifierError):
    """Some messages are as they were, and why."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{id}: {reason}" for id, reason in reasons.items()))


class Source(Protocol):
    """Wherever messages can be seen, and changed. `said` names it to the person who asks."""

    said: str

    def list(self, query: Mapping[str, Any]) -> Resource: ...

    def show(self, id: str) -> Resource: ...

    def act(self, verb: str, id: str) -> Resource: ...

    def count(self, query: Mapping[str, Any]) -> int:
        """How many match; more than MOST_COUNTED: so many, or more."""
        ...

    def act_all(self, verb: str, query: Mapping[str, Any], count: int) -> int:
        """How many were changed, of about so many that match."""
        ...


def source_of(settings: Settings, client: Client, *, named: bool, offline: bool) -> Source:
    """The server, if it runs or was named; else the journal. Raises RequestFailed."""
    if named or (not offline and client.answers()):
        return ByHttp(client)
    why = "no server was to be asked" if offline else f"no server answers at {client.url}"
    if not journal_exists(settings.journal, data_dir=settings.data_dir):
        raise RequestFailed(f"{why}, and there is no journal in {settings.data_dir}")
    return ByJournal(settings, why)


class ByHttp:
    """A running server's. Raises RequestFailed."""

    def __init__(self, client: Client) -> None:
        self.said = f"from the server at {client.url}"
        self._client = client

    def list(self, query: Mapping[str, Any]) -> Resource:
        return self._client.get(f"/v1/messages?{urlencode(query, doseq=True)}")

    def show(self, id: str) -> Resource:
        return self._client.get(f"/v1/messages/{id}")

    def act(self, verb: str, id: str) -> Resource:
        return self._client.post(f"/v1/messages/{id}/{verb}")

    def count(self, query: Mapping[str, Any]) -> int:
        found = self._client.get(f"/v1/messages/count?{urlencode(query, doseq=True)}")
        return MOST_COUNTED + 1 if found["more"] else int(found["count"])

    def act_all(self, verb: str, query: Mapping[str, Any], count: int) -> int:  # noqa: ARG002 - it does not say how far it is
        path = f"/v1/messages/{verb}?{urlencode(query, doseq=True)}"
        post = partial(self._client.post, path, timeout=ALL_SECONDS)
        return int(shown_meanwhile(f"{verb}: messages", post)["count"])


class ByJournal:
    """The journal's, which no server has open. Raises JournalInUse, Rejected."""

    def __init__(self, settings: Settings, why: str) -> None:
        self.said = f"from the journal in {settings.data_dir}: {why}"
        self._settings = settings

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = _read(query, MessageQuery)
        page = self._do(lambda it: it.find(asked.filter(), limit=asked.limit, cursor=asked.cursor))
        found = MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)
        return _plain(found)

    def show(self, id: str) -> Resource:
        return _plain(resource(self._do(lambda it: it.get(id))))

    def act(self, verb: str, id: str) -> Resource:
        step = self._step(verb)
        return _plain(resource(self._do(lambda it: it.amend(id, step))))

    def count(self, query: Mapping[str, Any]) -> int:
        which = _read(query, Filters).filter()
        return self._do(lambda it: it.count(which, most=MOST_COUNTED + 1))

    def act_all(self, verb: str, query: Mapping[str, Any], count: int) -> int:
        which, step, done = _read(query, Filters).filter(), self._step(verb), itertools.count(1)
        whole = count if count <= MOST_COUNTED else 0
        with Progress(counted=True) as told:

            def shown(delivery: Delivery) -> Delivery:
                changed = step(delivery)
                told(f"{verb}: messages", next(done), whole)
                return changed

            return self._do(lambda it: it.amend_all(which, shown))

    def _step(self, verb: str) -> Step:
        now, by = datetime.now(UTC), f"cli:{_user()}"
        if verb == "cancel":
            return partial(Delivery.cancelled, now=now, by=by)
        kept = timedelta(seconds=self._settings.body_retention)
        return partial(again, now=now, kept=kept, by=by)

    def _do(self, ask: Callable[[Journal], Awaitable[T]]) -> T:
        with Logs(level="warning"):
            return asyncio.run(self._opened(ask))

    async def _opened(self, ask: Callable[[Journal], Awaitable[T]]) -> T:
        journal = journal_at(self._settings.journal, data_dir=self._settings.data_dir)
        try:
            await journal.open()
        except JournalInUse as error:
            raise JournalInUse(f"{error}, which does not answer; say --url where it does") from None
        try:
            return await ask(journal)
        finally:
            await journal.close()


def _user() -> str:
    """By name, or by number where the system knows none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _read(query: Mapping[str, Any], kind: type[F]) -> F:
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(str(error)) from None


def _plain(value: msgspec.Struct) -> Resource:
    plain: Resource = msgspec.to_builtins(value)
    return plain


def listed(source: Source, query: Mapping[str, Any], *, as_json: bool) -> str:
    """A page of messages, for a person or as JSON."""
    page = source.list(query)
    if as_json:
        return _json(page)
    if not page["items"]:
        return "no messages"
    further = page["next_cursor"]
    return table(page["items"]) + (f"\nmore: --cursor {further}" if further else "")


def shown(message: Resource, *, as_json: bool) -> str:
    """One message, for a person or as JSON."""
    return _json(message) if as_json else story(message)


def acted(source: Source, verb: str, ids: Sequence[str], *, as_json: bool) -> Iterator[str]:
    """What became of each, a line of its own. Raises NotDone once all have been tried."""
    failed = {}
    for id in ids:
        try:
            message = source.act(verb, id)
        except (Refused, Rejected) as error:
            failed[id] = str(error)
            continue
        yield msgspec.json.encode(message).decode() if as_json else _changed(message)
    if failed:
        raise NotDone(failed)


def acted_on_all(
    source: Source, verb: str, query: Mapping[str, Any], count: int, *, as_json: bool
) -> str:
    """How many were changed, of about so many that match."""
    changed = source.act_all(verb, query, count)
    if as_json:
        return msgspec.json.encode({"count": changed}).decode()
    return f"{changed} {'retried' if verb == 'retry' else 'cancelled'}"


def _changed(message: Resource) -> str:
    return f"{message['id']} {message['status']}"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
