"""Static files that pages need. Nothing comes from another host."""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.responses import Answer
from notifier.web.ui.layout import CHECKED, SECURE

STATIC = Path(__file__).parent / "static"
SWAGGER = "swagger-ui-5.35.0"
UPLOT = "uplot-1.6.32"
IMMUTABLE = (b"cache-control", b"public, max-age=31536000, immutable")
# What the machine's own table may say otherwise, or not at all.
KINDS = {".js": "text/javascript", ".webp": "image/webp", "": "text/plain", ".svg": "image/svg+xml"}


class Files:
    """Those in `static/`, looked up by name: no path is ever walked."""

    def __init__(self) -> None:
        self._files = {path.relative_to(STATIC).as_posix(): path for path in _shown(STATIC)}

    def routes(self) -> list[HTTPRouteHandler]:
        return [route("/static/{file:path}", http_method=GET)(self.static)]

    async def static(self, request: AnyRequest) -> Answer:
        """Files whose folder has a version in its name never change; the others are asked for."""
        name = request.scope["path"].removeprefix("/static/")
        path = self._files.get(name)
        if path is None:
            raise NotFoundException("there is no such file")
        kind = _kind(path).encode()
        content, digest = _read(path)
        if name.startswith("vendor/"):
            return Answer(content, content_type=kind, headers=[*SECURE, IMMUTABLE])
        etag = b'"%s"' % digest
        headers = [*SECURE, CHECKED, (b"etag", etag)]
        if request.headers.get("if-none-match", "").encode("latin-1") == etag:
            return Answer(b"", status=304, content_type=kind, headers=headers)
        return Answer(content, content_type=kind, headers=headers)


@cache
def _read(path: Path) -> tuple[bytes, bytes]:
    """Once: however many ask for a file and do not read it, it is in memory once."""
    content = path.read_bytes()
    return content, sha256(content).hexdigest()[:16].encode()


def _kind(path: Path) -> str:
    return KINDS.get(path.suffix) or guess_type(path.name)[0] or "application/octet-stream"


def _shown(folder: Path) -> Iterable[Path]:
    """All but what is for tools: the list of vendored files, and the scripts' package.json."""
    tools = {".toml", ".json"}
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix not in tools)
