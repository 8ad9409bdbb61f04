"""The guide: the pages of `notifier/guide`, rendered for the browser."""

import re
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from markupsafe import Markup
from msgspec import Struct

from notifier.web.bodies import AnyRequest
from notifier.web.routes import OPEN, get
from notifier.web.ui.layout import Layout

if TYPE_CHECKING:  # loaded by the first page
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

FOLDER = Path(__file__).parents[2] / "guide"
ORIGIN = "http://127.0.0.1:8014"  # the service's URL in the examples
# In the order in which a newcomer reads them. A test holds that no page is left out.
ORDER = (
    "states",
    "guarantees",
    "api",
    "smtp-submission",
    "client",
    "django",
    "testing",
    "settings",
    "relays",
    "providers",
    "oauth",
    "return-paths",
    "reports",
    "report-sources",
    "suppressions",
    "callbacks",
    "access",
    "forgetting",
    "text-messages",
    "templates",
    "operating",
    "replicas",
    "metrics",
    "fault-matrix",
    "figures",
    "where-time-goes",
    "working-on-it",
    "changelog",
)


class Section(Struct, frozen=True):
    """A heading of a page, and where its link leads."""

    anchor: str
    title: str


class GuidePage:
    """One Markdown file. It is parsed once, on first use. HTML in it is shown as text."""

    def __init__(self, path: Path, base: str) -> None:
        self.name = path.stem
        self._path = path
        self._base = base

    @property
    def title(self) -> str:
        return self._headings("h1")[0].title

    @property
    def sections(self) -> list[Section]:
        return self._headings("h2")

    def under(self, origin: str) -> Markup:
        """The page's HTML. Its examples use the reader's URL of the service."""
        return Markup(self._html.replace(ORIGIN, escape(origin + self._base)))  # noqa: S704 - the parser has escaped it

    def _headings(self, tag: str) -> list[Section]:
        return [
            Section(_anchor(text.content), text.content)
            for heading, text in zip(self._tokens, self._tokens[1:], strict=False)
            if heading.type == "heading_open" and heading.tag == tag
        ]

    @cached_property
    def _html(self) -> str:
        parser = _parser()
        rendered: str = parser.renderer.render(self._tokens, parser.options, {})
        return rendered

    @cached_property
    def _tokens(self) -> "list[Token]":
        tokens = _parser().parse(self._path.read_text(encoding="utf-8"))
        for token, text in zip(tokens, [*tokens[1:], None], strict=True):
            if token.type == "heading_open" and text is not None:
                token.attrSet("id", _anchor(text.content))
            if token.type in {"fence", "code_block", "table_open"}:
                token.attrSet("tabindex", "0")  # it can be scrolled, also by keyboard
            for child in token.children or ():
                if child.type == "link_open":
                    child.attrSet("href", self._target(str(child.attrGet("href"))))
        return tokens

    def _target(self, link: str) -> str:
        """The target of a link: a link to another page's file leads to the page."""
        if link.startswith("/"):
            return self._base + link
        if found := re.fullmatch(r"([a-z-]+)\.md(#.*)?", link):
            return f"{self._base}/guide/{found[1]}{found[2] or ''}"
        return link


class Guide:
    """Serves `/guide`, its table of contents, and each page under its file's name."""

    def __init__(self, layout: Layout, *, public_path: str) -> None:
        self._layout = layout
        self._pages = {name: GuidePage(FOLDER / f"{name}.md", public_path) for name in ORDER}

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/guide", self.contents, OPEN),
            get("/guide/{page:str}", self.page, OPEN),
        ]

    async def contents(self, request: AnyRequest) -> Response[bytes]:
        """The table of contents."""
        return await self._layout.page(request, "guide.html", pages=self._pages.values(), page=None)

    async def page(self, request: AnyRequest) -> Response[bytes]:
        """One page. Raises NotFoundException, which names the pages that exist."""
        name = request.scope["path_params"]["page"]
        page = self._pages.get(name)
        if page is None:
            known = ", ".join(self._pages)
            raise NotFoundException(f"the guide has no page {name[:100]!r}; its pages: {known}")
        origin = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
        return await self._layout.page(
            request,
            "guide.html",
            pages=self._pages.values(),
            page=page,
            text=page.under(origin),
        )


def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
