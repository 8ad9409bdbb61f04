"""/v1/recipients/export: all that is held of a person."""

from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from msgspec import Struct

from notifier.erasure.captured_mails import CapturedMails
from notifier.erasure.export import WHAT, Export
from notifier.erasure.log_files import LogFiles
from notifier.service import Notifier
from notifier.web.api.erasures import PERSONS, TAG, Written
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest, BodyDecoder, read_json
from notifier.web.parameters import read_query
from notifier.web.problems import BadParameter
from notifier.web.routes import MANAGE, DocumentedAnswer, Operation, get, options, post

JSON_LINES = "application/jsonl"
PATH = "/v1/recipients/export"


class RecipientQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to tell about."""

    address: Written | None = None


class RecipientBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to tell about."""

    address: Written


_body = BodyDecoder(RecipientBody)


class RecipientExports:
    """The same export by GET and by POST, whose address stands in no log of a proxy."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body
        here = (
            CapturedMails(lambda: service.mailbox),
            LogFiles(service.settings.log_dir),
        )
        region = service.settings.sms_region
        self._export = Export(service.journal, service.threads, here, region=region)

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            options(PATH, "GET, HEAD, OPTIONS, POST", MANAGE),
            get(PATH, self.by_query, MANAGE, BY_QUERY),
            post(PATH, self.by_body, MANAGE, BY_BODY, told=True),
        ]

    async def by_query(self, request: AnyRequest) -> Stream:
        """
        As the POST, which should be preferred: proxies log the query of a URL, and the address with
        it.
        """
        address = read_query(request, RecipientQuery).address
        if address is None:
            raise BadParameter("address", "is missing")
        if address.startswith(" ") and address.strip().isdigit():  # `+` means a blank in a query
            address = f"+{address.strip()}"
        return await self._exported(request, address)

    async def by_body(self, request: AnyRequest) -> Stream:
        """
        All that notifier holds of a person, one JSON object a line: messages with contents, states
        and conversations, suppressions, bounces, records of the audit, captured mails and lines of
        the log. Contents are in base64. The first line, of kind `export`, tells of whom; the last
        one, of kind `end`, has the counts, and what else may be kept that notifier cannot reach.
        For somebody who was erased it is what is still known under the pseudonym.
        """
        headers = dict(request.scope["headers"])
        body = _body.decode(await read_json(request, headers, limit=self._limit))
        return await self._exported(request, body.address)

    async def _exported(self, request: AnyRequest, address: str) -> Stream:
        person = await self._export.person(address)
        # The audit must not hold the address longer than all else does.
        await self._service.audit.note(by_of(request), WHAT, on=person.erased)
        headers = {"content-disposition": 'attachment; filename="recipient.jsonl"'}
        return Stream(self._export.pieces(person), media_type=JSON_LINES, headers=headers)


EXAMPLE = """\
{"kind":"export","address":"ann@example.org","pseudonym":"erased:0f880c3fc01e3626572ea7e8d4d8f5c2",\
"at":"2027-01-31T12:00:00Z","version":"1.0.0"}
{"kind":"suppressions","address":"ann@example.org","key":"","reason":"manual",\
"since":"2027-01-31T12:00:00Z","until":null,"source":"key:shop"}
{"kind":"end","counts":{"messages":0,"suppressions":1},"not_covered":["backups of the journal"]}
"""
ANSWERS: dict[int, DocumentedAnswer] = {
    200: DocumentedAnswer("JSON lines.", str, EXAMPLE, media_type=JSON_LINES)
}
BY_QUERY = Operation(
    id="exportRecipientByQuery",
    summary="Export what is held of a person",
    tag=TAG,
    query=RecipientQuery,
    answers=ANSWERS,
    problems=(422, 503),
)
BY_BODY = Operation(
    id="exportRecipient",
    summary="Export what is held of a person",
    tag=TAG,
    body=_body.schema,
    examples=PERSONS,
    answers=ANSWERS,
    problems=(400, 413, 415, 422, 503),
)
