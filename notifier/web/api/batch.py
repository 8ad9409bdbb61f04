"""Many messages in one request, one transaction, one fsync: /v1/messages/batch."""

from collections.abc import Sequence

from litestar import post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import InvalidMessage, Rejected
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.message_json import Batch, read_batch
from notifier.web.api.messages import TAGS
from notifier.web.api.resources import MessageResource, resource
from notifier.web.bodies import AnyRequest, read_json
from notifier.web.openapi import Operation, Outcome
from notifier.web.parameters import Nothing, read_query
from notifier.web.problems import BadHeader, Problem, problem_of
from notifier.web.responses import Answer, encode
from notifier.web.submission import IDEMPOTENCY, REPLAY, submit

STRICT, PERMISSIVE = b"strict", b"permissive"
VALIDATION = {
    "X-Batch-Validation": {
        "description": "`strict`: one message that cannot be sent turns down all of them. "
        "`permissive`: the others are accepted.",
        "schema": {"type": "string", "enum": ["strict", "permissive"], "default": "strict"},
    }
}


class Accepted(Struct, frozen=True):
    """Every message, in order."""

    items: tuple[MessageResource, ...]


class One(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one message: it is accepted, or what is wrong with it."""

    status: int
    message: MessageResource | None = None
    problem: Problem | None = None


class Mixed(Struct, frozen=True):
    """What became of each, in order."""

    items: tuple[One, ...]


class Batches:
    """/v1/messages/batch."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            post(
                "/v1/messages/batch",
                status_code=202,
                operation_id="sendBatch",
                summary="Send up to 1,000 messages at once",
                tags=TAGS,
                opt={"operation": BATCH},
            )(self.send)
        ]

    async def send(self, request: AnyRequest) -> Answer:
        """Those that are accepted are on disk, all of them, when the answer arrives."""
        headers = dict(request.scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        read_query(request, Nothing)
        strict = _strict(headers)
        messages = read_batch(body)
        try:
            submitted = await submit(
                self._service,
                request,
                headers,
                body,
                messages,
                render=_all if strict else _each,
                variant=b"" if strict else PERMISSIVE,
                strict=strict,
            )
        except InvalidMessage as error:
            # Of one alone the desk does not say which it was.
            raise _first(error) if len(messages) == 1 else error from None
        return Answer(submitted.body, status=202 if strict else 207, headers=submitted.headers)


def _strict(headers: dict[bytes, bytes]) -> bool:
    given = headers.get(b"x-batch-validation", STRICT).lower()
    if given not in {STRICT, PERMISSIVE}:
        raise BadHeader("X-Batch-Validation", "is neither `strict` nor `permissive`")
    return given == STRICT


def _first(error: InvalidMessage) -> InvalidMessage:
    return InvalidMessage(*(fault.within(0) for fault in error.faults))


def _all(results: Sequence[Delivery | Rejected]) -> bytes:
    return encode(Accepted(tuple(resource(each) for each in results if isinstance(each, Delivery))))


def _each(results: Sequence[Delivery | Rejected]) -> bytes:
    return encode(Mixed(tuple(map(_one, results))))


def _one(result: Delivery | Rejected) -> One:
    if isinstance(result, Delivery):
        return One(status=202, message=resource(result))
    problem = problem_of(result)
    return One(status=problem.status, problem=problem)


BATCH = Operation(
    body=Batch,
    examples=examples.BATCHES,
    headers=IDEMPOTENCY | VALIDATION,
    answers={
        202: Outcome(
            "All are in the journal on disk.",
            Accepted,
            Accepted((examples.ACCEPTED,)),
            headers=REPLAY,
        ),
        207: Outcome(
            "Permissive: what became of each. Those with 202 are in the journal on disk.",
            Mixed,
            Mixed((One(status=202, message=examples.ACCEPTED),)),
            headers=REPLAY,
        ),
    },
    problems=(400, 413, 415, 422, 429, 503),
)
