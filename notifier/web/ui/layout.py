"""The layout of every page: security headers, header bar, and visitor."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from litestar import Response
from litestar.response import Redirect

from notifier import __version__
from notifier.service import Notifier
from notifier.web.auth import Authentication
from notifier.web.bodies import AnyRequest

if TYPE_CHECKING:  # loaded with the first page
    from jinja2 import Environment

HTML = "text/html"
PAGES = Path(__file__).parent / "pages"

Headers: TypeAlias = Mapping[str, str]

_NO_FRAMES = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
REVALIDATED: Headers = {"cache-control": "no-cache"}
SECURE: Headers = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "x-dns-prefetch-control": "off",
}
PAGE: Headers = {
    **SECURE,
    **REVALIDATED,
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; frame-src 'self'; " + _NO_FRAMES,
}
# Swagger UI writes style attributes, so only its page may have them. Inline scripts stay forbidden.
DOCS: Headers = {
    **SECURE,
    **REVALIDATED,
    "content-security-policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " + _NO_FRAMES,
}


class Layout:
    """Renders the pages in `pages/`. Their scripts get the messages from the API."""

    def __init__(self, service: Notifier, authentication: Authentication) -> None:
        self._service = service
        self._authentication = authentication
        self._base = service.settings.public_path
        self._sign_out_url = service.settings.sign_out_url

    @cached_property
    def _environment(self) -> "Environment":
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        return Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def page(
        self, request: AnyRequest, name: str, *, headers: Headers = PAGE, **values: Any
    ) -> Response[bytes]:
        visitor = await self._authentication.visitor(request)
        text = self._environment.get_template(name).render(
            base=self._base,
            version=__version__,
            visitor=visitor,
            sign_out_url=self._sign_out_url,
            anybody=not visitor.needs_key and self._service.settings.anonymous == "anywhere",
            **values,
        )
        return Response(text.encode("utf-8", "replace"), media_type=HTML, headers=dict(headers))

    async def private(
        self, request: AnyRequest, name: str, **values: Any
    ) -> Response[bytes] | Redirect:
        """A page for visitors who may see messages. Others are redirected to the sign-in page."""
        if (await self._authentication.visitor(request)).reads:
            return await self.page(request, name, **values)
        asked = request.scope["path"]
        if query := request.scope["query_string"].decode("latin-1"):
            asked = f"{asked}?{query}"
        location = f"{self._base}/sign-in?next={quote(self._base + asked, safe='')}"
        return Redirect(location, status_code=303, headers=dict(SECURE))
