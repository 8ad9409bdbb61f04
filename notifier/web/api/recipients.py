"""/v1/recipients: export all data of a person, and erase a person."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from msgspec import Meta, Struct
from msgspec.structs import replace

from notifier.erasure.erasing import State
from notifier.erasure.export import WHAT, Export
from notifier.erasure.local_places import CapturedMails, LogFiles
from notifier.messages import NO_CONTROLS
from notifier.service import Notifier
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest, BodyDecoder
from notifier.web.parameters import read_query
from notifier.web.problems import BadParameter
from notifier.web.routes import MANAGE, DocumentedAnswer, Operation, get, options, post

TAG = "recipients"
ERASURES = "/v1/recipients/erase"
EXPORTS = "/v1/recipients/export"
JSON_LINES = "application/jsonl"
WAIT_SECONDS = 10.0  # most erasures finish within this

Written = Annotated[
    str,
    Meta(
        pattern=NO_CONTROLS,
        min_length=3,
        max_length=998,
        description="An address, in any spelling, or a phone number: `+12025550123`.",
    ),
]


class RecipientQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The person whose data is exported."""

    address: Written | None = None


class RecipientBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The person whose data is exported."""

    address: Written


class ErasureBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The person to erase."""

    address: Written


class ErasureResource(Struct, frozen=True, kw_only=True):
    """An erasure and its state."""

    id: str
    state: Annotated[
        Literal["running", "waiting", "done"],
        Meta(
            description="`running`: the search is under way. `waiting`: the search is over, but "
            "some messages are still being sent, or still go to other recipients. `done`: nothing "
            "is left."
        ),
    ]
    erased: Annotated[str, Meta(description="The pseudonym that replaces the address.")]
    by: str
    at: datetime
    ended_at: datetime | None
    counts: Annotated[
        dict[str, int],
        Meta(
            description="What was wiped. `messages`: messages that had ended; `cancelled`: waiting "
            "messages, now cancelled; `taken_off`: messages that go on to their other recipients; "
            "`for_others`: messages to others that name the person; `in_flight`: messages that "
            "were being sent; `suppressions`: entries that hold on under the pseudonym; `strikes`, "
            "`callbacks`, `idempotency_keys`, `audit`, `values`, `captured_mails`, `log_files`."
        ),
    ]
    waiting_for: Annotated[
        int,
        Meta(description="Messages whose content is wiped as soon as they are sent or have ended."),
    ]
    not_reached: Annotated[
        tuple[str, ...],
        Meta(description="Places that the service cannot reach, where the address may still be."),
    ]


_whom_to_tell_about = BodyDecoder(RecipientBody)
_whom_to_forget = BodyDecoder(ErasureBody)


class Recipients:
    """
    Export and erase the data of a person. Prefer the export by POST: its address is in no log of a
    proxy.
    """

    def __init__(self, service: Notifier) -> None:
        self._erasure = service.erasure
        self._audit = service.audit
        self._limit = service.settings.max_body
        here = (
            CapturedMails(lambda: service.mailbox),
            LogFiles(service.settings.log_dir),
        )
        region = service.settings.sms_region
        self._export = Export(service.journal, service.threads, here, region=region)

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            options(EXPORTS, "GET, HEAD, OPTIONS, POST", MANAGE),
            get(EXPORTS, self.export_by_query, MANAGE, EXPORT_BY_QUERY),
            post(EXPORTS, self.export, MANAGE, EXPORT, own_record=True),
            options(ERASURES, "OPTIONS, POST", MANAGE),
            post(ERASURES, self.erase, MANAGE, ERASE, own_record=True),
            get(f"{ERASURES}/{{id:str}}", self.state, MANAGE, STATE),
        ]

    async def export_by_query(self, request: AnyRequest) -> Stream:
        """
        The same as the POST. Prefer the POST: proxies log the query of a URL, and the address with
        it.
        """
        address = read_query(request, RecipientQuery).address
        if address is None:
            raise BadParameter("address", "is missing")
        if address.startswith(" ") and address.strip().isdigit():  # `+` means a space in a query
            address = f"+{address.strip()}"
        return await self._exported(request, address)

    async def export(self, request: AnyRequest) -> Stream:
        """
        All data that notifier keeps of a person, one JSON object a line: messages with contents,
        states and conversations, suppressions, bounces, records of the audit, captured mails and
        lines of the log. Contents are in base64. The first line, of kind `export`, names the
        person; the last one, of kind `end`, has the counts, and lists places that notifier cannot
        reach. For a person who was erased the export has what is still known under the pseudonym.
        """
        body = await _whom_to_tell_about.read(request, limit=self._limit)
        return await self._exported(request, body.address)

    async def _exported(self, request: AnyRequest, address: str) -> Stream:
        person = await self._export.person(address)
        # The audit must not keep the address longer than everything else does.
        await self._audit.note(by_of(request), WHAT, on=person.erased)
        headers = {"content-disposition": 'attachment; filename="recipient.jsonl"'}
        return Stream(self._export.pieces(person), media_type=JSON_LINES, headers=headers)

    async def erase(self, request: AnyRequest) -> Response[ErasureResource]:
        """
        Erase a person: contents of messages are deleted, a pseudonym replaces the address, and
        waiting messages are cancelled. A message to several recipients is not sent to this one any
        more; it goes on to the others as it was composed, and its content is deleted when it has
        ended. Suppressions stay in force. The answer comes after ten seconds at the latest, with
        202 if there is more to do: then ask for its `id` until `state` is `done`. The work goes on
        after a restart. To ask twice does no harm.
        """
        body = await _whom_to_forget.read(request, limit=self._limit)
        id = await self._erasure.erase(body.address, by=by_of(request))
        return await self._answer(id, wait=WAIT_SECONDS)

    async def state(self, request: AnyRequest) -> Response[ErasureResource]:
        """The state of the erasure, and what it has wiped so far."""
        return await self._answer(request.path_params["id"], wait=0)

    async def _answer(self, id: str, *, wait: float) -> Response[ErasureResource]:
        state = await self._erasure.state(id, wait=wait)
        if state is None:
            raise NotFoundException("there is no erasure with this id")
        done = not wait or state.request.ended_at is not None
        return Response(resource(state), status_code=200 if done else 202)


