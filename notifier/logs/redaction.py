"""What must not stand in a log: whole addresses, contents, secrets."""

import re
from collections.abc import MutableMapping
from typing import Any

STRUCK_OUT = "***"
SECRETS = frozenset(
    {
        "api_key", "attachments", "authorization", "body", "content", "cookie", "html", "message",
        "password", "secret", "subject", "text", "token",
    }
)  # fmt: skip
# A Message-ID looks like an address and is none; one looks for it in the logs of the relay.
UNTOUCHED = frozenset({"message_id"})
COLLECTIONS = (list, tuple, set, frozenset, dict)

_ADDRESS = re.compile(r"([^\s<>\"()\[\],;:@/\\=])[^\s<>\"()\[\],;:@/\\=]{0,255}@(?=[^\s@])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def shorten(text: str) -> str:
    """`jane.doe@example.org` becomes `j***@example.org`, wherever it stands in the text."""
    return _ADDRESS.sub(rf"\1{STRUCK_OUT}@", text)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor. It looks at every text: a relay's reply repeats addresses, too."""
    for key, value in event.items():
        if key in SECRETS:
            event[key] = STRUCK_OUT
        elif isinstance(value, str):
            if "@" in value and key not in UNTOUCHED:
                event[key] = shorten(value)
        elif isinstance(value, COLLECTIONS):
            event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
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
    """For terminals: nobody's text may begin a line of its own, or move the cursor."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and _CONTROL.search(value):
            event[key] = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event
