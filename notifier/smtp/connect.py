"""Open a connection to a relay: name, TCP, TLS, greeting, EHLO, login."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import TypeAlias

from aiosmtplib.esmtp import parse_esmtp_extensions

from notifier.attempts import Stage
from notifier.errors import ConfigurationError
from notifier.relayspec import Pipelining, RelaySpec, Tls, is_host_name
from notifier.smtp.failures import Refused, TokenRefused, Unfit, classify
from notifier.smtp.login import MECHANISMS, OF_TOKENS, STRUCK_OUT, login_with, mechanism
from notifier.smtp.replies import CLOSING, Reply
from notifier.smtp.resolver import Address, Resolver
from notifier.smtp.session import Features, Session, Timeouts
from notifier.smtp.tunnel import tunnel, unreachable
from notifier.tokens import Token, Tokens

WRONG_LOGIN = 535  # RFC 4954, section 6
NO_EHLO = frozenset({500, 502, 504})  # a relay from before ESMTP, RFC 5321, section 3.2
# How much of a content the kernel may hold that it has not sent yet. What it holds when a
# connection is reset is lost without a trace: by its own rule it would be 4 MB. tcp(7)
UNSENT_OCTETS = 128 * 1024

# A step's name, and what takes it and returns what was seen.
Step: TypeAlias = tuple[str, Callable[[], Awaitable[str]]]


def tls_context(spec: RelaySpec) -> ssl.SSLContext | None:
    """The trusted certificates, read once (50 ms). Raises ConfigurationError."""
    if spec.tls is Tls.NONE:
        return None
    try:
        return ssl.create_default_context(cafile=spec.ca)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"NOTIFIER_RELAYS: ca={spec.ca}: {reason}") from error


class Opening:
    """
    One attempt to open a connection.

    If it raises, `stage` says where, and `lines` what was said. The password is sent once, by one
    mechanism, and in clear only if the operator's URL says smtp://, without TLS.
    """

    def __init__(
        self,
        spec: RelaySpec,
        *,
        resolver: Resolver,
        context: ssl.SSLContext | None,
        timeouts: Timeouts,
        tokens: Tokens | None = None,
    ) -> None:
        self.stage = Stage.CONNECT
        self.lines: list[str] = []
        self.session = Session(timeouts)
        self.offered: dict[str, str] = {}  # keywords of EHLO in capitals, and their parameters
        self._spec = spec
        self._resolver = resolver
        self._context = context
        self._timeouts = timeouts
        self._tokens = tokens
        self._token: Token | None = None
        self._deadline = 0.0
        self._addresses: Sequence[Address] = ()
        self._name = ""  # ours
        self._secrets: Collection[str] = ()  # once they have been said
        self._socket: socket.socket | None = None
        self._below: asyncio.Transport | None = None  # without TLS

    async def run(self) -> Session:
        """
        Open the connection. Raises OSError, NoToken, Refused and Unfit, which `failures.classify`
        sorts.
        """
        try:
            for _, take in self.steps():
                await take()
        except BaseException:
            self._abort()
            raise
        self.session.opening = tuple(self.lines)
        return self.session

    def steps(self) -> Sequence[Step]:
        """The steps, in this order and each only once. Each may raise what `run` raises."""
        tls, login = self._spec.tls, self._spec.username is not None
        return [
            *([("token", self._get_token)] if self._tokens is not None else ()),
            ("DNS", self._resolve),
            ("TCP", self._connect),
            *([("proxy", self._pass_proxy)] if self._spec.proxy is not None else ()),
            *([("TLS", self._protect)] if tls is Tls.IMPLICIT else ()),
            ("greeting", self._greet),
            ("EHLO", self._introduce),
            *([("STARTTLS", self._start_tls)] if tls is Tls.STARTTLS else ()),
            *([("login", self._log_in)] if login else ()),
        ]

    async def leave(self) -> None:
        """Close the connection, with QUIT if the relay has greeted."""
        if self._below is not None and self.stage not in (Stage.CONNECT, Stage.TLS):
            await self.session.part()
        self._abort()

    def _abort(self) -> None:
        if self._below is not None:
            self._below.abort()
        elif self._socket is not None:
            self._socket.close()

    async def _get_token(self) -> str:
        """Get the token first: without it a connection is of no use."""
        assert self._tokens is not None  # noqa: S101 - else this is no step
        self.stage = Stage.AUTH
        token = self._token = await self._tokens.get()
        self.stage = Stage.CONNECT
        said = f"from {token.source}, good until {token.good_until:%Y-%m-%d %H:%M:%S} UTC"
        self.lines.append(f"   token {said}")
        return said

    async def _resolve(self) -> str:
        self._deadline = asyncio.get_running_loop().time() + self._timeouts.connect
        first = self._spec.proxy or self._spec  # a proxy looks up the relay's name itself
        with self._to_proxy():
            async with asyncio.timeout_at(self._deadline):
                found = await self._resolver.resolve(first.host, first.port)
        self._addresses = found
        return ", ".join(str(address[0]) for _, address in found)

    async def _connect(self) -> str:
        """Connect to the first address that answers; each gets its share of the time."""
        with self._to_proxy():
            said = await self._connect_to_one()
        if self._spec.proxy is None:
            await self._begin()
        return said

    async def _connect_to_one(self) -> str:
        *others, last = self._addresses
        share = self._timeouts.connect / len(self._addresses)
        for address in others:
            try:
                return await self._connect_to(address, share)
            except OSError as error:
                self.lines.append(f"   {address[1][0]!s}: {error.strerror or 'no answer'}")
        return await self._connect_to(last, self._timeouts.connect)

    async def _connect_to(self, address: Address, seconds: float) -> str:
        family, where = address
        loop = asyncio.get_running_loop()
        candidate = socket.socket(family, socket.SOCK_STREAM)
        try:
            candidate.setblocking(False)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_OCTETS)
            async with asyncio.timeout_at(min(self._deadline, loop.time() + seconds)):
                await loop.sock_connect(candidate, where)
            self._name = self._spec.ehlo_name or own_name(candidate)
        except BaseException:
            candidate.close()
            raise
        self._socket = candidate
        said = f"connected to {where[0]!s} port {where[1]!s}"
        self.lines.append(f"   {said}")
        return said

    @contextlib.contextmanager
    def _to_proxy(self) -> Iterator[None]:
        """A failure on the way to a proxy has a name of its own."""
        try:
            yield
        except OSError as error:
            if self._spec.proxy is None:
                raise
            raise unreachable(self._spec.proxy, classify(error, self.stage).reply) from error

    async def _pass_proxy(self) -> str:
        assert self._spec.proxy is not None  # noqa: S101 - else this is no step
        assert self._socket is not None  # noqa: S101 - it is connected
        proxy, spec = self._spec.proxy, self._spec
        with self._to_proxy():
            async with asyncio.timeout_at(self._deadline):
                said = await tunnel(self._socket, proxy, spec.host, spec.port)
        await self._begin()
        said = f"{proxy.place}: {said}"
        self.lines.append(f"   proxy {said}")
        return said

    async def _begin(self) -> None:
        """Hand the socket over to a session."""
        loop = asyncio.get_running_loop()
        self._below, _ = await loop.create_connection(lambda: self.session, sock=self._socket)

    async def _protect(self) -> str:
        self.stage = Stage.TLS
        assert self._context is not None  # noqa: S101 - there is one wherever TLS is asked for
        await self.session.protect(self._context, self._spec.host, self._timeouts.tls)
        cipher = self.session.about("cipher")
        said = f"protected by {cipher[1]} {cipher[0]}" if cipher else "protected"
        self.lines.append(f"   {said}")
        return said

    async def _greet(self) -> str:
        self.stage = Stage.GREETING
        replies = await self.session.greeting(self._timeouts.greeting)
        return self._heard(replies, {220}).line

    async def _introduce(self) -> str:
        self.stage = Stage.EHLO
        try:
            reply = await self._ask(f"EHLO {self._name}", {250}, self._timeouts.ehlo)
        except Refused as refused:
            needs = self._spec.tls is Tls.STARTTLS or self._spec.username is not None
            if refused.reply.code not in NO_EHLO or needs:
                raise
            self._note(refused.reply)
            reply = await self._ask(f"HELO {self._name}", {250}, self._timeouts.ehlo)
            return f"does not know EHLO; HELO: {reply.line}"
        offered, mechanisms = parse_esmtp_extensions("\n".join(reply.lines))
        self.offered = {keyword.upper(): parameters for keyword, parameters in offered.items()}
        if mechanisms:  # of `AUTH` and of the older `AUTH=`, which some servers send beside it
            self.offered["AUTH"] = " ".join(dict.fromkeys(mechanisms)).upper()
        self.session.features = _features(self.offered, self._spec.pipelining)
        return f"offers {', '.join(sorted(self.offered)) or 'nothing'}"

    async def _start_tls(self) -> str:
        self.stage = Stage.TLS
        if "STARTTLS" not in self.offered:
            raise Unfit("starttls_required", "the relay does not offer STARTTLS")
        await self._ask("STARTTLS", {220}, self._timeouts.tls)
        said = await self._protect()
        # Keywords from before TLS are not valid after it. RFC 3207, section 4.2.
        return f"{said}; {await self._introduce()}"

    async def _log_in(self) -> str:
        self.stage = Stage.AUTH
        offered = self.offered.get("AUTH", "").split()
        way = mechanism(offered, MECHANISMS if self._token is None else OF_TOKENS)
        if way is None:
            theirs = ", ".join(offered) or "none"
            ours = "that we know" if self._token is None else "that takes a token"
            reason = f"no login mechanism {ours}; the relay offers: {theirs}"
            raise Unfit("auth_not_offered", reason)
        if self._token is None:
            # One mechanism only, because the relay counts wrong passwords.
            return await self._log_in_by(way)
        try:
            return await self._log_in_by(way)
        except Refused as refused:
            if refused.reply.code != WRONG_LOGIN or self._tokens is None:
                raise
            self._note(refused.reply)
        # It may have been revoked. Another one that is refused, too, has nothing to do with that.
        self._token = await self._tokens.renew(self._token)
        self.lines.append("   once more, with a new token")
        try:
            return await self._log_in_by(way)
        except Refused as refused:
            if refused.reply.code != WRONG_LOGIN:
                raise
            raise TokenRefused(refused.reply) from None

    async def _log_in_by(self, way: str) -> str:
        login = login_with(way, self._spec, self._token)
        self._secrets = [*self._secrets, *login.secrets]
        wanted, seconds = {235, 334}, self._timeouts.auth
        reply = await self._ask(login.command, wanted, seconds, shown=login.shown)
        while reply.code == 334:
            if error := login.error_in(reply.line[4:]):
                self.lines.append(f"   {self._struck_out(error)}")
            answer = login.answer(reply.line[4:])
            if answer is None:
                raise Unfit(
                    "auth_failed", f"{way}: the relay asks for more than the user and the password"
                )
            reply = await self._ask(answer, wanted, seconds, shown=STRUCK_OUT)
        return reply.line

    async def _ask(
        self, command: str, wanted: Collection[int], seconds: float, *, shown: str = ""
    ) -> Reply:
        """Send one command. Returns its reply if that has one of these codes."""
        self.lines.append(f"C: {shown or command}")
        return self._heard(await self.session.ask(f"{command}\r\n".encode(), 1, seconds), wanted)

    def _heard(self, replies: Sequence[Reply], wanted: Collection[int]) -> Reply:
        breach = self.session.breach
        if breach is not None and not (replies and replies[0].code == CLOSING):
            if breach.name == "timeout":
                raise TimeoutError
            raise Unfit(breach.name, self._struck_out(breach.reason))
        (reply,) = replies
        if self._secrets:
            lines = tuple(map(self._struck_out, reply.lines))
            reply = Reply(reply.code, self._struck_out(reply.line), lines)
        if reply.code not in wanted:
            raise Refused(reply)
        self._note(reply)
        return reply

    def _struck_out(self, said: str) -> str:
        """The reply without what some relays repeat of a login."""
        for secret in self._secrets:
            said = said.replace(secret, STRUCK_OUT)
        return said

    def _note(self, reply: Reply) -> None:
        self.lines += (f"S: {line}" for line in reply.transcript)


def _features(offered: dict[str, str], pipelining: Pipelining) -> Features:
    size = offered.get("SIZE")
    return Features(
        pipelining="PIPELINING" in offered and pipelining is not Pipelining.OFF,
        smtputf8="SMTPUTF8" in offered,
        eight_bit="8BITMIME" in offered,
        dsn="DSN" in offered,
        size=None if size is None else int(size) if size.isdecimal() else 0,
    )


def own_name(connected: socket.socket) -> str:
    """The name for EHLO: the host's full name, else its address. RFC 5321, 4.1.4."""
    name = socket.gethostname()
    if "." in name and is_host_name(name):
        return name
    address = str(connected.getsockname()[0])
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"
