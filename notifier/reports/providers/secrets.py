"""The file of NOTIFIER_REPORT_SECRETS: read at the start, with all its faults at once."""

import stat
import tomllib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from notifier.errors import ConfigurationError
from notifier.proxies import Proxy
from notifier.relayspec import is_loopback
from notifier.reports.providers.event import Provider
from notifier.reports.providers.mailgun import Mailgun
from notifier.reports.providers.postmark import Postmark
from notifier.reports.providers.twilio import Twilio

SHORTEST = 16  # characters of a secret that the operator chooses
LARGEST_ANSWER = 64 * 1024  # octets
SECONDS = 10.0

Fields: TypeAlias = Mapping[str, Any]


def read_providers(path: Path, proxy: Proxy | None = None) -> Mapping[str, Provider]:
    """
    The providers by name. `proxy`: to reach what is asked by HTTP. Raises ConfigurationError with
    every fault; it repeats no secret.
    """
    found: dict[str, Provider] = {}
    faults: list[str] = []
    for name, fields in _tables(path).items():
        kind = KINDS.get(name)
        if kind is None:
            faults.append(f"{name}: is not a known provider; the providers are {', '.join(KINDS)}")
        elif not isinstance(fields, dict):
            faults.append(f"{name}: must be a table; write {name} = {{{kind[1]}}}")
        else:
            try:
                found[name] = kind[0](_Fields(fields, kind[1]), proxy)
            except ValueError as error:
                faults += [f"{name}: {fault}" for fault in str(error).split("\n")]
    if faults:
        raise ConfigurationError(*(f"{path}: {fault}" for fault in faults))
    return found


def _tables(path: Path) -> Mapping[str, Any]:
    try:
        mode = path.stat().st_mode
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        # Without the parser's text, which may repeat a secret.
        raise ConfigurationError(f"{path}: is not TOML") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(
            f"{path}: every user of this machine may read or write it"
            f" (mode {stat.S_IMODE(mode):04o}), and could make events; run chmod 600"
        )
    return tables


class _Fields:
    """The fields of one provider. Each is taken once; fields that are left over are faults."""

    def __init__(self, fields: Fields, form: str) -> None:
        self._left = dict(fields)
        self._form = form

    def take(self, name: str) -> str:
        """A text. Raises ValueError."""
        value = self._left.pop(name, None)
        if value is None:
            raise ValueError(f"{name} is missing; write {{{self._form}}}")
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError(f"{name} must be a text")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        """A text, or a list of some. Raises ValueError."""
        value = self._left.get(name)
        if not isinstance(value, list):
            return [self.take(name)]
        del self._left[name]
        if not value or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{name} must be a text, or a list of texts")
        return value

    def end(self) -> None:
        """Raises ValueError if there are more."""
        if self._left:
            names = ", ".join(sorted(self._left))
            raise ValueError(f"{names}: unknown here; write {{{self._form}}}")


def _ses(fields: _Fields, proxy: Proxy | None) -> Provider:
    topics = fields.texts("topic")
    fields.end()
    _require_cryptography()
    from notifier.reports.providers.certificates import Certificates
    from notifier.reports.providers.ses import Ses, host_of

    for topic in topics:
        host_of(topic)
    return Ses(topics, Certificates(lambda url: _fetch(url, proxy)))


def _postmark(fields: _Fields, _proxy: Proxy | None) -> Provider:
    secret = fields.take("secret")
    fields.end()
    if len(secret) < SHORTEST:
        raise ValueError(f"secret must have {SHORTEST} characters or more")
    return Postmark(secret)


def _mailgun(fields: _Fields, _proxy: Proxy | None) -> Provider:
    key = fields.take("signing_key")
    fields.end()
    return Mailgun(key)


def _sendgrid(fields: _Fields, _proxy: Proxy | None) -> Provider:
    text = fields.take("public_key")
    fields.end()
    _require_cryptography()
    from notifier.reports.providers.sendgrid import SendGrid, public_key

    try:
        return SendGrid(public_key(text))
    except ValueError as error:
        raise ValueError(f"public_key: {error}") from None


def _twilio(fields: _Fields, _proxy: Proxy | None) -> Provider:
    token, url = fields.take("token"), fields.take("url")
    fields.end()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not host or not secure or parts.query or parts.fragment or not url.isascii():
        raise ValueError(
            "url must be where Twilio reaches this service,"
            " https://notifier.example.org/v1/reports/twilio"
        )
    return Twilio(token, url)


def _require_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise ValueError(
            "its signatures need a library that is not installed; run pip install "
            "'notifier[reports]'"
        )


async def _fetch(url: str, proxy: Proxy | None) -> bytes:
    """The answer to a GET, if it is 200. Raises OSError."""
    import httpx2

    from notifier.http_client import http_client, read_at_most

    try:
        async with (
            http_client(
                url, proxy=proxy, seconds=SECONDS, connect_seconds=SECONDS, headers={}
            ) as client,
            client.stream("GET", url) as response,
        ):
            body = await read_at_most(response, LARGEST_ANSWER)
    except httpx2.HTTPError as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    if response.status_code != 200:
        raise OSError(f"it answered {response.status_code}")
    return body


# Each provider, and an example of its table.
KINDS: Mapping[str, tuple[Callable[[_Fields, Proxy | None], Provider], str]] = {
    "ses": (_ses, 'topic = "arn:aws:sns:REGION:ACCOUNT:NAME"'),
    "postmark": (_postmark, 'secret = "..."'),
    "mailgun": (_mailgun, 'signing_key = "..."'),
    "sendgrid": (_sendgrid, 'public_key = "..."'),
    "twilio": (_twilio, 'token = "...", url = "https://..."'),
}
