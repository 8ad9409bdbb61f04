"""/v1/callbacks: the callbacks to applications, and their state."""

from datetime import datetime
from typing import Annotated, Literal

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct, convert

from notifier.callbacks import CallbackView, Outcome
from notifier.keys import CallbackEvent
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import Nothing, read_query
from notifier.web.problems import BadParameter
from notifier.web.routes import MANAGE, READ, DocumentedAnswer, Operation, get, path_parameter, post

TAG = "callbacks"


class LastAnswerResource(Struct, frozen=True):
    """The last attempt of one callback."""

    message: Annotated[str, Meta(description="The message's id.")]
    event: CallbackEvent
    at: Annotated[datetime, Meta(description="When the event happened.")]
    answered_at: datetime
    code: Annotated[int | None, Meta(description="The HTTP status; `null`: there was no answer.")]
    reply: Annotated[str, Meta(description="The beginning of the answer, or why there is none.")]
    tries: int
    outcome: Annotated[
        Outcome | None,
        Meta(
            description="`gone`: the application answered `410`. `given_up`: after three days. "
            "`null`: it is tried again."
        ),
    ]


class CallbackResource(Struct, frozen=True, kw_only=True):
    """The callback of one API key."""

    key: Annotated[str, Meta(description="The name of the API key.")]
    url: Annotated[str, Meta(description="Without user, password and query.")]
    events: tuple[CallbackEvent, ...]
    state: Annotated[
        Literal["working", "failing", "paused"],
        Meta(
            description="`failing`: the last attempt failed. `paused`: nothing is sent until a "
            "person resumes it."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why it is failing or paused.")]
    since: Annotated[datetime | None, Meta(description="Since when it is failing or paused.")]
    waiting: Annotated[int, Meta(description="The number of callbacks that wait.")]
    oldest_waiting_at: Annotated[
        datetime | None, Meta(description="Since when the oldest of them waits.")
    ]
    last_answers: Annotated[
        tuple[LastAnswerResource, ...], Meta(description="The last answers, newest first.")
    ]


class CallbackList(Struct, frozen=True):
    """The callbacks of all API keys that have one."""

    items: tuple[CallbackResource, ...]


class CallbackAnswer(Struct, frozen=True):
    """What the application answered to a test."""

    ok: Annotated[bool, Meta(description="Whether the answer was a 2xx.")]
    code: Annotated[int | None, Meta(description="The HTTP status; `null`: there was no answer.")]
    reply: Annotated[str, Meta(description="The beginning of the answer, or why there is none.")]
    seconds: float


class ReplayQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The time since which callbacks are sent again."""

    since: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="Callbacks for events since this time are sent again. Required.",
            ),
        ]
        | None
    ) = None


class Replayed(Struct, frozen=True):
    """How many callbacks are sent again."""

    count: int


class Callbacks:
    """Look at callbacks; test, replay and resume them."""

    def __init__(self, service: Notifier) -> None:
        self._callbacks = service.callbacks

    def routes(self) -> list[HTTPRouteHandler]:
        one = "/v1/callbacks/{key:str}"
        return [
            get("/v1/callbacks", self.list, READ, LIST),
            post(f"{one}/test", self.test, MANAGE, TEST),
            post(f"{one}/replay", self.replay, MANAGE, REPLAY, own_record=True),
            post(f"{one}/resume", self.resume, MANAGE, RESUME, own_record=True),
        ]

    async def list(self, request: AnyRequest) -> CallbackList:
        """The state of each callback, the number that waits, and the last answers."""
        read_query(request, Nothing)
        return CallbackList(tuple(map(_resource, await self._callbacks.views())))

    async def test(self, request: AnyRequest) -> CallbackAnswer:
        """
        Sends one callback of the type `callback.test` now, even if callbacks are paused, and shows
        the answer.
        """
        answer = await self._callbacks.test(self._key(request))
        return CallbackAnswer(answer.accepted, answer.code, answer.reply, answer.seconds)

    async def replay(self, request: AnyRequest) -> Replayed:
        """Sends the newest event of each message again, under the same `webhook-id`."""
        key, since = self._key(request), read_query(request, ReplayQuery).since
        if since is None:
            raise BadParameter("since", "must be given, as a time such as 2027-01-31T12:00:00Z")
        return Replayed(await self._callbacks.replay(key, since, by=by_of(request)))

    async def resume(self, request: AnyRequest) -> CallbackResource:
        """All callbacks that wait are sent now, also if the application rested after failures."""
        key = self._key(request)
        await self._callbacks.resume(key, by=by_of(request))
        views = await self._callbacks.views()
        return next(_resource(each) for each in views if each.state.key == key)

    def _key(self, request: AnyRequest) -> str:
        key: str = request.scope["path_params"]["key"]
        known = self._callbacks.keys
        if key not in known:
            names = ", ".join(known) or "none"
            raise NotFoundException(
                f"no key named {key[:100]!r} has a callback; the keys with a callback: {names}"
            )
        return key


def _resource(view: CallbackView) -> CallbackResource:
    state, reason, since = _standing(view)
    return CallbackResource(
        key=view.state.key,
        url=view.callback.place,
        events=tuple(each for each in CallbackEvent if each in view.callback.events),
        state=state,
        reason=reason,
        since=since,
        waiting=view.state.waiting,
        oldest_waiting_at=view.state.oldest,
        last_answers=convert(view.last, tuple[LastAnswerResource, ...], from_attributes=True),
    )


def _standing(
    view: CallbackView,
) -> tuple[Literal["working", "failing", "paused"], str | None, datetime | None]:
    state = view.state
    if state.paused_at is not None:
        return "paused", state.paused_why, state.paused_at
    if state.failing_since is not None:
        return "failing", state.trouble, state.failing_since
    return "working", None, None


KEY = path_parameter("key", "The name of the API key, as in `GET /v1/callbacks`.", example="shop")
LIST = Operation(
    id="listCallbacks",
    summary="List the callbacks",
    tag=TAG,
    answers={
        200: DocumentedAnswer(
            "The callbacks in their present state.", CallbackList, {"items": [examples.CALLBACK]}
        )
    },
    problems=(422, 503),
)
TEST = Operation(
    id="testCallback",
    summary="Send a test to an application",
    tag=TAG,
    path=KEY,
    answers={
        200: DocumentedAnswer(
            "What the application answered.", CallbackAnswer, CallbackAnswer(True, 204, "", 0.012)
        )
    },
    problems=(403, 404, 503),
)
REPLAY = Operation(
    id="replayCallbacks",
    summary="Send the callbacks of an application again",
    tag=TAG,
    path=KEY,
    query=ReplayQuery,
    answers={200: DocumentedAnswer("How many callbacks are sent again.", Replayed, Replayed(17))},
    problems=(403, 404, 422, 503),
)
RESUME = Operation(
    id="resumeCallback",
    summary="Resume the callbacks of an application",
    tag=TAG,
    path=KEY,
    answers={
        200: DocumentedAnswer(
            "The callback in its present state.", CallbackResource, examples.CALLBACK
        )
    },
    problems=(403, 404, 503),
)
