"""
The SMS provider that the settings describe: an account at Twilio, or any POST of JSON.

    twilio://SID:TOKEN@?from=+15005550006 or ?messaging_service=MG...
    https://user:password@api.example.com/send with NOTIFIER_SMS_PROVIDER_BODY
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import httpx2
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from notifier.errors import ConfigurationError
from notifier.proxies import Proxy
from notifier.sms.provider.acceptance import Expected
from notifier.sms.provider.policy import TWILIO, Codes
from notifier.sms.provider.request import DEFAULT_BODY, Text, literals, template

T = TypeVar("T")

SETTING = "NOTIFIER_SMS_PROVIDER"
BODY, HEADERS = f"{SETTING}_BODY", f"{SETTING}_HEADERS"
IDEMPOTENCY, SUCCESS = f"{SETTING}_IDEMPOTENCY_HEADER", f"{SETTING}_SUCCESS"

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OURS = {"host", "content-length", "content-type", "transfer-encoding", "connection"}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ACCOUNT = re.compile(r"[A-Za-z0-9]{2,64}")
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11}")
_SHORTEST_SECRET = 6  # characters; striking out shorter ones would only garble
_LONGER_THAN_WORDS = 16  # characters


class ProviderSpec(Struct, frozen=True, kw_only=True):
    """How to send requests to a provider, and its name."""

    name: str
    url: str
    headers: dict[str, str]
    write: Callable[[Text], bytes]  # the body of the request
    codes: Codes = Codes()
    idempotency_header: str | None = None
    expected: Expected | None = None  # what success looks like; None: a 2xx that is no refusal
    secrets: tuple[str, ...] = ()
    proxy: Proxy | None = None  # to reach it by

    def __repr__(self) -> str:
        """The spec without what must not reach a log by accident."""
        return f"ProviderSpec({self.name})"

    def struck(self, words: str) -> str:
        """A provider's text with the secrets struck out."""
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return words


def read_provider(
    url: str,
    *,
    body: str | None = None,
    headers: str | None = None,
    idempotency_header: str | None = None,
    success: str | None = None,
    callback: Callable[[str], str] | None = None,
) -> ProviderSpec:
    """
    The provider that these settings describe: NOTIFIER_SMS_PROVIDER, and behind it _BODY,
    _HEADERS, _IDEMPOTENCY_HEADER and _SUCCESS. `callback`: the URL to which Twilio reports on the
    message of an id; None: it does not. Raises ConfigurationError with every fault; it repeats
    nothing of what may be secret.
    """
    faults: list[str] = []
    if url.startswith("twilio://"):
        given = {
            BODY: body,
            HEADERS: headers,
            IDEMPOTENCY: idempotency_header,
            SUCCESS: success,
        }
        faults += [
            f"{name} does not apply to twilio://; remove it" for name, it in given.items() if it
        ]
        spec = _collect(faults, SETTING, partial(_twilio, url, callback))
    else:
        spec = _collect(faults, SETTING, partial(_generic, url))
        write = _collect(faults, BODY, partial(template, body or DEFAULT_BODY))
        fields = _collect(faults, HEADERS, partial(_headers, headers or "{}"))
        expected = _collect(faults, SUCCESS, partial(Expected.read, success)) if success else None
        if idempotency_header and not _TOKEN.fullmatch(idempotency_header):
            faults.append(
                f"{IDEMPOTENCY}: it must be the name of a header, such as Idempotency-Key"
            )
        if spec is not None and write is not None and fields is not None:
            spec = replace(
                spec,
                write=write,
                headers=spec.headers | fields,
                idempotency_header=idempotency_header or None,
                expected=expected,
                secrets=_secrets(
                    *spec.secrets,
                    *fields.values(),
                    *" ".join(fields.values()).split(),
                    *filter(_is_random, literals(body or DEFAULT_BODY)),
                ),
            )
    if faults or spec is None:
        raise ConfigurationError(*faults)
    return spec


def _headers(text: str) -> dict[str, str]:
    try:
        fields = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError):  # whose text might repeat a value
        raise ValueError(
            'it must be a JSON object of strings, such as {"Authorization": "Bearer ..."}'
        ) from None
    faults = []
    for name, value in fields.items():
        if not _TOKEN.fullmatch(name):
            faults.append("each name must be a valid header name")
        elif name.lower() in _OURS:
            faults.append(f"{name} is set by the service")
        elif not _VALUE.fullmatch(value):
            faults.append(f"the value of {name} must be printable ASCII without spaces around it")
    if faults:
        raise ValueError("\n".join(faults))
    return fields


