"""
One connection to an IMAP server (RFC 3501), with the commands that reading reports needs. Needs the
extra `imap`. Every call raises ImapError if the server refuses, does not answer, or is gone.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

from aioimaplib import IMAP4, AioImapException

from notifier.mailboxspec import MailboxSpec
from notifier.tokens import NoToken, Tokens

T = TypeVar("T")

ANSWER_SECONDS = 60.0
LARGEST = 512 * 1024  # octets of a mail that are fetched: a report has its data in front


class ImapError(Exception):
    """The mailbox cannot be used now. The text never has a password."""


class ImapConnection(contextlib.AbstractAsyncContextManager["ImapConnection"]):
    """Logged in, with the folder selected, between entering and leaving."""

    def __init__(
        self, spec: MailboxSpec, tokens: Tokens | None, *, seconds: float = ANSWER_SECONDS
    ) -> None:
        """`seconds`: for each answer."""
        self._spec = spec
        self._seconds = seconds
        self._tokens = tokens
        self._lost = asyncio.Event()
        self._arrived = asyncio.Event()  # mails, since they were looked for
        self._client: IMAP4

    async def __aenter__(self) -> Self:
        context = _context(self._spec) if self._spec.tls else None
        self._client = IMAP4(
            self._spec.host,
            self._spec.port,
            timeout=self._seconds,
            conn_lost_cb=lambda _: self._lost.set(),
            ssl_context=context,
        )
        self._hear_of_mails()
        try:
            await self._ask("connect", self._client.wait_hello_from_server())
            await self._log_in()
            await self._ask("capability", self._client.protocol.capability())
            await self._checked("select", self._client.select(_quoted(self._spec.folder)))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ImapError):
            if not self._lost.is_set():
                await self._ask("logout", self._client.logout(), 5.0)
        await self._close()

    def _hear_of_mails(self) -> None:
        """Notice EXISTS, which aioimaplib ignores unless it comes in answer to IDLE."""
        protocol = self._client.protocol
        usual = protocol._untagged_response  # noqa: SLF001  there is no other way to hear of it

        def untagged(line: bytes) -> Any:
            if line.endswith(b" EXISTS"):
                self._arrived.set()
            return usual(line)

        protocol._untagged_response = untagged  # noqa: SLF001  see above

    async def _close(self) -> None:
        connecting = self._client._client_task  # noqa: SLF001  aioimaplib has no call that ends it
        connecting.cancel()
        if (timer := self._client._idle_waiter) is not None:  # noqa: SLF001  nor for this
            timer.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        if (transport := self._client.protocol.transport) is not None:
            transport.abort()
        for task in (*self._client.tasks, *self._client.protocol.tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _log_in(self) -> None:
        spec = self._spec
        if self._tokens is None:
            login = self._client.login(_quoted(spec.username), spec.password or "")
            result, lines = await self._ask("login", login)
        else:
            result, lines = await self._log_in_with(self._tokens)
        if result != "OK":
            raise ImapError(f"login as {spec.username} was refused: {_said(lines)}")

    async def _log_in_with(self, tokens: Tokens) -> Any:
        """XOAUTH2. A server that refuses says why in a challenge, and waits for an empty answer."""
        try:
            token = await tokens.get()
        except NoToken as error:
            raise ImapError(f"there is no token: {error}") from None
        protocol = self._client.protocol
        usual = protocol._continuation  # noqa: SLF001  aioimaplib would wait for ever
        protocol._continuation = lambda _: protocol.transport.write(b"\r\n")  # noqa: SLF001  it offers no other way
        try:
            login = self._client.xoauth2(self._spec.username, token.value)
            result, lines = await self._ask("login", login)
        finally:
            protocol._continuation = usual  # noqa: SLF001  as above
        if result != "OK":
            with contextlib.suppress(NoToken):
                await tokens.renew(token)
        return result, lines

    # ------------------------------------------------------------------ folders and mails

    @property
    def can_idle(self) -> bool:
        """RFC 2177."""
        return bool(self._client.has_capability("IDLE"))

    async def make_folder(self, name: str) -> None:
        """Make a folder unless there is one."""
        result, lines = await self._ask("list", self._client.list('""', _quoted(name)))
        if result == "OK" and len(lines) > 1:
            return
        await self._checked("create", self._client.create(_quoted(name)))

    async def unread(self) -> list[int]:
        """The UIDs of mails that are neither flagged nor deleted, the oldest first."""
        self._arrived.clear()
        asked = self._client.uid_search("UNFLAGGED", "UNDELETED", charset=None)
        lines = await self._checked("search", asked)
        words = b" ".join(bytes(line) for line in lines[:-1]).split()
        return sorted(int(word) for word in words if word.isdigit())

    async def fetch(self, uid: int) -> bytes | None:
        """The beginning of a mail, which is not marked as seen. None: it cannot be read."""
        asked = self._client.uid("fetch", str(uid), f"(UID BODY.PEEK[]<0.{LARGEST}>)")
        lines = await self._checked("fetch", asked)
        parts = (bytes(line) for line in lines if isinstance(line, bytearray))
        return next(parts, None)

    async def move(self, uid: int, folder: str) -> None:
        """Move a mail; where the server cannot, copy it and delete it. RFC 6851."""
        client, name = self._client, _quoted(folder)
        if client.has_capability("MOVE"):
            await self._checked("move", client.uid("move", str(uid), name))
            return
        await self._checked("copy", client.uid("copy", str(uid), name))
        await self._checked("store", client.uid("store", str(uid), "+FLAGS.SILENT", "(\\Deleted)"))
        if client.has_capability("UIDPLUS"):  # else others' deleted mails would go, too
            await self._checked("expunge", client.uid("expunge", str(uid)))

    async def flag(self, uid: int) -> None:
        """Mark a mail for people to look at."""
        asked = self._client.uid("store", str(uid), "+FLAGS.SILENT", "(\\Flagged)")
        await self._checked("store", asked)

    async def wait(self, seconds: float) -> None:
        """Wait until mail may have arrived, or for so long."""
        if not self.can_idle:
            await self._quiet(seconds)
            await self._checked("noop", self._client.noop())
            return
        idle = await self._ask("idle", self._client.idle_start(timeout=seconds))
        try:
            await self._quiet(seconds)
        finally:
            if not self._lost.is_set() and self._client.has_pending_idle():
                self._client.idle_done()
        await self._ask("idle", idle)
        pushed = self._client.protocol.idle_queue
        while not pushed.empty():
            pushed.get_nowait()

    async def _quiet(self, seconds: float) -> None:
        """Wait for mail or for the end of the connection, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._or_lost(self._arrived.wait())
        except TimeoutError:
            return
        except ConnectionError as error:
            raise ImapError(str(error)) from None

    # ------------------------------------------------------------------ answers

    async def _checked(self, what: str, asked: Awaitable[Any]) -> list[Any]:
        """The lines of an answer. Raises ImapError unless it is OK."""
        result, lines = await self._ask(what, asked)
        if result != "OK":
            raise ImapError(f"{what.upper()} was refused: {_said(lines)}")
        return list(lines)

    async def _ask(self, what: str, asked: Awaitable[T], seconds: float = 0.0) -> Any:
        """The answer to a command. aioimaplib itself waits for ever if the connection is lost."""
        seconds = seconds or self._seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._or_lost(asked)
        except TimeoutError:
            raise ImapError(f"{what.upper()} was not answered within {seconds:g} s") from None
        except (OSError, AioImapException, ValueError) as error:
            why = str(error) or type(error).__name__
            raise ImapError(f"{what.upper()} failed: {_struck(why, self._spec)}") from None

    async def _or_lost(self, asked: Awaitable[T]) -> T:
        asking = asyncio.ensure_future(asked)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((asking, lost), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise ConnectionError("the connection was lost")
        finally:
            lost.cancel()
            if not asking.done():
                asking.cancel()
            await asyncio.gather(asking, lost, return_exceptions=True)


def _context(spec: MailboxSpec) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=spec.ca)
    except OSError as error:
        raise ImapError(f"{spec.ca}: {error.strerror or error}") from None


def _quoted(text: str) -> str:
    """RFC 3501, section 9: quoted."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _said(lines: list[Any]) -> str:
    last = bytes(lines[-1]).decode("utf-8", "replace") if lines else ""
    return " ".join(last.split())[:200]


def _struck(text: str, spec: MailboxSpec) -> str:
    return text.replace(spec.password, "***") if spec.password else text
