"""Notices which API keys were made, changed, revoked and removed since the last look."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from notifier.audit.records import Record, added_once
from notifier.journal.statements import Statement
from notifier.keys import Key

BY_HAND = "keys file"  # who changed a key: the person who wrote the file


class Known(Struct, frozen=True):
    """A key as it was at the last look of any replica."""

    name: str
    terms: str  # a digest of its rules
    revoked: bool
    there: bool = True  # False: it was removed
    changes: int = 0  # so that the same change is recorded again when it happens again


KnownKeys: TypeAlias = Mapping[str, Known]  # by id
Seen: TypeAlias = Mapping[str, tuple[str, str, bool]]  # by id: what is known of keys in a file

_known = msgspec.json.Decoder(dict[str, Known])
_encode = msgspec.json.Encoder(order="sorted").encode


def written(known: KnownKeys) -> str:
    return _encode(known).decode()


def read(value: str | None) -> dict[str, Known]:
    return _known.decode(value) if value else {}


def seen(keys: tuple[Key, ...]) -> Seen:
    return {key.id: (key.name, _terms(key), key.revoked is not None) for key in keys}


def changes(
    before: KnownKeys, keys: tuple[Key, ...], now: datetime
) -> tuple[dict[str, Known], list[Statement]]:
    """
    The keys as they are known from now on, and the statements that record each change. Several
    replicas that begin with the same keys record a change once.
    """
    after, statements = dict(before), []
    for key in keys:
        was = before.get(key.id)
        records = tuple(_records(key, was, now))
        number = 0 if was is None else was.changes + bool(records)
        after[key.id] = Known(key.name, _terms(key), key.revoked is not None, changes=number)
        statements += [added_once(each, f"key {key.id} {each.what} {number}") for each in records]
    there = {key.id for key in keys}
    for id, gone in before.items():
        if gone.there and id not in there:
            after[id] = replace(gone, there=False, changes=gone.changes + 1)
            removed = Record(now, BY_HAND, "remove-key", gone.name)
            statements.append(added_once(removed, f"key {id} remove-key {after[id].changes}"))
    return after, statements


def _records(key: Key, was: Known | None, now: datetime) -> Iterator[Record]:
    """The records of what happened to a key since this state. None: it is new."""
    rules = _rules(key)
    if was is None:
        yield Record(key.created, key.made_by or BY_HAND, "make-key", key.name, 1, rules)
    elif not was.there:
        yield Record(now, BY_HAND, "make-key", key.name, 1, f"put back, {rules}")
    elif was.revoked and key.revoked is None:
        yield Record(now, BY_HAND, "change-key", key.name, 1, f"no longer revoked, {rules}")
    elif was.terms != _terms(key):
        yield Record(now, BY_HAND, "change-key", key.name, 1, rules)
    if key.revoked is not None and not (was and was.revoked):
        yield Record(key.revoked, key.revoked_by or BY_HAND, "revoke-key", key.name)


def _terms(key: Key) -> str:
    return sha256(_encode(_fields(key))).hexdigest()[:16]


def _fields(key: Key) -> dict[str, object]:
    """The rules of the key, without its name, id and history."""
    fields: dict[str, object] = msgspec.to_builtins(key)
    for name in ("name", "id", "created", "made_by", "revoked", "revoked_by"):
        fields.pop(name, None)
    fields["scopes"] = sorted(scope.value for scope in key.scopes)
    return fields


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
