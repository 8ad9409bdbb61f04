"""Pages for people: the index, the API's documentation, the monitor."""

from collections.abc import Sequence
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes.base import BaseRoute

from notifier.service import Notifier
from notifier.web.bodies import AnyRequest, encode
from notifier.web.parameters import read_id
from notifier.web.routes import JSON, OPEN, get
from notifier.web.ui.files import SWAGGER, UPLOT
from notifier.web.ui.layout import DOCS, REVALIDATED, SECURE, Layout


class Pages:
    """The pages are frames. Their scripts get the messages from the API."""

    def __init__(self, service: Notifier, layout: Layout) -> None:
        self._service = service
        self._layout = layout
        self._document = b""
        self._routes: Sequence[BaseRoute] = ()

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/", self.index, OPEN),
            get("/docs", self.docs, OPEN),
            get("/openapi.json", self.openapi, OPEN),
            get("/monitor", self.monitor, OPEN),
            get("/monitor/messages/{id:str}", self.message, OPEN),
            get("/suppressions", self.suppressions, OPEN),
            get("/audit", self.audit, OPEN),
        ]

    def describe(self, routes: Sequence[BaseRoute]) -> None:
        """Make the OpenAPI document of these routes, once it is asked for."""
        self._routes = routes

    async def index(self, request: AnyRequest) -> Response[bytes]:
        origin = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
        return await self._layout.page(request, "index.html", origin=origin)

    async def docs(self, request: AnyRequest) -> Response[bytes]:
        return await self._layout.page(request, "docs.html", headers=DOCS, swagger=SWAGGER)

    async def openapi(self) -> Response[bytes]:
        headers = {**SECURE, **REVALIDATED}
        if not self._document:
            from notifier.web.openapi import document

            base = self._service.settings.public_path
            self._document = encode(document(self._routes, public_path=base))
        return Response(self._document, media_type=JSON, headers=headers)

    async def monitor(self, request: AnyRequest) -> Response[Any]:
        return await self._layout.private(request, "monitor.html", uplot=UPLOT)

    async def suppressions(self, request: AnyRequest) -> Response[Any]:
        return await self._layout.private(request, "suppressions.html")

    async def audit(self, request: AnyRequest) -> Response[Any]:
        return await self._layout.private(request, "audit.html")

    async def message(self, request: AnyRequest) -> Response[Any]:
        return await self._layout.private(request, "message.html", id=read_id(request))
