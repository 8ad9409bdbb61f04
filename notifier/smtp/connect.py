"""Open a connection to a relay: name, TCP, TLS, greeting, EHLO, AUTH."""

import asyncio
import socket
import ssl

from aiosmtplib import SMTP, SMTPConnectResponseError, SMTPHeloError, SMTPResponse
from aiosmtplib.protocol import SMTPProtocol

from notifier.attempts import Stage
from notifier.errors import ConfigurationError
from notifier.relayspec import RelaySpec, Tls
from notifier.smtp.failures import Unfit
from notifier.smtp.replies import text
from notifier.smtp.resolver import Address, Resolver
from notifier.smtp.session import Features, Session
from notifier.smtp.timeouts import Timeouts

NO_EHLO = frozenset({500, 502, 504})  # a relay from before ESMTP, RFC 5321, section 3.2


def tls_context(spec: RelaySpec) -> ssl.SSLContext | None:
    """What is trusted, read once: it takes 50 ms. Raises ConfigurationError."""
    if spec.tls is Tls.NONE:
        return None
    try:
        return ssl.create_default_context(cafile=spec.ca)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"NOTIFIER_RELAYS: ca={spec.ca}: {reason}") from error


class Opening:
    """
    One try to open a connection. If it raises, `stage` is where and `lines` what was said.
    A password goes out once, by one mechanism, and in clear only where the operator has
    asked for no TLS in as many words.
    """

    def __init__(
        self,
        spec: RelaySpec,
        *,
        resolver: Resolver,
        context: ssl.SSLContext | None,
        timeouts: Timeouts,
    ) -> None:
        self.stage = Stage.CONNECT
        self.lines: list[str] = []
        self._spec = spec
        self._resolver = resolver
        self._context = context
        self._timeouts = timeouts
        self._below: asyncio.Transport | None = None  # without TLS

    async def run(self) -> Session:
        """Raises OSError, SMTPException and Unfit: for `failures.classify` to sort."""
        try:
            return await self._run()
        except BaseException:
            if self._below is not None:
                self._below.abort()
            raise

    async def _run(self) -> Session:
        async with asyncio.timeout(self._timeouts.connect):
            connected = await self._connect()
        client = await self._greet(connected)
        await self._introduce(client)
        if self._spec.tls is Tls.STARTTLS:
            await self._start_tls(client)
            await self._introduce(client)
        if self._spec.username is not None:
            await self._log_in(client, self._spec.username, self._spec.password or "")
        return self._hand_over(client)

    async def _connect(self) -> socket.socket:
        """The first of the relay's addresses that answers; each gets its share of the time."""
        addresses = await self._resolver.resolve(self._spec.host, self._spec.port)
        share = self._timeouts.connect / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._connect_to(address, share)
            except OSError as error:
                self.lines.append(f"   {address[1][0]!s}: {error.strerror or 'no answer'}")
        return await self._connect_to(addresses[-1], self._timeouts.connect)

    async def _connect_to(self, address: Address, seconds: float) -> socket.socket:
        family, where = address
        candidate = socket.socket(family, socket.SOCK_STREAM)
        try:
            candidate.setblocking(False)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(candidate, where)
        except BaseException:
            candidate.close()
            raise
        self.lines.append(f"   connected to {where[0]!s} port {where[1]!s}")
        return candidate

    async def _greet(self, connected: socket.socket) -> SMTP:
        """
        The transports are made here rather than by aiosmtplib, so that the one under TLS is
        known: it alone can tell how much has not left us.
        """
        loop = asyncio.get_running_loop()
        client = SMTP(
            hostname=self._spec.host,
            local_hostname=_own_name(connected),
            tls_context=self._context,
            start_tls=False,
        )
        protocol = SMTPProtocol(loop=loop)
        self._below, _ = await loop.create_connection(lambda: protocol, sock=connected)
        client.protocol, client.transport = protocol, self._below
        if self._spec.tls is Tls.IMPLICIT and self._context is not None:
            self.stage = Stage.TLS
            protected = await loop.start_tls(
                self._below,
                protocol,
                self._context,
                server_hostname=self._spec.host,
                ssl_handshake_timeout=self._timeouts.tls,
            )
            protocol.transport = client.transport = protected
            self._tell_tls(client)
        self.stage = Stage.GREETING
        greeting = await protocol.read_response(timeout=self._timeouts.greeting)
        self._heard(greeting)
        if greeting.code != 220:
            raise SMTPConnectResponseError(greeting.code, greeting.message)
        return client

    async def _introduce(self, client: SMTP) -> None:
        self.stage = Stage.EHLO
        self._said(f"EHLO {client.local_hostname}")
        try:
            self._heard(await client.ehlo(timeout=self._timeouts.ehlo))
        except SMTPHeloError as refused:
            needs = self._spec.tls is Tls.STARTTLS or self._spec.username is not None
            if refused.code not in NO_EHLO or needs:
                raise
            self._said(f"HELO {client.local_hostname}")
            self._heard(await client.helo(timeout=self._timeouts.ehlo))

    async def _start_tls(self, client: SMTP) -> None:
        self.stage = Stage.TLS
        if not client.supports_extension("starttls"):
            raise Unfit("starttls_required", "the relay does not offer STARTTLS")
        self._said("STARTTLS")
        self._heard(await client.starttls(timeout=self._timeouts.tls))
        self._tell_tls(client)

    async def _log_in(self, client: SMTP, username: str, password: str) -> None:
        self.stage = Stage.AUTH
        ways = {"plain": client.auth_plain, "login": client.auth_login}
        ways["cram-md5"] = client.auth_crammd5
        offered = client.server_auth_methods
        way = next((name for name in ways if name in offered), None)
        if way is None:
            theirs = ", ".join(offered) or "none"
            reason = f"no way to log in that we know; the relay offers: {theirs}"
            raise Unfit("auth_not_offered", reason)
        self._said(f"AUTH {way.upper()} ********")
        # One, and no other after it: wrong passwords are counted over there.
        self._heard(await ways[way](username, password, timeout=self._timeouts.auth))

    def _hand_over(self, client: SMTP) -> Session:
        """From here on the connection is ours: aiosmtplib takes one reply at a time."""
        transport, protocol, below = client.transport, client.protocol, self._below
        if protocol is None or transport is None or transport.is_closing() or below is None:
            raise ConnectionResetError
        # Private, for there is no other way to learn that the relay said more than it was asked.
        if protocol._buffer:  # noqa: SLF001 - see above
            raise Unfit("stray_reply", "the relay says more than it was asked")
        session = Session(
            transport,  # type: ignore[arg-type]  # aiosmtplib says less of it than it knows
            below,
            features=_features(client),
            timeouts=self._timeouts,
            opening=tuple(self.lines),
        )
        transport.set_protocol(session)
        return session

    def _tell_tls(self, client: SMTP) -> None:
        cipher = client.get_transport_info("cipher")
        self.lines.append(f"   protected by {cipher[1]} {cipher[0]}" if cipher else "   protected")

    def _said(self, line: str) -> None:
        self.lines.append(f"C: {line}")

    def _heard(self, reply: SMTPResponse) -> None:
        for line in reply.message.split("\n"):
            said = text(line.encode("utf-8", "surrogateescape"))
            self.lines.append(f"S: {reply.code} {said}")


def _features(client: SMTP) -> Features:
    offered = client.esmtp_extensions
    size = offered.get("size")
    return Features(
        pipelining="pipelining" in offered,
        smtputf8="smtputf8" in offered,
        size=None if size is None else int(size) if size.isdecimal() else 0,
    )


def _own_name(connected: socket.socket) -> str:
    """Our name for EHLO; where it is none that others know, our address. RFC 5321, 4.1.4."""
    name = socket.gethostname()
    if "." in name and name.isascii() and name.isprintable() and " " not in name:
        return name
    address = str(connected.getsockname()[0])
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"
