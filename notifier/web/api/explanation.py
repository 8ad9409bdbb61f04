"""Why a message is where it is, what comes next and when, in words that one can act on."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from notifier.attempts import Attempt
from notifier.deliveries import Delivery, Status
from notifier.recipients import RecipientStatus
from notifier.smtp import State
from notifier.tokens import DENIED, UNAVAILABLE
from notifier.web.api.relays import RelayResource

RETRY = "POST /v1/messages/{id}/retry"
WITHOUT_TOKEN = (DENIED, UNAVAILABLE)
CANCEL = "POST /v1/messages/{id}/cancel"


class Situation(Struct, frozen=True, kw_only=True):
    """What the service knows beyond the message itself."""

    now: datetime
    relays: Sequence[RelayResource] = ()  # that the message can go to
    paused: bool = False
    draining: bool = False
    trouble: str = ""  # why the journal cannot be written


class Explanation(Struct, frozen=True):
    """In words; and when the next step is due without anybody's doing, if one is."""

    id: str
    status: Status
    explanation: str
    next_step_at: datetime | None


class Step(Struct, frozen=True):
    """What comes next. No time: somebody has to act first, or nobody can know."""

    words: str
    at: datetime | None = None


def explain(delivery: Delivery, situation: Situation) -> Explanation:
    why, step = _explained(delivery, situation)
    words = " ".join(each for each in (*why, step.words, _doubt(delivery)) if each)
    return Explanation(delivery.id, delivery.status, words, step.at)


def _explained(delivery: Delivery, situation: Situation) -> tuple[Sequence[str], Step]:
    match delivery.status:
        case Status.SCHEDULED | Status.QUEUED | Status.DEFERRED:
            why = [_since(delivery, situation)]
            return why, _unless_expired(delivery, _next(delivery, situation))
        case Status.SENDING:
            return ["A worker is sending it now."], Step("What comes of it will be seen soon.")
        case Status.HELD:
            return [f"It waits for a person: {_quoted(delivery.reason)}."], _choice(delivery)
        case Status.SENT:
            return _sent(delivery), Step("Nothing more is done.")
        case Status.FAILED:
            return [f"It was given up {_at(delivery)}: {_last(delivery)}."], _retry(delivery)
        case Status.EXPIRED:
            return [f"It was given up {_at(delivery)}: {_quoted(delivery.reason)}."], _retry(
                delivery
            )
        case Status.CANCELLED:
            return [f"It was called off {_at(delivery)}."], _retry(delivery)
        case Status.SUPERSEDED:
            return [f"It was {delivery.reason} {_at(delivery)}."], Step("Nothing more is done.")


# While it waits


def _since(delivery: Delivery, situation: Situation) -> str:
    if delivery.status is Status.SCHEDULED and delivery.due_at > situation.now:
        return f"Its sender wants it to be sent at {_time(delivery.due_at)}."
    if not delivery.attempts:
        return "It is in the queue and has not been tried yet."
    last = delivery.attempts[-1]
    count = len(delivery.attempts) + delivery.attempts_dropped
    tried = f"{count} attempt{'s' if count > 1 else ''} so far, the last one {_failed(last)}"
    if last.relay_failed:
        return f"{tried}. That was the relay's fault and does not count against the message."
    return f"{tried}."


def _next(delivery: Delivery, situation: Situation) -> Step:
    """The first of what stands in its way."""
    due_at = max(delivery.due_at, situation.now)
    if situation.draining:
        return Step("The service is stopping; it goes on when it has been started again.")
    if situation.trouble:
        return Step(f"Nothing is sent while the journal cannot be written: {situation.trouble}.")
    if situation.paused:
        return Step(
            "The queue is paused: nothing is sent until someone resumes it (POST /v1/queue/resume)."
        )
    if situation.relays and (obstacle := _obstacle(situation.relays, due_at)):
        return obstacle
    if delivery.due_at > situation.now:
        return Step(
            f"It is tried {'again ' if delivery.attempts else ''}at {_time(due_at)}.", due_at
        )
    return Step(
        "It is sent as soon as those before it are: by priority, then by when they are due, "
        "then first in, first out.",
        due_at,
    )


