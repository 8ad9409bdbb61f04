"""Pages for people, and the files that they need. Nothing comes from another host."""

from collections.abc import Iterable
from hashlib import sha256
from html import escape
from mimetypes import guess_type
from pathlib import Path
from string import Template

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.routes.base import BaseRoute

from notifier import __version__
from notifier.service import Notifier
from notifier.web.answers import Answer, encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, document

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
SWAGGER = "swagger-ui-5.35.0"
HTML = b"text/html; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]

_NOBODY_ELSE = b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
SECURE: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
PAGE: Headers = (
    *SECURE,
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; frame-src 'self'; " + _NOBODY_ELSE,
    ),
)
# Swagger writes style attributes, so the page that is its alone lets it; scripts stay barred.
DOCS: Headers = (
    *SECURE,
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; connect-src 'self'; " + _NOBODY_ELSE,
    ),
)
IMMUTABLE = (b"cache-control", b"public, max-age=31536000, immutable")
CHECKED = (b"cache-control", b"no-cache")


def page(name: str) -> Template:
    """A page from `pages/`, with places like $base to be filled in."""
    return Template((_HERE / "pages" / name).read_text(encoding="utf-8"))


class Pages:
    """The index, the API's documentation, and static files."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._base = escape(service.settings.public_path)
        self._index = page("index.html")
        self._docs = page("docs.html").substitute(base=self._base, swagger=SWAGGER).encode()
        self._document = b""
        self._files = {path.relative_to(STATIC).as_posix(): path for path in _shown(STATIC)}

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/", http_method=GET)(self.index),
            route("/docs", http_method=GET)(self.docs),
            route("/openapi.json", http_method=GET)(self.openapi),
            route("/static/{file:path}", http_method=GET)(self.static),
        ]

    def describe(self, routes: Iterable[BaseRoute]) -> None:
        """Write the OpenAPI document of these routes, once."""
        self._document = encode(document(routes, public_path=self._service.settings.public_path))

    async def index(self, request: AnyRequest) -> Answer:
        inbox = f'<li><a href="{self._base}/inbox">What the built-in mailbox caught</a></li>'
        text = self._index.substitute(
            base=self._base,
            origin=escape(f"{request.scope['scheme']}://{request.headers.get('host', '')}"),
            version=__version__,
            inbox=inbox if self._service.mailbox else "",
        )
        return Answer(text.encode(), content_type=HTML, headers=PAGE)

    async def docs(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        return Answer(self._docs, content_type=HTML, headers=DOCS)

    async def openapi(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        return Answer(self._document, headers=[*SECURE, CHECKED])

    async def static(self, request: AnyRequest) -> Answer:
        """Files whose folder has a version in its name never change; the others are asked for."""
        name = request.scope["path"].removeprefix("/static/")
        path = self._files.get(name)
        if path is None:
            raise NotFoundException("there is no such file")
        kind = (guess_type(name)[0] or "application/octet-stream").encode()
        if name.startswith("vendor/"):
            return Answer(path.read_bytes(), content_type=kind, headers=[*SECURE, IMMUTABLE])
        content = path.read_bytes()
        etag = b'"%s"' % sha256(content).hexdigest()[:16].encode()
        headers = [*SECURE, CHECKED, (b"etag", etag)]
        if request.headers.get("if-none-match", "").encode("latin-1") == etag:
            return Answer(b"", status=304, content_type=kind, headers=headers)
        return Answer(content, content_type=kind, headers=headers)


def _shown(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml")
