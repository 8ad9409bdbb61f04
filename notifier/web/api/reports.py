"""POST /v1/reports: take a mail that reports what became of messages."""

from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.reports import Result
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.message_json import LaterResource, later_resource
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest, kind_of, read_octets
from notifier.web.routes import REPORT, DocumentedAnswer, Operation, post

TAG = "reports"
ROAD = "http"


class FindingResource(Struct, frozen=True):
    """What the service did with one report: whom it is about, or why it was not taken."""

    result: Result
    why: str
    message: str | None
    recipient: str | None
    later: LaterResource | None


class TakenResource(Struct, frozen=True):
    """What the service did with the mail: the best of its reports, and each of them."""

    result: Result
    reports: tuple[FindingResource, ...]


class ReportsByMail:
    """/v1/reports."""

    def __init__(self, service: Notifier) -> None:
        self._reports = service.reports
        self._audit = service.audit
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/v1/reports", self.take, REPORT, TAKE, own_record=True)]

    async def take(self, request: AnyRequest) -> TakenResource:
        """
        A delivery status notification (RFC 3464), a complaint (RFC 5965), or a bounce in prose that
        came to a return path with a token. When the answer arrives, the report is on disk. A mail
        that is not a report, or names no message that was sent, changes nothing, and the answer
        says so.
        """
        headers = dict(request.scope["headers"])
        if kind_of(headers.get(b"content-type", b"")) != "message/rfc822":
            raise HTTPException(status_code=415, detail="the Content-Type must be message/rfc822")
        mail = await read_octets(request, headers, limit=self._limit)
        taken = await self._reports.take(mail, ROAD)
        if number := sum(each.result is Result.TAKEN for each in taken.findings):
            self._audit.count(by_of(request), "take-report", number)
        found = tuple(
            FindingResource(
                each.result,
                each.why,
                each.message or None,
                each.recipient or None,
                None if each.later is None else later_resource(each.later),
            )
            for each in taken.findings
        )
        return TakenResource(taken.result, found)


TAKE = Operation(
    id="takeReport",
    summary="Receive a mail that reports about a message",
    tag=TAG,
    body=str,
    body_type="message/rfc822",
    examples=examples.REPORTS,
    answers={
        200: DocumentedAnswer(
            "What the service did with the report.", TakenResource, examples.REPORT_TAKEN
        ),
    },
    problems=(400, 403, 413, 415, 503),
)