def _obstacle(relays: Sequence[RelayResource], due_at: datetime) -> Step | None:
    """Why no relay takes a message now; None: one does."""
    if any(each.state is State.CLOSED for each in relays):
        return None
    out = [each for each in relays if each.state is not State.PAUSED]
    if not out:
        names = ", ".join(each.name for each in relays)
        return Step(
            f"Every relay is paused: {names}. Nothing is sent until someone resumes one "
            "(POST /v1/relays/{name}/resume)."
        )
    opens_at = min((each.opens_at for each in out if each.opens_at), default=None)
    words = f"No relay can be used now: {'; '.join(map(_troubled, relays))}."
    if opens_at is None:
        return Step(f"{words} Whether that has passed is being tried.")
    at = max(opens_at, due_at)
    return Step(f"{words} The next try is at {_time(at)}.", at)


def _troubled(relay: RelayResource) -> str:
    if relay.state is State.PAUSED:
        return f"{relay.name} is paused"
    if relay.trouble is None:
        return f"{relay.name} rests"
    if relay.trouble.name in WITHOUT_TOKEN:
        return f"{relay.name} has no token to log in with ({_quoted(relay.trouble.text)})"
    if relay.trouble.name == "token_refused":
        return f"{relay.name} refuses our token, also a new one ({_quoted(relay.trouble.text)})"
    fault = f"{relay.trouble.name}: " if relay.trouble.name else ""
    return f"{relay.name} failed ({fault}{_quoted(relay.trouble.text)})"


def _unless_expired(delivery: Delivery, step: Step) -> Step:
    expires_at = delivery.expires_at
    if step.at is None:
        return Step(f"{step.words} It expires at {_time(expires_at)}.")
    if step.at < expires_at:
        return step
    return Step(f"It expires before it can be tried, at {_time(expires_at)}.", expires_at)


# When it has come to rest


def _sent(delivery: Delivery) -> Sequence[str]:
    last = delivery.attempts[-1] if delivery.attempts else None
    relay = last.relay if last else "a relay"
    reply = f", which said {_quoted(last.reply)}" if last and last.reply else ""
    told = [f"It was handed to {relay} {_at(delivery)}{reply}."]
    if delivery.partial:
        told.append(f"Not everybody has it. Refused: {_refused(delivery)}.")
        told.append(f"To try those again: {RETRY.format(id=delivery.id)}.")
    if delivery.handed_to == "gateway":
        told.append("It went to a carrier's gateway; whether that has delivered it is unknown.")
    return told


def _refused(delivery: Delivery) -> str:
    return "; ".join(
        f"{each.address} ({_quoted(each.reply)})"
        for each in delivery.recipients
        if each.status is RecipientStatus.REFUSED
    )


def _last(delivery: Delivery) -> str:
    if not delivery.attempts:
        return _quoted(delivery.reason)
    return f"the last attempt {_failed(delivery.attempts[-1])}"


def _retry(delivery: Delivery) -> Step:
    return Step(f"To try it again: {RETRY.format(id=delivery.id)}.")


def _choice(delivery: Delivery) -> Step:
    id = delivery.id
    return Step(f"To send it again: {RETRY.format(id=id)}. To drop it: {CANCEL.format(id=id)}.")


def _doubt(delivery: Delivery) -> str:
    if not delivery.uncertain:
        return ""
    times = "Once" if delivery.uncertain == 1 else f"{delivery.uncertain} times"
    return f"{times} nobody could know whether a relay had taken it: there may be a second copy."


def _failed(attempt: Attempt) -> str:
    code = f"{attempt.code} " if attempt.code else ""
    words = attempt.reply if attempt.reply.startswith(code) else f"{code}{attempt.reply}"
    return f"at {attempt.relay} ended at {attempt.stage} with {_quoted(words)}"


def _quoted(words: str) -> str:
    """Somebody's words inside a sentence of ours: on one line, without a full stop."""
    return " ".join(words.split()).rstrip(".") or "no words"


def _at(delivery: Delivery) -> str:
    return f"at {_time(delivery.finished_at)}" if delivery.finished_at else "some time ago"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
