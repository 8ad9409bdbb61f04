"""Look at a relay step by step, and say in words what is wrong and what to do."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any

from aiosmtplib import SMTP, SMTPException, SMTPResponse, SMTPResponseException
from aiosmtplib.errors import SMTPConnectError, SMTPConnectTimeoutError
from msgspec import Struct

from notifier.relayspec import RelaySpec, Tls
from notifier.smtp.connect import tls_context
from notifier.smtp.remedies import CERTIFICATES, REMEDIES

SECONDS = 10.0  # for one step
EXPIRING = timedelta(days=21)  # a certificate with less than that wants to be looked after


class Finding(Struct, frozen=True):
    """What one step has shown; the first that is not `ok` is the last one."""

    step: str
    ok: bool
    said: str
    remedy: str = ""
    certificate_ends_at: datetime | None = None  # of the certificate that was shown in it


class _Failed(Exception):
    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said)
        self.remedy = remedy


async def probe(
    spec: RelaySpec, *, sender: str | None = None, seconds: float = SECONDS
) -> AsyncIterator[Finding]:
    """Each step's finding as it is made. No mail is sent: the sender is named and taken back."""
    look = _Look(spec, seconds)
    steps = {
        "DNS": look.resolve,
        "TCP": look.connect,
        "greeting" if spec.tls is not Tls.IMPLICIT else "TLS, greeting": look.greet,
        "EHLO": look.introduce,
    }
    if spec.tls is Tls.STARTTLS:
        steps["STARTTLS"] = look.start_tls
    if spec.username is not None:
        steps["login"] = look.login
    if sender is not None:
        steps["sender"] = lambda: look.name_sender(sender)
    try:
        for step, act in steps.items():
            try:
                said = await act()
                yield Finding(step, True, said, certificate_ends_at=look.take_certificate_end())
            except _Failed as failure:
                yield Finding(step, False, str(failure), failure.remedy)
                return
    finally:
        await look.close()