def _generic(url: str) -> ProviderSpec:
    parts = _parts(url)
    host = _host(parts)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ValueError("write https:// (http:// only to this machine) or twilio://")
    if parts.fragment:
        raise ValueError("a # part is never sent; leave it out")
    user, password = _credentials(parts)
    basic = _basic(user, password) if user else {}
    keys = [pair.partition("=")[2] for pair in parts.query.split("&")]
    query = f"?{parts.query}" if parts.query else ""
    return ProviderSpec(
        name=host,
        url=_usable(f"{parts.scheme}://{_authority(parts)}{parts.path or '/'}{query}"),
        headers={"Content-Type": "application/json", **basic},
        write=template(DEFAULT_BODY),
        secrets=_secrets(
            password, *basic.values(), *keys, *map(unquote, keys), *_in_path(parts.path)
        ),
    )


def _twilio(url: str, callback: Callable[[str], str] | None) -> ProviderSpec:
    parts = _parts(url)
    user, token = _credentials(parts)
    given = _parameters(parts)
    account = given.pop("account", user)
    if not token or not _ACCOUNT.fullmatch(user) or not _ACCOUNT.fullmatch(account):
        raise ValueError("write twilio://SID:TOKEN@?from=+15005550006")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("after the @ only a host and ?name=value&name=value may follow")
    sender = _twilio_sender(given)
    host = parts.hostname or "api.twilio.com"
    scheme = "http" if host in _LOOPBACK else "https"
    authority = _authority(parts) if parts.hostname else host
    basic = _basic(user, token)

    def write(text: Text) -> bytes:
        report = {} if callback is None else {"StatusCallback": callback(text.id)}
        form = {"To": text.to, **sender, "Body": text.text, **report}
        return urlencode(form).encode("ascii")

    return ProviderSpec(
        name="twilio",
        url=_usable(f"{scheme}://{authority}/2010-04-01/Accounts/{account}/Messages.json"),
        headers={"Content-Type": "application/x-www-form-urlencoded", **basic},
        write=write,
        codes=TWILIO,
        secrets=_secrets(token, *basic.values()),
    )


def _twilio_sender(given: Mapping[str, str]) -> dict[str, str]:
    match given:
        case {"from": sender, **others} if not others and _SENDER.fullmatch(sender):
            return {"From": sender}
        case {"messaging_service": service, **others} if not others and _ACCOUNT.fullmatch(service):
            return {"MessagingServiceSid": service}
    raise ValueError(
        "after the ?, write from= (a number in E.164, a short code or a name) or "
        "messaging_service=, and if needed account="
    )


def _parts(url: str) -> SplitResult:
    if not _VALUE.fullmatch(url) or " " in url:
        raise ValueError(
            "it must be a URL in ASCII without spaces; percent-encode other characters"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is not a port
    except ValueError:  # whose text would repeat a part of it
        raise ValueError("it must be a URL: https://host/path or twilio://") from None
    if "@" in parts.path:
        raise ValueError("in the user and the password, write @ / ? # as %40 %2F %3F %23")
    return parts


def _usable(url: str) -> str:
    """The URL as the HTTP client reads it, so that a wrong one is found at the start."""
    try:
        return str(httpx2.URL(url))
    except httpx2.InvalidURL:  # whose text would repeat a part of it
        raise ValueError("it must be a URL: https://host/path or twilio://") from None


def _host(parts: SplitResult) -> str:
    if not parts.hostname:
        raise ValueError("it has no host; write https://host/path")
    return parts.hostname


def _authority(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _credentials(parts: SplitResult) -> tuple[str, str]:
    try:
        return (
            unquote(parts.username or "", errors="strict"),
            unquote(parts.password or "", errors="strict"),
        )
    except UnicodeDecodeError:
        raise ValueError("user and password must be UTF-8, percent-encoded") from None


def _parameters(parts: SplitResult) -> dict[str, str]:
    """The query's parameters. A + stays a +, because it begins a number."""
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    given = {name: unquote(value) for name, _, value in pairs}
    if len(given) < len(pairs):
        raise ValueError("a parameter is given twice")
    return given


def _basic(user: str, password: str) -> dict[str, str]:
    """RFC 7617."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}"}


def _secrets(*words: str) -> tuple[str, ...]:
    """The secrets, longest first, so that none leaves the rest of another."""
    long = {word for word in words if len(word) >= _SHORTEST_SECRET}
    return tuple(sorted(long, key=len, reverse=True))


def _in_path(path: str) -> Iterator[str]:
    """The secrets in a URL's path: the path, and each step that may be a key."""
    yield path
    for step in path.split("/"):
        yield from filter(_is_random, (step, unquote(step)))


def _is_random(text: str) -> bool:
    """Whether a step may be a key: it has a digit, or is longer than words are."""
    return len(text) >= _LONGER_THAN_WORDS or any(map(str.isdigit, text))


def _collect(faults: list[str], setting: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ValueError as error:
        faults += [f"{setting}: {fault}" for fault in str(error).split("\n")]
    return None
