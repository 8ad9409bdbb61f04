"""Many messages in one request, one transaction, one fsync: /v1/messages/batch."""

from collections.abc import Sequence

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import Refusal
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.message_json import Batch, MessageResource, read_batch, resource
from notifier.web.api.messages import TAG
from notifier.web.bodies import AnyRequest, BytesResponse, encode
from notifier.web.parameters import Nothing, read_query
from notifier.web.problems import BadHeader, Problem, problem_of
from notifier.web.routes import SEND, DocumentedAnswer, Operation, post
from notifier.web.submissions import IDEMPOTENCY, REPLAY, Submissions, answer_of

STRICT, PERMISSIVE = b"strict", b"permissive"
VALIDATION = {
    "X-Batch-Validation": {
        "description": "`strict`: if one message cannot be sent, all are refused. "
        "`permissive`: the others are accepted.",
        "schema": {"type": "string", "enum": ["strict", "permissive"], "default": "strict"},
    }
}


class Accepted(Struct, frozen=True):
    """Every message, in order."""

    items: tuple[MessageResource, ...]


class One(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result for one message: the accepted message, or what is wrong with it."""

    status: int
    message: MessageResource | None = None
    problem: Problem | None = None


class Mixed(Struct, frozen=True):
    """The result for each message, in order."""

    items: tuple[One, ...]


class Batches:
    """/v1/messages/batch."""

    def __init__(self, service: Notifier) -> None:
        self._submissions = Submissions(service)

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/v1/messages/batch", self.send, SEND, SEND_BATCH)]

    async def send(self, request: AnyRequest) -> BytesResponse:
        """When the answer arrives, every accepted message is on disk."""
        read_query(request, Nothing)
        if _strict(request):
            submitted = await self._submissions.take(request, read_batch, _all)
            return answer_of(submitted, status=202)
        submitted = await self._submissions.take(
            request, read_batch, _each, strict=False, variant=PERMISSIVE
        )
        return answer_of(submitted, status=207)


def _strict(request: AnyRequest) -> bool:
    given = dict(request.scope["headers"]).get(b"x-batch-validation", STRICT).lower()
    if given not in {STRICT, PERMISSIVE}:
        raise BadHeader("X-Batch-Validation", "must be `strict` or `permissive`")
    return given == STRICT


def _all(results: Sequence[Delivery | Refusal]) -> bytes:
    return encode(Accepted(tuple(resource(each) for each in results if isinstance(each, Delivery))))


def _each(results: Sequence[Delivery | Refusal]) -> bytes:
    return encode(Mixed(tuple(map(_one, results))))


def _one(result: Delivery | Refusal) -> One:
    if isinstance(result, Delivery):
        return One(status=202, message=resource(result))
    problem = problem_of(result)
    return One(status=problem.status, problem=problem)


SEND_BATCH = Operation(
    id="sendBatch",
    summary="Send up to 1,000 messages at once",
    tag=TAG,
    body=Batch,
    examples=examples.BATCHES,
    headers=IDEMPOTENCY | VALIDATION,
    answers={
        202: DocumentedAnswer(
            "Every message is in the journal, on disk.",
            Accepted,
            Accepted((examples.ACCEPTED,)),
            headers=REPLAY,
        ),
        207: DocumentedAnswer(
            "Permissive: the result of each message. Messages with 202 are in the journal, on "
            "disk.",
            Mixed,
            Mixed((One(status=202, message=examples.ACCEPTED),)),
            headers=REPLAY,
        ),
    },
    problems=(400, 413, 415, 422, 429, 503),
)