class _Look:
    """One connection, as far as it goes. Each step says what it saw, or raises _Failed."""

    def __init__(self, spec: RelaySpec, seconds: float) -> None:
        self._spec = spec
        self._seconds = seconds
        self._addresses: list[tuple[int, Any]] = []  # by family; what an address holds differs
        self._socket: socket.socket | None = None
        self._smtp: SMTP | None = None
        self._certificate_ends_at: datetime | None = None

    def take_certificate_end(self) -> datetime | None:
        """Of the certificate seen since this was asked the last time."""
        ends, self._certificate_ends_at = self._certificate_ends_at, None
        return ends

    async def resolve(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                found = await loop.getaddrinfo(
                    self._spec.host, self._spec.port, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            raise _Failed("the name server does not answer", REMEDIES["dns_silent"]) from None
        except (OSError, UnicodeError) as error:
            raise _Failed(f"{self._spec.host}: {_reason(error)}", REMEDIES["dns"]) from error
        self._addresses = [(family, address) for family, _, _, _, address in found]
        return ", ".join(str(address[0]) for _, address in self._addresses)

    async def connect(self) -> str:
        loop = asyncio.get_running_loop()
        failures: list[OSError] = []
        for family, address in self._addresses:
            attempt = socket.socket(family, socket.SOCK_STREAM)
            attempt.setblocking(False)
            try:
                async with asyncio.timeout(self._seconds):
                    await loop.sock_connect(attempt, address)
            except OSError as error:  # TimeoutError is one
                attempt.close()
                failures.append(error)
            else:
                self._socket = attempt
                return f"connected to {address[0]} port {self._spec.port}"
        refused = any(error.errno == errno.ECONNREFUSED for error in failures)
        remedy = REMEDIES["tcp_refused" if refused else "tcp_silent"]
        raise _Failed("; ".join(map(_reason, failures)), remedy.format(port=self._spec.port))

    async def greet(self) -> str:
        self._smtp = SMTP(
            hostname=self._spec.host,
            sock=self._socket,
            use_tls=self._spec.tls is Tls.IMPLICIT,
            start_tls=False,
            tls_context=tls_context(self._spec),
            local_hostname=socket.gethostname(),
            timeout=self._seconds,
        )
        try:
            return _line(await self._smtp.connect()) + self._certificate()
        except SMTPConnectTimeoutError as error:
            raise _Failed("it does not say anything", REMEDIES["greeting_silent"]) from error
        except SMTPResponseException as error:
            raise _Failed(_line(error), REMEDIES["greeting"]) from error
        except SMTPConnectError as error:
            raise self._tls_trouble(error.__cause__ or error) from error

    def _tls_trouble(self, error: BaseException) -> _Failed:
        if isinstance(error, ssl.SSLCertVerificationError):
            remedy = CERTIFICATES.get(error.verify_code, REMEDIES["certificate"])
            return _Failed(
                f"the certificate is not good: {error.verify_message}",
                remedy.format(host=self._spec.host),
            )
        if isinstance(error, ssl.SSLError):
            plain = self._spec.tls is Tls.IMPLICIT
            return _Failed(_reason(error), REMEDIES["tls_plain" if plain else "tls"])
        return _Failed(_reason(error), REMEDIES["cut_off"])

    @property
    def _open(self) -> SMTP:
        assert self._smtp is not None  # noqa: S101 - the steps come in order
        return self._smtp

    async def introduce(self) -> str:
        smtp = self._open
        with _told(REMEDIES["ehlo"]):
            await smtp.ehlo()
        features = ", ".join(sorted(smtp.esmtp_extensions)) or "nothing"
        hint = ""
        if self._spec.tls is Tls.NONE and smtp.supports_extension("starttls"):
            hint = "; STARTTLS is offered: smtp+starttls:// would protect what is sent"
        return f"offers {features}{hint}"

    async def start_tls(self) -> str:
        smtp = self._open
        if not smtp.supports_extension("starttls"):
            raise _Failed("STARTTLS is not offered", REMEDIES["starttls"])
        try:
            with _told(REMEDIES["tls"]):
                await smtp.starttls()
        except ssl.SSLError as error:
            raise self._tls_trouble(error) from error
        with _told(REMEDIES["ehlo"]):
            await smtp.ehlo()
        cipher = smtp.get_transport_info("cipher")
        protected = f"protected by {cipher[1]}" if cipher else "protected"
        return protected + self._certificate()

    def _certificate(self) -> str:
        """Until when the relay's certificate is good; empty where there is none."""
        found = self._open.get_transport_info("peercert")
        if not found or "notAfter" not in found:
            return ""
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
        self._certificate_ends_at = ends
        soon = ends - datetime.now(UTC) < EXPIRING
        return f"; certificate until {ends:%Y-%m-%d}" + (", which is soon" if soon else "")

    async def login(self) -> str:
        smtp = self._open
        username, password = self._spec.username or "", self._spec.password or ""
        ways = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
        offered = [name for name in ways if name in smtp.server_auth_methods]
        if not offered:
            theirs = ", ".join(smtp.server_auth_methods) or "none"
            raise _Failed(f"no way to log in that we know; offered: {theirs}", REMEDIES["no_auth"])
        # One try, and no other mechanism after it: wrong passwords are counted over there.
        with _told(REMEDIES["auth"]):
            reply = await ways[offered[0]](username, password)
        clear = " (the password goes in clear)" if self._spec.tls is Tls.NONE else ""
        return f"{_line(reply)}{clear}"

    async def name_sender(self, sender: str) -> str:
        smtp = self._open
        _, address = parseaddr(sender)
        options = [] if address.isascii() else ["SMTPUTF8"]
        with _told(REMEDIES["sender"].format(sender=address)):
            reply = await smtp.mail(
                address, options=options, encoding="ascii" if address.isascii() else "utf-8"
            )
        with contextlib.suppress(SMTPException, OSError):
            await smtp.rset()
        return f"{address}: {_line(reply)}"

    async def close(self) -> None:
        if self._smtp is not None and self._smtp.is_connected:
            with contextlib.suppress(SMTPException, OSError):
                await self._smtp.quit(timeout=2.0)
            self._smtp.close()
        elif self._socket is not None:
            self._socket.close()


@contextlib.contextmanager
def _told(remedy: str) -> Iterator[None]:
    """Put what a relay says, or does not, into a finding."""
    try:
        yield
    except SMTPResponseException as error:
        raise _Failed(_line(error), remedy) from error
    except ssl.SSLError:
        raise
    except (SMTPException, OSError) as error:
        raise _Failed(_reason(error), REMEDIES["cut_off"]) from error


def _line(reply: SMTPResponse | SMTPResponseException) -> str:
    return " ".join(f"{reply.code} {reply.message}".split())


def _reason(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else ""
    return said or str(error) or "it took too long"
