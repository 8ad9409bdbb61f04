"""Rows in which words occur: in what a person would look at, not in the whole record."""

import msgspec

from notifier.journal.sqlite.rows import Value

MOST_WORDS = 8  # the rest of a search is left aside

_encode = msgspec.json.Encoder().encode

_TEXT = "CAST(d.record AS TEXT)"
# Nearly every row that is not meant ends here, before its JSON is read.
_SOMEWHERE = f"instr(lower({_TEXT}), ?) > 0"
_FIELDS = ("subject", "sender", "reference", "user_id", "reason", "id")
_FIELD = " || char(10) || ".join(f"ifnull({_TEXT} ->> '$.{name}', '')" for name in _FIELDS)
_ADDRESS = f"SELECT value ->> '$.address' AS said FROM json_each({_TEXT}, '$.recipients')"  # noqa: S608  constant
_TAG = f"SELECT value AS said FROM json_each({_TEXT}, '$.tags')"  # noqa: S608  constant
_THERE = (
    f"(instr(lower({_FIELD}), ?) > 0"  # noqa: S608  no piece is a caller's
    f" OR EXISTS (SELECT 1 FROM ({_ADDRESS} UNION ALL {_TAG}) WHERE instr(lower(said), ?) > 0))"
)


def mentions(q: str) -> tuple[tuple[str, ...], tuple[Value, ...]]:
    """
    Conditions, and their values: each word occurs in subject, sender, recipients, reference,
    user id, tags, id, or the reason why it is where it is. A to Z in either case; other letters
    as they are, which is all that SQLite's own lower() does.
    """
    words = [_lowered(word) for word in q.split()[:MOST_WORDS]]
    where = [condition for _ in words for condition in (_SOMEWHERE, _THERE)]
    values = [value for word in words for value in (_as_json(word), word, word)]
    return tuple(where), tuple(values)


def _lowered(word: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in word)


def _as_json(word: str) -> str:
    """As it stands inside a string of the record."""
    return _encode(word).decode()[1:-1]