def resource(state: State) -> ErasureResource:
    request: Any = state.request
    return ErasureResource(
        id=request.id,
        state=request.state,
        erased=request.erased,
        by=request.by,
        at=request.at,
        ended_at=request.ended_at,
        counts=state.counts,
        waiting_for=state.waiting_for,
        not_reached=tuple(state.not_reached),
    )


EXAMPLE = ErasureResource(
    id="5d1f0b8c9a3e4f6071829304",
    state="done",
    erased="erased:0f880c3fc01e3626572ea7e8d4d8f5c2",
    by="key:shop",
    at=datetime(2027, 1, 31, 12, tzinfo=UTC),
    ended_at=datetime(2027, 1, 31, 12, 0, 1, tzinfo=UTC),
    counts={"messages": 12, "cancelled": 1, "suppressions": 1, "audit": 2},
    waiting_for=0,
    not_reached=("backups of the journal, such as those of `notifier backup`",),
)
UNDER_WAY = replace(EXAMPLE, state="waiting", ended_at=None, counts={"taken_off": 1}, waiting_for=1)
PERSONS: dict[str, Any] = {
    "address": {"address": "ann@example.org"},
    "number": {"address": "+12025550123"},
}
ERASE = Operation(
    id="eraseRecipient",
    summary="Erase a person",
    tag=TAG,
    body=_whom_to_forget.schema,
    examples=PERSONS,
    answers={
        200: DocumentedAnswer("The erasure is done.", ErasureResource, EXAMPLE),
        202: DocumentedAnswer(
            "The erasure is under way; ask for it by its id.", ErasureResource, UNDER_WAY
        ),
    },
    problems=(400, 413, 415, 422, 503),
)
STATE = Operation(
    id="getErasure",
    summary="Show an erasure",
    tag=TAG,
    answers={200: DocumentedAnswer("The erasure in its present state.", ErasureResource, EXAMPLE)},
    problems=(404, 503),
)
EXPORTED = """\
{"kind":"export","address":"ann@example.org","pseudonym":"erased:0f880c3fc01e3626572ea7e8d4d8f5c2",\
"at":"2027-01-31T12:00:00Z","version":"1.0.0"}
{"kind":"suppressions","address":"ann@example.org","key":"","reason":"manual",\
"since":"2027-01-31T12:00:00Z","until":null,"source":"key:shop"}
{"kind":"end","counts":{"messages":0,"suppressions":1},"not_covered":["backups of the journal"]}
"""
EXPORT_ANSWERS: dict[int, DocumentedAnswer] = {
    200: DocumentedAnswer("JSON lines.", str, EXPORTED, media_type=JSON_LINES)
}
EXPORT_BY_QUERY = Operation(
    id="exportRecipientByQuery",
    summary="Export the data of a person",
    tag=TAG,
    query=RecipientQuery,
    answers=EXPORT_ANSWERS,
    problems=(422, 503),
)
EXPORT = Operation(
    id="exportRecipient",
    summary="Export the data of a person",
    tag=TAG,
    body=_whom_to_tell_about.schema,
    examples=PERSONS,
    answers=EXPORT_ANSWERS,
    problems=(400, 413, 415, 422, 503),
)
