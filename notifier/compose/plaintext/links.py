"""The targets of an HTML's links, as footnotes of its text."""

import re

# Targets inside the HTML, and those that a reader of text cannot use.
_NOWHERE = re.compile(r"#|\Z|(?:javascript|vbscript|data|cid|about|blob|file):", re.IGNORECASE)
_SCHEME = re.compile(r"(?:https?://|mailto:|tel:|sms:)", re.IGNORECASE)
_NOT_DIALLED = re.compile(r"[^0-9+]")


class Links:
    """The targets, numbered in order of appearance, each once."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self._numbers: dict[str, int] = {}

    def mark(self, target: str) -> str:
        """The footnote's mark for a target."""
        number = self._numbers.get(target)
        if number is None:
            self.targets.append(target)
            number = self._numbers[target] = len(self.targets)
        return f"[{number}]"


def target_of(href: str) -> str:
    """The target for a reader of the text; empty if there is none."""
    href = "".join(href.strip().splitlines()).replace("\t", "").replace(" ", "%20")
    if _NOWHERE.match(href):
        return ""
    if href[:7].lower() == "mailto:" and "?" not in href:
        return href[7:]
    return href


def says(text: str, target: str) -> bool:
    """Whether a link's text already is its target."""
    if target[:4].lower() in {"tel:", "sms:"}:
        return _NOT_DIALLED.sub("", text) == _NOT_DIALLED.sub("", target)
    if target[:7].lower() == "mailto:":
        target = target.partition("?")[0]
    return _bare(text) == _bare(target)


def _bare(address: str) -> str:
    """The target without its scheme, and with its host in lower case."""
    bare = _SCHEME.sub("", "".join(address.split()), count=1)
    host, slash, path = bare.partition("/")
    return f"{host.casefold()}{slash}{path}".rstrip("/")
