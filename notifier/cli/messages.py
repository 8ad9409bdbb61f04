"""`notifier messages`: of a running server by HTTP; without one, of the journal itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import click
import msgspec

from notifier.cli.client import Client, RequestFailed
from notifier.deliveries import Delivery
from notifier.errors import JournalInUse, MessageNotFound, WrongState
from notifier.journal import Journal, journal_at, journal_exists
from notifier.logs import Logs
from notifier.settings import Settings
from notifier.web.queries import MessageQuery
from notifier.web.resources import MessageList, resource

T = TypeVar("T")
Resource = dict[str, Any]

COLUMNS = ("ID", "STATUS", "TO", "CREATED", "SUBJECT", "REASON")
WIDEST = 40  # characters of a column
COLOURS = {
    "sent": "green",
    "failed": "red",
    "expired": "red",
    "held": "magenta",
    "deferred": "yellow",
    "sending": "cyan",
}


class Source(Protocol):
    """Wherever messages can be seen, and changed. `said` names it to the person who asks."""

    said: str

    def list(self, query: Mapping[str, Any]) -> Resource: ...

    def show(self, id: str) -> Resource: ...

    def act(self, verb: str, id: str) -> Resource: ...


def source_of(settings: Settings, client: Client, *, named: bool) -> Source:
    """The server, if it runs or was named; else the journal. Raises RequestFailed."""
    if named or client.answers():
        return ByHttp(client)
    if not journal_exists(settings.journal, data_dir=settings.data_dir):
        raise RequestFailed(f"no server answers at {client.url}, and there is no journal here")
    return ByJournal(settings)


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


class ByJournal:
    """The journal's, which no server has open. Raises JournalInUse, Rejected."""

    def __init__(self, settings: Settings) -> None:
        self.said = "from the journal: no server runs"
        self._settings = settings

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = msgspec.convert(query, MessageQuery, strict=False)
        page = self._do(lambda it: it.find(asked.filter(), limit=asked.limit, cursor=asked.cursor))
        found = MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)
        return _plain(found)

    def show(self, id: str) -> Resource:
        return _plain(resource(self._do(lambda it: it.get(id))))

    def act(self, verb: str, id: str) -> Resource:
        return _plain(resource(self._do(partial(_amend, verb, id))))

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


async def _amend(verb: str, id: str, journal: Journal) -> Delivery:
    now = datetime.now(UTC)
    if verb == "cancel":
        return await journal.amend(id, partial(Delivery.cancelled, now=now))
    await journal.get(id)
    try:
        await journal.content(id)
    except MessageNotFound:
        raise WrongState("its content is not kept any more (NOTIFIER_BODY_RETENTION)") from None
    return await journal.amend(id, partial(Delivery.again, now=now))


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
    """What became of each. Raises at the first that cannot be done."""
    for id in ids:
        message = source.act(verb, id)
        yield _json(message) if as_json else f"{message['id']} {message['status']}"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def table(messages: Sequence[Resource]) -> str:
    """A line each; a terminal shows the state in colour."""
    rows = [COLUMNS, *map(_row, messages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(message: Resource) -> tuple[str, ...]:
    to = [each["address"] for each in message["recipients"]]
    more = f" +{len(to) - 1}" if len(to) > 1 else ""
    cells = (
        f"{to[0] if to else ''}{more}",
        message["created_at"][:19].replace("T", " "),
        message["subject"],
        message["reason"] or "",
    )
    return message["id"], message["status"], *map(_cell, cells)


def _cell(text: str) -> str:
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown if len(shown) <= WIDEST else f"{shown[: WIDEST - 1]}…"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
    cells[1] = click.style(cells[1], fg=COLOURS.get(row[1]))
    return "  ".join(cells).rstrip()


def story(message: Resource) -> str:
    """One message in lines: where it is, for whom, and what has happened."""
    status = click.style(message["status"], fg=COLOURS.get(message["status"]))
    lines = [f"{message['id']}  {status}", f"subject   {_cell(message['subject'])}"]
    lines += [f"reason    {message['reason']}"] if message["reason"] else []
    lines += [
        f"{each['status']:9} {each['address']}  {each['reply']}".rstrip()
        for each in message["recipients"]
    ]
    lines += [
        f"{each['at'][:19].replace('T', ' ')}  {each['what']}  {each['detail']}".rstrip()
        for each in message["timeline"]
    ]
    shown = ("".join(c if c.isprintable() or c == "\x1b" else " " for c in each) for each in lines)
    return "\n".join(shown)
