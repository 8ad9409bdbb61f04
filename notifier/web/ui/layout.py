"""The frame that every page of ours stands in: its protection, its header, and who looks at it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from notifier import __version__
from notifier.service import Notifier
from notifier.web.auth import Door
from notifier.web.bodies import AnyRequest
from notifier.web.responses import Answer

HTML = b"text/html; charset=utf-8"
PAGES = Path(__file__).parent / "pages"

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_NOBODY_ELSE = b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
CHECKED = (b"cache-control", b"no-cache")
SECURE: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-dns-prefetch-control", b"off"),
)
PAGE: Headers = (
    *SECURE,
    CHECKED,
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; frame-src 'self'; " + _NOBODY_ELSE,
    ),
)
# Swagger writes style attributes, so the page that is its alone lets it; scripts stay barred.
DOCS: Headers = (
    *SECURE,
    CHECKED,
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; connect-src 'self'; " + _NOBODY_ELSE,
    ),
)
# A stranger's HTML: no scripts, no forms, nothing from the network, an origin of its own; and
# only our own page may frame it.
STRANGER: Headers = (
    *SECURE,
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
)


class Shell:
    """Renders the pages in `pages/`. What they show of messages they ask the API for."""

    def __init__(self, service: Notifier, door: Door) -> None:
        self._service = service
        self._door = door
        self._base = service.settings.public_path
        self._environment = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def page(
        self, request: AnyRequest, name: str, *, headers: Sequence[Any] = PAGE, **values: Any
    ) -> Answer:
        visitor = await self._door.visitor(request)
        text = self._environment.get_template(name).render(
            base=self._base,
            version=__version__,
            visitor=visitor,
            has_inbox=self._service.mailbox is not None,
            anybody=not visitor.needs_key and self._service.settings.anonymous == "anywhere",
            **values,
        )
        return Answer(text.encode("utf-8", "replace"), content_type=HTML, headers=headers)

    async def private(self, request: AnyRequest, name: str, **values: Any) -> Answer:
        """A page for those who may look at messages; the others are led to the sign-in."""
        if await self._door.trusts(request):
            return await self.page(request, name, **values)
        asked = request.scope["path"]
        if query := request.scope["query_string"].decode("latin-1"):
            asked = f"{asked}?{query}"
        location = f"{self._base}/sign-in?next={quote(self._base + asked, safe='')}"
        return Answer(b"", status=303, headers=[*SECURE, (b"location", location.encode())])
