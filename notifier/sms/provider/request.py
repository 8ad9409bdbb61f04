"""One request to a provider: its JSON body in the operator's form, and its progress."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from notifier.exchange import Exchange
from notifier.sms.provider.policy import Answer

DEFAULT_BODY = '{"to": "{to}", "text": "{text}", "id": "{id}"}'
PLACES = ("to", "digits", "text", "id")  # what may stand in braces; digits: `to` without its +

_PLACE = re.compile(r"\{([a-z_]+)\}")


class Text(Struct, frozen=True, omit_defaults=True):
    """The content of a delivery through a provider: the parts of the request, made at admission."""

    id: str  # the delivery's
    to: str  # E.164
    text: str


def content(id: str, to: str, text: str) -> bytes:
    """What the journal keeps of a text message that goes through a provider."""
    return msgspec.json.encode(Text(id, to, text))


def text_in(content: bytes) -> str:
    """The text in what the journal keeps."""
    return msgspec.json.decode(content, type=Text).text


def literals(text: str) -> list[str]:
    """The strings of a JSON body that are posted unchanged."""
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return []
    return [string for string in _strings(tree) if not _PLACE.search(string)]


def template(text: str) -> Callable[[Text], bytes]:
    """
    A JSON body with `{to}` and the like within its strings. Values are put into the parsed tree, so
    that no text can break out of its string. Raises ValueError.
    """
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        raise ValueError("it must be JSON") from None
    places = {name for string in _strings(tree) for name in _PLACE.findall(string)}
    if unknown := sorted(places.difference(PLACES)):
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ValueError(f"{{{unknown[0]}}} is unknown; there are {known}")
    if "text" not in places or not places & {"to", "digits"}:
        raise ValueError("it must contain {to} (or {digits}) and {text} in its strings")

    def write(message: Text) -> bytes:
        values = {
            "to": message.to,
            "digits": message.to.removeprefix("+"),
            "text": message.text,
            "id": message.id,
        }
        return msgspec.json.encode(_filled(tree, values))

    return write


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _strings(each)


def _filled(tree: Any, values: Mapping[str, str]) -> Any:
    """Fill in one pass, so that braces in a text stay as they are."""
    if isinstance(tree, str):
        return _PLACE.sub(lambda match: values[match[1]], tree)
    if isinstance(tree, dict):
        return {name: _filled(each, values) for name, each in tree.items()}
    if isinstance(tree, list):
        return [_filled(each, values) for each in tree]
    return tree


class Asked(Exchange):
    """What is known of a request to a provider."""

    def __init__(self) -> None:
        super().__init__()
        self.ticket: int | None = None  # of the breaker; None: nothing was asked
        self.answer: Answer | None = None
