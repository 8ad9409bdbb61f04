"""Pages for people: the index, the API's documentation, the monitor."""

from collections.abc import Iterable

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.routes.base import BaseRoute

from notifier.service import Notifier
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, document
from notifier.web.parameters import read_id
from notifier.web.responses import Answer, encode
from notifier.web.ui.files import SWAGGER, UPLOT
from notifier.web.ui.layout import CHECKED, DOCS, SECURE, Shell


class Pages:
    """Each is a frame; what it shows of messages its scripts ask the API for."""

    def __init__(self, service: Notifier, shell: Shell) -> None:
        self._service = service
        self._shell = shell
        self._document = b""

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/", http_method=GET)(self.index),
            route("/docs", http_method=GET)(self.docs),
            route("/openapi.json", http_method=GET)(self.openapi),
            route("/monitor", http_method=GET)(self.monitor),
            route("/monitor/messages/{id:str}", http_method=GET)(self.message),
        ]

    def describe(self, routes: Iterable[BaseRoute]) -> None:
        """Write the OpenAPI document of these routes, once."""
        self._document = encode(document(routes, public_path=self._service.settings.public_path))

    async def index(self, request: AnyRequest) -> Answer:
        origin = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
        return await self._shell.page(request, "index.html", origin=origin)

    async def docs(self, request: AnyRequest) -> Answer:
        return await self._shell.page(request, "docs.html", headers=DOCS, swagger=SWAGGER)

    async def openapi(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        return Answer(self._document, headers=[*SECURE, CHECKED])

    async def monitor(self, request: AnyRequest) -> Answer:
        return await self._shell.private(request, "monitor.html", uplot=UPLOT)

    async def message(self, request: AnyRequest) -> Answer:
        return await self._shell.private(request, "message.html", id=read_id(request))
