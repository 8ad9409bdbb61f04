"""Notices which API keys were made, changed, revoked and removed since the last look."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import Struct

from notifier.audit.records import Record, added_once
from notifier.journal.statements import Statement
from notifier.keys import Key

BY_HAND = "keys file"  # who changed a key: whoever has written the file


class Known(Struct, frozen=True):
    """A key as it was at the last look."""

    name: str
    terms: str  # a digest of its rules
    revoked: bool


KnownKeys: TypeAlias = Mapping[str, Known]  # by id

_known = msgspec.json.Decoder(dict[str, Known])
_encode = msgspec.json.Encoder(order="sorted").encode


def written(known: KnownKeys) -> str:
    return _encode(known).decode()


def read(value: str | None) -> dict[str, Known]:
    return _known.decode(value) if value else {}


def known(keys: tuple[Key, ...]) -> dict[str, Known]:
    return {key.id: Known(key.name, _terms(key), key.revoked is not None) for key in keys}


def changes(before: KnownKeys, keys: tuple[Key, ...], now: datetime) -> Iterator[Statement]:
    """The statements that tell of each change; several replicas tell of it once."""
    for key in keys:
        terms, was = _terms(key), before.get(key.id)
        if was is None:
            made = Record(key.created, key.made_by or BY_HAND, "make-key", key.name, 1, _rules(key))
            yield added_once(made, f"key {key.id} made")
        elif was.terms != terms:
            changed = Record(now, BY_HAND, "change-key", key.name, 1, _rules(key))
            yield added_once(changed, f"key {key.id} {terms} after {was.terms}")
        if key.revoked is not None and not (was and was.revoked):
            revoked = Record(key.revoked, key.revoked_by or BY_HAND, "revoke-key", key.name)
            yield added_once(revoked, f"key {key.id} revoked")
    there = {key.id for key in keys}
    for id, gone in before.items():
        if id not in there:
            yield added_once(Record(now, BY_HAND, "remove-key", gone.name), f"key {id} removed")


def _terms(key: Key) -> str:
    return sha256(_encode(_fields(key))).hexdigest()[:16]


def _fields(key: Key) -> dict[str, object]:
    """The rules of the key: neither who it is, nor what became of it."""
    fields: dict[str, object] = msgspec.to_builtins(key)
    for name in ("name", "id", "created", "made_by", "revoked", "revoked_by"):
        fields.pop(name, None)
    fields["scopes"] = sorted(scope.value for scope in key.scopes)
    return fields


_UNSET: tuple[object, ...] = (None, [], (), "")


def _rules(key: Key) -> str:
    """For people: without the hash, and without the secrets of callbacks."""
    fields = {
        name: value for name, value in _fields(key).items() if value not in (None, [], (), "")
    }
    fields.pop("sha256", None)
    if key.callback is not None:
        fields["callback"] = key.callback.place
    return ", ".join(f"{name}={_word(value)}" for name, value in fields.items())


def _word(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
