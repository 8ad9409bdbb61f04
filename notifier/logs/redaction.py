"""Remove from the log what must not be in it: whole addresses, contents, secrets."""

import re
from collections.abc import MutableMapping
from typing import Any

from notifier.characters import CONTROL

STRUCK_OUT = "***"
SECRETS = frozenset(
    {
        "api_key", "attachments", "authorization", "body", "content", "cookie", "html", "message",
        "password", "secret", "subject", "text", "token",
    }
)  # fmt: skip
# A Message-ID looks like an address; a person searches the relay's logs for it.
UNTOUCHED = frozenset({"message_id"})
PLAIN = frozenset({int, float, bool, type(None)})
COLLECTIONS = (list, tuple, set, frozenset, dict)

LONGEST = 4000  # characters of one value, so that requests cannot fill the disk
LONGEST_PATH = 200
LONGEST_LOCAL = 256  # characters of a local part that are replaced

# A local part, read backwards from the `@`.
_LOCAL = re.compile(r"[^\s<>\"()\[\],;:@/\\=]+")


def shorten(text: str) -> str:
    """
    `jane.doe@example.org` becomes `j***@example.org`, wherever it stands in the text. It looks
    back from each `@`, so the time that it takes follows from the length of the text alone.
    """
    *before, last = text.split("@")
    found = []
    for place, piece in enumerate(before, 1):
        after = before[place] if place < len(before) else last
        local = _LOCAL.match(piece[: -LONGEST_LOCAL - 1 : -1])
        if local is None or not after or after[0].isspace():
            found.append(piece)
        else:
            start = len(piece) - local.end()
            found.append(f"{piece[: start + 1]}{STRUCK_OUT}")
    return "@".join([*found, last])


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that redacts every text: a relay's reply repeats addresses."""
    for key, value in event.items():
        if key in SECRETS:
            event[key] = STRUCK_OUT
        elif type(value) in PLAIN:
            continue
        elif isinstance(value, str):
            if len(value) > LONGEST_PATH:
                event[key] = value = _cut(key, value)
            if "@" in value and key not in UNTOUCHED:
                event[key] = shorten(value)
        elif isinstance(value, COLLECTIONS):
            event[key] = _redacted(value)
    return event


def _cut(key: str, value: str) -> str:
    longest = {"path": LONGEST_PATH, "exception": 8 * LONGEST}.get(key, LONGEST)
    left_out = len(value) - longest
    if left_out <= 0:
        return value
    if key == "exception":  # the exception itself is at the end
        return f"({left_out} more characters) {value[-longest:]}"
    return f"{value[:longest]} ({left_out} more characters)"


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        value = _cut("", value)
        return shorten(value) if "@" in value else value
    if isinstance(value, dict):
        return {
            _redacted(key): STRUCK_OUT if key in SECRETS else _redacted(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    return value


def escape_controls(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For terminals: no text can begin a line of its own or move the cursor."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and CONTROL.search(value):
            event[key] = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event
