"""One client that submits mail: the commands of RFC 6409, answered as the agent decides."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from notifier.keys import Key
from notifier.relayspec import is_loopback
from notifier.smtp_server import Server
from notifier.smtp_server.connection import (
    MISSING,
    NO_SENDER,
    AuthResult,
    Connection,
    Envelope,
    Handler,
    LoginPassword,
    Session,
)
from notifier.submission_agent.memory import SMALL, Memory
from notifier.submission_agent.replies import enhanced
from notifier.threads import Turn

STRANGER_SECONDS = 60.0  # until a client has logged in, or begun a mail that it may send
SESSION_SECONDS = 3600.0  # for all mails of a connection
MOST_LOGINS = 3  # that may fail on a connection
ARGUMENT_OCTETS = 1024  # of MAIL and RCPT: addresses may have 254, and there are parameters
NOT_ASCII = "553 5.6.7 the address is not ASCII; MAIL FROM must have the parameter SMTPUTF8"

# Without its source route.
_PATH = re.compile(r'<(?:@[^:<>]*:)?((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>(?:\s+(.*))?')
_BEHIND = re.compile(r'([^<"]*<(?:"(?:[^"\\]|\\.)*"|[^>"])*>)(.*)')
_BARE = re.compile(r"([^<>\s]+)(?:\s+(.*))?")


class Arrived(Struct, frozen=True):
    """A mail that has come in, up to its final dot."""

    content: bytes
    sender: str  # empty: the null reverse-path
    recipients: Sequence[str]
    smtputf8: bool
    notify: Sequence[str]  # NOTIFY of each recipient; empty: it has none


class Judge(Protocol):
    """Decides by SMTP replies who may send what. An empty reply: it is accepted."""

    async def log_in(self, client: "Submitter", user: str, password: str) -> str:
        """The reply that refuses a login; else the client has its key."""
        ...

    async def mail(self, client: "Submitter", sender: str) -> str:
        """The reply that refuses a sender, or the client."""
        ...

    def rcpt(self, client: "Submitter", address: str, before: Sequence[str]) -> str:
        """The reply that refuses a recipient. `before`: those that were accepted."""
        ...

    async def take(self, client: "Submitter", mail: Arrived) -> str:
        """The reply to the final dot."""
        ...

    def answered(self, client: "Submitter", reply: str) -> None:
        """Note the reply to a mail, or one that refused a login, a sender or a recipient."""
        ...


class _Handler(Handler):
    failed = "smtp_submission_failed"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def login(self, connection: "Submitter") -> str:
        return "PLAIN LOGIN" if connection.private else ""

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self,
        server: "Submitter",
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        refusal = "" if address.isascii() or envelope.smtp_utf8 else NOT_ASCII
        refusal = refusal or await self._judge.mail(server, "" if address == NO_SENDER else address)
        if refusal:
            self._judge.answered(server, refusal)
            return refusal
        server.know()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self,
        server: "Submitter",
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        refusal = "" if address.isascii() or envelope.smtp_utf8 else NOT_ASCII
        if refusal := refusal or self._judge.rcpt(server, address, envelope.rcpt_tos):
            self._judge.answered(server, refusal)
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.append(server.asked.get("NOTIFY", ""))
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, server: "Submitter", _session: Session, envelope: Envelope
    ) -> str:
        mail = Arrived(
            bytes(envelope.content or b""),  # type: ignore[arg-type]  # octets, as we had it decoded
            "" if envelope.mail_from == NO_SENDER else envelope.mail_from or "",
            tuple(envelope.rcpt_tos),
            envelope.smtp_utf8,
            tuple(envelope.rcpt_options),
        )
        envelope.content = None
        # A task of its own: aiosmtpd cancels ours when the client goes. The mail may be on disk by
        # then, and the task that follows it must hear of it.
        taking = asyncio.create_task(self._judge.take(server, mail), name="smtp-mail")
        del mail
        server.taken = True
        taking.add_done_callback(server.done_with)
        reply = await asyncio.shield(taking)
        self._judge.answered(server, reply)
        return reply


class Submitter(Connection):
    """
    A client of the agent. Until it may send it has little time, and it has an hour in all. A login
    needs TLS, unless the client is on this machine.
    """

    AuthLoginUsernameChallenge = "Username:"  # as some printers want it
    AuthLoginPasswordChallenge = "Password:"

    def __init__(
        self, server: Server, judge: Judge, memory: Memory, *, hostname: str, **options: Any
    ) -> None:
        self.key: Key | None = None  # of its login
        self.known = False  # it has been allowed to send
        self.asked: dict[str, str] = {}  # parameters of the present command that aiosmtpd lacks
        self.taken = False  # the judge has its mail
        self._judge = judge
        self._memory = memory
        self._paused = False  # it waits for a place in memory
        self._failed_logins = 0
        self._bare = False  # the replies carry no enhanced codes: RFC 2034, section 3
        self._turn = Turn()
        # A login on this machine needs no TLS: see smtp_AUTH.
        super().__init__(
            server, _Handler(judge), hostname=hostname, auth_require_tls=False, **options
        )

    @property
    def private(self) -> bool:
        """Whether nobody on the way hears what is said."""
        return self._tls_protocol is not None or is_loopback(self.client)

    # ------------------------------------------------------------------ time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        now = self.loop.time()
        self._stranger_until, self._ends = now + STRANGER_SECONDS, now + SESSION_SECONDS
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self.speaks_smtp(data):
            return self.cut("554 5.5.0 this port speaks SMTP only")
        super().data_received(data)
        if self.arrived > SMALL and not self._paused and not self._memory.enter(self):
            self._paused = True
            self._reading.pause_reading()
        return None

    def connection_lost(self, error: Exception | None) -> None:
        if not self.taken:
            self._memory.leave(self)
        super().connection_lost(error)

    @property
    def arrived(self) -> int:
        """How many octets of a mail are here that is still to end."""
        return 0 if self._content is None else self._content.held

    @property
    def _reading(self) -> asyncio.Transport:
        return self._peer  # type: ignore[return-value]  # it is one for both ways

    def read_on(self) -> None:
        """There is a place in memory for the rest of the mail."""
        if self._paused and not self._peer.is_closing():
            self._reading.resume_reading()
        self._paused = False

    def _reset_timeout(self, duration: float | None = None) -> None:
        """As aiosmtpd calls it with each command that it knows, and DATA with its own time."""
        if duration is None:
            now = self.loop.time()
            until = self._ends if self.known else self._stranger_until
            duration = max(min(self._timeout_duration, until - now), 0.01)
        super()._reset_timeout(duration)

    def know(self) -> None:
        """The client may send, so it may take its time."""
        self.known = True
        self._reset_timeout()

    def _timeout_cb(self) -> None:
        self.cut("421 4.4.2 timeout: the client sent nothing for too long")

    # ------------------------------------------------------------------ replies

    async def push(self, status: Any) -> None:
        """Answer, with the enhanced code that aiosmtpd leaves out."""
        if self._peer.is_closing():
            return
        reply = status if isinstance(status, str) else bytes(status).decode()
        if reply.startswith("421"):
            self.cut(reply)
            return
        await super().push(reply if self._bare else enhanced(reply))
        if self._turn.over:  # many commands may have come in one piece
            await self._turn.next()

    # ------------------------------------------------------------------ commands

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        return path(arg)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802  aiosmtpd's name
        self.command_size_limits["MAIL"] = self.command_size_limits["RCPT"] = ARGUMENT_OCTETS
        self._bare = bool(hostname)
        await super().smtp_EHLO(hostname)
        self._bare = False

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802  aiosmtpd's name
        self._bare = bool(hostname)
        await super().smtp_HELO(hostname)
        self._bare = False

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        if not self.private:
            await self.push("538 5.7.11 a login is allowed only under TLS; begin with STARTTLS")
            return
        mechanism, _, rest = (arg or "").partition(" ")
        await super().smtp_AUTH(f"{mechanism.upper()} {rest}".strip())
        if self._failed_logins >= MOST_LOGINS:
            self.cut("421 4.7.0 too many logins have failed")

    async def challenge_auth(self, *challenge: Any, **options: Any) -> Any:
        try:
            return await super().challenge_auth(*challenge, **options)
        except ValueError:  # of the reader. RFC 4954, section 4
            self.cut("500 5.5.6 the line is too long")
            return MISSING

    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802  aiosmtpd's name
        return await self._judged(await super().auth_PLAIN(_, args))

    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802  aiosmtpd's name
        return await self._judged(await super().auth_LOGIN(_, args))

    def _authenticate(self, _mechanism: str, auth_data: Any) -> AuthResult:
        return AuthResult(success=True, auth_data=auth_data)  # judged behind it, which may wait

    async def _judged(self, given: AuthResult) -> AuthResult:
        login = given.auth_data
        if not (given.success and isinstance(login, LoginPassword)):
            return AuthResult(success=False, handled=True)  # aiosmtpd has said why
        user, password = (each.decode(errors="replace") for each in login)
        if refusal := await self._judge.log_in(self, user, password):
            self._failed_logins += 1
            self._judge.answered(self, refusal)
            return AuthResult(success=False, handled=False, message=refusal)
        self.know()
        return AuthResult(success=True)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        await super().smtp_DATA(arg)
        if not self.taken:  # it was too large
            self._memory.leave(self)

    def done_with(self, taking: "asyncio.Task[str]") -> None:
        """The judge has decided about the mail."""
        self.taken = False
        self._memory.leave(self)
        if not taking.cancelled():
            taking.exception()  # the client got it, if it is still connected

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        # RFC 3461 and RFC 4954. What reports bring, and as whom somebody wrote, we say ourselves.
        kept, self.asked = parameters(arg, ("RET", "ENVID", "AUTH"))
        await super().smtp_MAIL(kept)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        kept, self.asked = parameters(arg, ("NOTIFY", "ORCPT"))
        await super().smtp_RCPT(kept)


def path(argument: str) -> tuple[str | None, str | None]:
    """The address, and what follows it. None: there is no address."""
    found = _PATH.fullmatch(argument) or _BARE.fullmatch(argument)
    if found is None:
        return None, None
    return found[1] or NO_SENDER, found[2] or ""


def parameters(argument: str | None, ours: tuple[str, ...]) -> tuple[str | None, dict[str, str]]:
    """The argument without these parameters, and the parameters, in upper case."""
    split = _BEHIND.fullmatch(argument or "")
    if split is None or not split[2].strip():
        return argument, {}
    kept, found = [], {}
    for each in split[2].split():
        name, _, value = each.partition("=")
        if name.upper() in ours:
            found[name.upper()] = value.upper()
        else:
            kept.append(each)
    return " ".join((split[1], *kept)), found
