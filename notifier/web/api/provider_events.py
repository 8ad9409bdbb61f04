"""POST /v1/reports/{provider}: events of providers, which authenticate by a signature."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.reports import Report, Result
from notifier.reports.providers.event import Received
from notifier.service import Notifier
from notifier.threads import Turn
from notifier.web.bodies import AnyRequest, read_octets
from notifier.web.routes import SIGNED, DocumentedAnswer, Operation, post

TAG = "reports"
LARGEST = 2_000_000  # octets; SendGrid's limit for a whole request is lower
AT_ONCE = 50  # events of a request that are taken at the same time


class EventsTaken(Struct, frozen=True):
    """What the service did with the events of a request, by count."""

    taken: int
    repeated: int
    unknown: int  # about a message that was never sent, or is no longer kept


class ProviderEvents:
    """/v1/reports/{name}."""

    def __init__(self, service: Notifier) -> None:
        self._reports = service.reports
        self._audit = service.audit
        self._providers = service.report_sources.providers
        self._limit = min(LARGEST, service.settings.max_body)

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/v1/reports/{name:str}", self.take, SIGNED, TAKE, own_record=True)]

    async def take(self, request: AnyRequest) -> EventsTaken:
        """
        For `ses`, `postmark`, `mailgun`, `sendgrid` and `twilio`, in the form of each. No API key
        is needed: the signature or the secret proves who calls. A provider that
        `NOTIFIER_REPORT_SECRETS` does not name gets a 404. An event that comes again counts once.
        """
        name: str = request.scope["path_params"]["name"]
        provider = self._providers.get(name)
        if provider is None:
            raise NotFoundException(
                detail=f"{name[:50]!r} has no secret in the file NOTIFIER_REPORT_SECRETS"
            )
        headers = request.scope["headers"]
        received = Received(
            {key.decode("latin-1"): value.decode("latin-1") for key, value in headers},
            request.scope["query_string"].decode("latin-1"),
            await read_octets(request, dict(headers), limit=self._limit),
        )
        taken = await self._taken(await provider.read(received))
        if taken.taken:
            self._audit.count(f"report:{name}", "take-report", taken.taken)
        return taken

    async def _taken(self, reports: Sequence[Report]) -> EventsTaken:
        turn = Turn()
        results: Counter[Result] = Counter()
        for begin in range(0, len(reports), AT_ONCE):
            each = reports[begin : begin + AT_ONCE]
            taken = await asyncio.gather(*map(self._reports.take_event, each))
            results.update(one.result for one in taken)
            if turn.over:
                await turn.next()
        return EventsTaken(results[Result.TAKEN], results[Result.REPEATED], results[Result.UNKNOWN])


TAKE = Operation(
    id="takeEvents",
    summary="Receive events of a provider",
    tag=TAG,
    answers={
        200: DocumentedAnswer(
            "What the service did with each event.",
            EventsTaken,
            {"taken": 1, "repeated": 0, "unknown": 0},
        ),
    },
    problems=(400, 403, 404, 413, 422, 503),
    path={
        "name": {
            "description": "The provider, as in `NOTIFIER_REPORT_SECRETS`.",
            "schema": {
                "type": "string",
                "enum": ["ses", "postmark", "mailgun", "sendgrid", "twilio"],
            },
            "example": "postmark",
        }
    },
)
