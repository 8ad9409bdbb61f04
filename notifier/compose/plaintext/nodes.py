"""Helpers for the parser's tree."""

from collections.abc import Iterator

from turbohtml import Node


def first(outer: Node) -> Node | None:
    """The first child."""
    try:
        return outer[0]
    except IndexError:
        return None


def children(outer: Node) -> Iterator[Node]:
    """The children, one at a time, because a list of all could be long."""
    node = first(outer)
    while node is not None:
        yield node
        node = node.next_sibling


def integer(attribute: str | None) -> int | None:
    """The number in an attribute, of at most nine digits."""
    text = (attribute or "").strip()
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
    valid = digits.isascii() and digits.isdigit() and len(digits) < 10
    return sign * int(digits) if valid else None
