"""Characters that may not stand in a line, because they would end it, or move a cursor."""

import re

# What stands between the brackets of a regular expression: C0, DEL, C1, and Unicode's line breaks.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
CONTROL = re.compile(f"[{CONTROLS}]")


def printable(text: str) -> str:
    """The text with a blank in place of each character that cannot be shown."""
    return "".join(each if each.isprintable() else " " for each in text)


def one_line(text: str, most: int) -> str:
    """The beginning of a foreign text, on one line, of at most so many characters."""
    return " ".join(printable(text).split())[:most]
