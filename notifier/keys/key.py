"""One API key and what it allows."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from notifier.address_rules import DOMAIN, address_parts, ascii_domain, covers, read_rules
from notifier.domains import SIMULATOR_DOMAIN
from notifier.errors import ConfigurationError
from notifier.keys.callback import Callback, callback_from
from notifier.quotas import read_quota
from notifier.scopes import KeyScope
from notifier.verp import read_return_path

# A bare key of TOML, so that it never needs quotes; logs and deliveries show it, too.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PER_MINUTE = Annotated[int, Meta(ge=1, le=1_000_000)]
_PER_DAY = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class KeyKind(StrEnum):
    """How far a key's messages go."""

    LIVE = "live"
    TEAM = "team"  # only to the recipients listed with the key
    TEST = "test"  # all the way to the built-in simulator, and no farther


class Key(Struct, frozen=True, kw_only=True):
    """An API key and its rules. Addresses and domains are kept in lower case and ASCII."""

    name: str
    id: Annotated[str, Meta(pattern="^[0-9a-z]{12}$")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # SHA-256 of the whole key
    scopes: Annotated[frozenset[KeyScope], Meta(min_length=1)]
    created: datetime
    kind: KeyKind = KeyKind.LIVE
    senders: tuple[str, ...] = ()  # `a@x.org`, or `@x.org` for a whole domain; empty: any
    recipient_domains: tuple[str, ...] = ()  # empty: any
    recipients: tuple[str, ...] = ()  # of a team key, in the form of senders
    countries: tuple[str, ...] = ()  # to which texts may be sent, ISO 3166; empty: any
    rate: _PER_MINUTE | None = None  # recipients, and segments of texts, a minute
    daily: _PER_DAY | None = None  # the same a day
    per_recipient: str | None = None  # messages to one recipient, such as 20/h; None: the service's
    return_path: str | None = None  # where reports about its mail go; None: to the service's
    expires: datetime | None = None
    revoked: datetime | None = None
    made_by: str = ""  # who made it, as `cli:ann`; empty: the person who wrote the file
    revoked_by: str = ""
    callback: Callback | None = None  # where its application learns what became of its messages

    def __repr__(self) -> str:
        """The key without its hash, which no log needs."""
        return f"Key({self.name} {self.id} {self.kind})"

    def may(self, scope: KeyScope) -> bool:
        """
        Whether the key has this scope. Sending is allowed with `sms`, too: `objection_to_channel`
        tells mail from texts.
        """
        match scope:
            case KeyScope.READ:
                return bool(self.scopes & {KeyScope.READ, KeyScope.MANAGE})
            case KeyScope.REPORT:
                return bool(self.scopes & {KeyScope.REPORT, KeyScope.MANAGE})
            case KeyScope.SEND:
                return bool(self.scopes & {KeyScope.SEND, KeyScope.SMS})
            case KeyScope.SMS if not self.senders:
                return bool(self.scopes & {KeyScope.SEND, KeyScope.SMS})
        return scope in self.scopes

    def may_send_as(self, address: str) -> bool:
        return not self.senders or covers(self.senders, address)

    @property
    def limited(self) -> bool:
        """Whether the key has a rate."""
        return self.rate is not None or self.daily is not None

    def objection_to_scope(self, scope: KeyScope) -> str:
        """Why the key lacks this scope, as text for a 403; empty: it has the scope."""
        return "" if self.may(scope) else self._lack(scope)

    def _lack(self, scope: KeyScope) -> str:
        has = ", ".join(sorted(self.scopes))
        return f"the key {self.name!r} lacks the scope {scope.value!r}; it has {has}"

    def objection_to_channel(self, channel: str) -> str:
        """Why the key may not send on that channel, `email` or `sms`; empty: it may."""
        if channel == "sms":
            if self.may(KeyScope.SMS):
                return ""
            lack = self._lack(KeyScope.SMS)
            return f"{lack}; a key with senders needs 'sms' to send text messages"
        if KeyScope.SEND in self.scopes:
            return ""
        return f"{self._lack(KeyScope.SEND)}; 'sms' is for text messages alone"

    def objection_to_country(self, region: str) -> str:
        """Why the key may not send texts to that region; empty: it may."""
        if not self.countries or region in self.countries:
            return ""
        allowed = ", ".join(self.countries)
        return f"the key {self.name!r} may not send texts to {region}; its countries are {allowed}"

    def objection_to_sender(self, address: str) -> str:
        """Why the key may not send as that address; empty: it may."""
        if self.may_send_as(address):
            return ""
        allowed = ", ".join(self.senders)
        return f"the key {self.name!r} may not send as {address}; its senders are {allowed}"

    def objection_to_recipient(self, address: str) -> str:
        """Why the key may not send to that address; empty: it may."""
        _, domain = address_parts(address)
        if domain == SIMULATOR_DOMAIN:  # nothing leaves
            return ""
        if self.kind is KeyKind.TEAM and not covers(self.recipients, address):
            return (
                f"the key {self.name!r} is of the kind 'team' and {address} is not"
                " among its recipients"
            )
        if self.recipient_domains and domain not in self.recipient_domains:
            allowed = ", ".join(self.recipient_domains)
            return (
                f"the key {self.name!r} may not send to {address};"
                f" its recipient_domains are {allowed}"
            )
        return ""

    @property
    def default_sender(self) -> str | None:
        """The sender of messages that name none: the first of the senders that is an address."""
        return next((sender for sender in self.senders if not sender.startswith("@")), None)

    def lapsed(self, now: datetime) -> str:
        """Why the key is no longer valid; empty: it is valid."""
        if self.revoked is not None:
            return f"the key {self.name!r} was revoked on {self.revoked:%Y-%m-%d %H:%M %Z}"
        if self.expires is not None and now >= self.expires:
            return f"the key {self.name!r} expired on {self.expires:%Y-%m-%d %H:%M %Z}"
        return ""


def key_from(name: str, fields: Mapping[str, object]) -> Key:
    """
    A key made of plain values. Raises ConfigurationError with every fault, as `keys.NAME.FIELD:
    ...`.
    """
    faults: list[str] = []
    if not _NAME.fullmatch(name):
        faults.append("a name is up to 64 letters, digits, _ and -, the first a letter or digit")
    values: dict[str, object] = {"name": name}
    values.update(_converted(fields, faults))
    if not faults:
        faults += _contradictions(values)
    if faults:
        raise ConfigurationError(*(f"keys.{name}{_joined(fault)}" for fault in faults))
    return msgspec.convert(values, Key)


def _joined(fault: str) -> str:
    return f".{fault}" if re.split("[:.]", fault)[0] in _FIELDS else f": {fault}"


def _converted(fields: Mapping[str, object], faults: list[str]) -> Iterator[tuple[str, object]]:
    faults += [f"unknown field {name!r}" for name in fields if name not in _FIELDS]
    for name, field in _FIELDS.items():
        if fields.get(name) is None:
            if field.required:
                faults.append(f"{name}: is missing")
            continue
        try:
            value = fields[name]
            value = with_zone(value) if isinstance(value, date) else value
            if name == "callback":
                yield name, callback_from(value)
                continue
            value = msgspec.convert(value, field.type)
            yield name, _PLAIN[name](value) if name in _PLAIN else value
        except ConfigurationError as error:
            faults += [f"{name}{_within(fault)}" for fault in error.faults]
        except ValueError as error:  # msgspec's are of this kind
            faults.append(f"{name}: {error}")


def _within(fault: str) -> str:
    """The fault of a table, behind the table's name."""
    return f".{fault}" if fault.partition(":")[0].isidentifier() else f": {fault}"


def _contradictions(values: Mapping[str, object]) -> Iterator[str]:
    team = values.get("kind") is KeyKind.TEAM
    if team and not values.get("recipients"):
        yield "recipients: a key of the kind 'team' must list whom it may send to"
    if not team and values.get("recipients"):
        yield "recipients: only a key of the kind 'team' has them"


def with_zone(value: date) -> datetime:
    """A time without a zone is in UTC; a date means the end of its day, UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) + timedelta(days=1)


def _plain_domains(written: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_plain_domain(domain) for domain in written)


def _plain_domain(written: str) -> str:
    domain = ascii_domain(written.removeprefix("@"))
    if not DOMAIN.fullmatch(domain):
        raise ValueError(f"{written!r} is not a domain; write x.org")
    return domain


def _plain_countries(written: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_plain_country, written))


def _plain_country(written: str) -> str:
    if len(written) != 2 or not written.isascii() or not written.isalpha():
        raise ValueError(f"{written!r} is not a country; write a code such as US")
    return written.upper()


_FIELDS = {field.name: field for field in msgspec.structs.fields(Key) if field.name != "name"}
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "per_recipient": lambda text: str(read_quota(text)),
    "return_path": read_return_path,
    "senders": read_rules,
    "recipients": read_rules,
    "recipient_domains": _plain_domains,
    "countries": _plain_countries,
}
