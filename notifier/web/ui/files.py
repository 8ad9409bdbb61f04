"""
Static files of the pages. Nothing comes from another host.

Not Litestar's static files: they do not answer `If-None-Match`, and read the file for each request.
"""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from notifier.web.bodies import AnyRequest
from notifier.web.routes import OPEN, get
from notifier.web.ui.layout import REVALIDATED, SECURE

STATIC = Path(__file__).parent / "static"
SWAGGER = "swagger-ui-5.35.0"
UPLOT = "uplot-1.6.32"
IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable"}
# The system's table may lack these types, or have different ones.
KINDS = {".js": "text/javascript", ".webp": "image/webp", "": "text/plain", ".svg": "image/svg+xml"}


class Files:
    """The files in `static/`, looked up by name, so that no request can name another path."""

    def __init__(self) -> None:
        self._files = {path.relative_to(STATIC).as_posix(): path for path in _shown(STATIC)}

    def routes(self) -> list[HTTPRouteHandler]:
        return [get("/static/{file:path}", self.static, OPEN)]

    async def static(self, request: AnyRequest) -> Response[bytes]:
        """A file. A file in a folder with a version in its name never changes."""
        name = request.scope["path"].removeprefix("/static/")
        path = self._files.get(name)
        if path is None:
            raise NotFoundException("there is no such file")
        kind = _kind(path)
        content, digest = _read(path)
        if name.startswith("vendor/"):
            return Response(content, media_type=kind, headers={**SECURE, **IMMUTABLE})
        etag = f'"{digest}"'
        headers = {**SECURE, **REVALIDATED, "etag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(b"", status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)


@cache
def _read(path: Path) -> tuple[bytes, str]:
    """Read a file once, so that it is in memory once for all clients, however slow."""
    content = path.read_bytes()
    return content, sha256(content).hexdigest()[:16]


def _kind(path: Path) -> str:
    return KINDS.get(path.suffix) or guess_type(path.name)[0] or "application/octet-stream"


def _shown(folder: Path) -> Iterable[Path]:
    """All files but those for developers: the list of vendored files, and package.json."""
    tools = {".toml", ".json"}
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix not in tools)
