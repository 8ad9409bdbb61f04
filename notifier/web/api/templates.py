"""The operator's templates: list them, and try one."""

from functools import partial
from typing import Annotated, Any

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.service import Notifier
from notifier.templates import Listed, Preview
from notifier.web.api import examples
from notifier.web.api.message_json import DATA, DATA_VALUES
from notifier.web.auth import caller_of, key_of
from notifier.web.bodies import AnyRequest, BodyDecoder, check_free
from notifier.web.parameters import Nothing, read_query
from notifier.web.routes import (
    READ_OWN,
    SEND,
    DocumentedAnswer,
    Operation,
    get,
    path_parameter,
    post,
)

TAG = "templates"


class TemplateList(Struct, frozen=True):
    """The templates that a message may name. `faults`: why the latest changes are not in use."""

    items: tuple[Listed, ...]
    faults: tuple[str, ...]


class Trial(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to fill a template with."""

    data: Annotated[dict[str, Any], Meta(max_length=200)] = {}


_trial = BodyDecoder(Trial, sizes={"data": DATA})


class TemplateViews:
    """/v1/templates."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/v1/templates", self.list, READ_OWN, LIST),
            post("/v1/templates/{name:str}/preview", self.preview, SEND, PREVIEW, own_record=True),
        ]

    async def list(self, request: AnyRequest) -> TemplateList:
        """Each template with its parts, and the variables that it may use."""
        read_query(request, Nothing)
        templates = self._service.templates
        # The folder is read and compiled where it has changed.
        found = await self._service.threads.run(caller_of(request), templates.all)
        return TemplateList(found, templates.faults)

    async def preview(self, request: AnyRequest) -> Preview:
        """Nothing is sent. `faults` says what is missing or wrong, beside what could be filled."""
        data = (await _trial.read(request, limit=self._limit)).data
        check_free("/data", data, most=DATA_VALUES)
        name: str = request.scope["path_params"]["name"]
        self._service.charge(key_of(request))
        # A template may calculate for a while. Other requests should not wait for it.
        return await self._service.threads.run(
            caller_of(request), partial(self._filled, name, data)
        )

    def _filled(self, name: str, data: dict[str, Any]) -> Preview:
        templates = self._service.templates
        known = [each.name for each in templates.all()]
        if name not in known:
            listed = ", ".join(known) or "none"
            raise NotFoundException(f"there is no template {name[:100]!r}; known: {listed}")
        return templates.preview(name, data)


NAME = path_parameter("name", "The template's name.", example="shipped")
LIST = Operation(
    id="listTemplates",
    summary="List the templates",
    tag=TAG,
    answers={200: DocumentedAnswer("All templates.", TemplateList, examples.TEMPLATES)},
    problems=(422,),
)
PREVIEW = Operation(
    id="previewTemplate",
    summary="Preview a template",
    tag=TAG,
    body=_trial.schema,
    examples=examples.TRIALS,
    path=NAME,
    answers={
        200: DocumentedAnswer(
            "The parts of the template that could be filled in, and the faults of the others.",
            Preview,
            examples.PREVIEW,
        )
    },
    problems=(400, 404, 413, 415, 422),
)
