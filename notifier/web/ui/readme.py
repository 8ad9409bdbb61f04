"""The package's own README, as it was installed, for the index page."""

import re
from functools import cached_property
from html import escape
from importlib.metadata import PackageNotFoundError, metadata

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

ORIGIN = "http://127.0.0.1:8014"  # where the README's examples call a service that nobody set up
IMAGES = "notifier/web/ui/static/"  # where its pictures are in the repository


class Readme:
    """Rendered once, when somebody first asks. HTML in it would be shown as text, not taken."""

    def __init__(self, base: str) -> None:
        self._base = base

    def under(self, origin: str) -> Markup:
        """Its HTML, with examples that call the service as this caller does."""
        return Markup(self._html.replace(ORIGIN, escape(origin + self._base)))  # noqa: S704 - the parser has escaped it

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Anchor and title of each."""
        return [(_anchor(token), token.content) for token in _titles(self._tokens)]

    @cached_property
    def _html(self) -> str:
        rendered: str = _parser().renderer.render(self._tokens, _parser().options, {})
        return rendered

    @cached_property
    def _tokens(self) -> list[Token]:
        tokens = _parser().parse(_text())
        for number, token in enumerate(tokens):
            if token.type == "heading_open" and token.tag == "h2":
                token.attrSet("id", _anchor(tokens[number + 1]))
            if token.type in {"fence", "code_block", "table_open"}:
                token.attrSet("tabindex", "0")  # it may scroll, also by keyboard
            for child in token.children or ():
                if child.type == "image":
                    name = str(child.attrGet("src")).removeprefix(IMAGES)
                    child.attrSet("src", f"{self._base}/static/{name}")
                    child.attrSet("loading", "lazy")
        return tokens


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _text() -> str:
    """Without its title, which the page has already."""
    try:
        text = str(metadata("notifier").get_payload())  # type: ignore[attr-defined]  # typed as less
    except PackageNotFoundError:  # it runs from a folder in which it was never installed
        return "This copy was not installed, so it has no README at hand."
    return re.sub(r"\A\s*# .*\n", "", text)


def _titles(tokens: list[Token]) -> list[Token]:
    return [
        tokens[number + 1]
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2"
    ]


def _anchor(title: Token) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.content.lower()).strip("-")
