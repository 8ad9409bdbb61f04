"""Explains why a message has its status, what happens next, and what a person can do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from notifier.attempts import Attempt
from notifier.deliveries import Delivery, Status
from notifier.recipients import PROVEN, RecipientStatus
from notifier.reports import sentence
from notifier.screening import STORM, SUPPRESSED
from notifier.settling import objection_to_settling, settled_by
from notifier.smtp import State
from notifier.smtp.remedies import MEANINGS
from notifier.tokens import DENIED, UNAVAILABLE
from notifier.web.api.relays import RelayResource

RETRY = "POST /v1/messages/{id}/retry"
WITHOUT_TOKEN = (DENIED, UNAVAILABLE)
CANCEL = "POST /v1/messages/{id}/cancel"
SETTLE = "POST /v1/messages/{id}/settle"


class Situation(Struct, frozen=True, kw_only=True):
    """What the service knows beyond the message itself."""

    now: datetime
    relays: Sequence[RelayResource] = ()  # that the message can go to
    chained: bool = False  # relays have conditions, so each message has a chain of relays
    paused: bool = False
    draining: bool = False
    trouble: str = ""  # why the journal cannot be written


class Explanation(Struct, frozen=True):
    """A text, and the time of the next step if the service takes one by itself."""

    id: str
    status: Status
    explanation: str
    next_step_at: datetime | None


class Step(Struct, frozen=True):
    """What happens next. `at` is None if a person must act first or the time is unknown."""

    words: str
    at: datetime | None = None


NOTHING_MORE = Step("Nothing more will be sent.")


def explain(delivery: Delivery, situation: Situation) -> Explanation:
    why, step = _explained(delivery, situation)
    reported = _reported(delivery)
    said = (*why, _suppressed(delivery), *reported, step.words, _doubt(delivery))
    words = " ".join(each for each in said if each)
    return Explanation(delivery.id, delivery.status, words, step.at)


def _explained(delivery: Delivery, situation: Situation) -> tuple[Sequence[str], Step]:
    match delivery.status:
        case Status.SCHEDULED | Status.QUEUED | Status.DEFERRED:
            why = [_since(delivery, situation), _chain(situation)]
            return why, _unless_expired(delivery, _next(delivery, situation))
        case Status.SENDING:
            return ["A worker is sending the message now."], Step("The outcome is known soon.")
        case Status.HELD:
            return [f"The message waits for a decision: {_held(delivery)}."], _choice(delivery)
        case Status.SENT:
            return _sent(delivery), NOTHING_MORE
        case Status.FAILED:
            return [f"The message failed {_at(delivery)}: {_last(delivery)}."], _retry(delivery)
        case Status.EXPIRED:
            why = [f"The message expired {_at(delivery)}: {_quoted(delivery.reason)}."]
            return why, _retry(delivery)
        case Status.CANCELLED:
            return [f"The message was cancelled {_at(delivery)}."], _retry(delivery)
        case Status.SUPERSEDED:
            return [f"The message was {delivery.reason} {_at(delivery)}."], NOTHING_MORE


# Messages that wait


def _since(delivery: Delivery, situation: Situation) -> str:
    if delivery.status is Status.SCHEDULED and delivery.due_at > situation.now:
        return f"The message is scheduled for {_time(delivery.due_at)}."
    if not delivery.attempts:
        return "The message is in the queue. No attempt has been made yet."
    last = delivery.attempts[-1]
    count = len(delivery.attempts) + delivery.attempts_dropped
    made = "1 attempt was made." if count == 1 else f"{count} attempts were made."
    tried = f"{made} The last attempt {_failed(last)}."
    if last.throttled:
        return f"{tried} The relay wants fewer messages, so this attempt does not count."
    tried = f"{tried}{_meant(last)}"
    if last.relay_failed:
        return f"{tried} The relay was at fault, so this attempt does not count."
    return tried


def _meant(attempt: Attempt) -> str:
    """The meaning of the last reply, if it is a known reply of a provider."""
    named = (MEANINGS.get(failure.name) for failure in attempt.failures.values())
    meaning = next(filter(None, named), "")
    return f" The relay {meaning}." if meaning else ""


def _chain(situation: Situation) -> str:
    """Which relays take the message, and why."""
    if not situation.chained or not situation.relays:
        return ""
    relays = ", then ".join(map(_conditioned, situation.relays))
    return f"It goes to {relays}."


def _conditioned(relay: RelayResource) -> str:
    if not relay.conditions:
        return f"{relay.name} (takes all)"
    words = "; ".join(f"{name}: {', '.join(them)}" for name, them in relay.conditions.items())
    return f"{relay.name} ({words})"


def _next(delivery: Delivery, situation: Situation) -> Step:
    """The first obstacle that the message waits for; without one, its time or its turn."""
    due_at = max(delivery.due_at, situation.now)
    if situation.draining:
        return Step("The service is stopping. It sends the message after the next start.")
    if situation.trouble:
        return Step(f"Nothing is sent while the journal cannot be written: {situation.trouble}.")
    if situation.paused:
        return Step(
            "The queue is paused. Nothing is sent until a person resumes it: POST /v1/queue/resume."
        )
    if situation.relays and (obstacle := _obstacle(situation.relays, due_at)):
        return obstacle
    if delivery.due_at > situation.now:
        which = "next" if delivery.attempts else "first"
        return Step(f"The {which} attempt is at {_time(due_at)}.", due_at)
    return Step(
        "The message is sent after those ahead of it. The order is by priority, then by due "
        f"time, then by arrival.{_pace(situation.relays)}",
        due_at,
    )


def _obstacle(relays: Sequence[RelayResource], due_at: datetime) -> Step | None:
    """Why no relay takes a message now. None: at least one does."""
    if any(each.state is State.CLOSED for each in relays):
        return None
    out = [each for each in relays if each.state is not State.PAUSED]
    if not out:
        names = ", ".join(each.name for each in relays)
        return Step(
            f"Every relay is paused: {names}. Nothing is sent until a person resumes one: "
            "POST /v1/relays/{name}/resume."
        )
    opens_at = min((each.opens_at for each in out if each.opens_at), default=None)
    words = f"No relay can be used now: {'; '.join(map(_troubled, relays))}."
    if opens_at is None:
        return Step(f"{words} A test attempt is under way.")
    at = max(opens_at, due_at)
    return Step(f"{words} The next attempt is at {_time(at)}.", at)


def _pace(relays: Sequence[RelayResource]) -> str:
    """Why some relays in use get messages more slowly than they could."""
    words = [
        f" {each.name} wants fewer messages ({_words_of(each)}). It gets {_slowly(each)}."
        for each in relays
        if each.state is State.CLOSED and (each.held_until or each.pace)
    ]
    return "".join(words)


def _words_of(relay: RelayResource) -> str:
    return _quoted(relay.trouble.text if relay.trouble else "")


def _slowly(relay: RelayResource) -> str:
    if relay.held_until is not None:
        return f"the next one at {_time(relay.held_until)}"
    pace = relay.pace or 1.0
    return f"{pace:.3g} a second" if pace >= 1 else f"one every {1 / pace:.3g} seconds"


def _troubled(relay: RelayResource) -> str:
    if relay.state is State.PAUSED:
        return f"{relay.name} is paused"
    if relay.trouble is None:
        return f"{relay.name} rests after failures"
    if relay.trouble.name in WITHOUT_TOKEN:
        return f"{relay.name} has no token to log in with ({_quoted(relay.trouble.text)})"
    if relay.trouble.name == "token_refused":
        return f"{relay.name} refuses our token, also a new one ({_quoted(relay.trouble.text)})"
    if meaning := MEANINGS.get(relay.trouble.name):
        return f"{relay.name} {meaning} ({_quoted(relay.trouble.text)})"
    fault = f"{relay.trouble.name}: " if relay.trouble.name else ""
    return f"{relay.name} failed ({fault}{_quoted(relay.trouble.text)})"


def _unless_expired(delivery: Delivery, step: Step) -> Step:
    expires_at = delivery.expires_at
    if step.at is None:
        return Step(f"{step.words} The message expires at {_time(expires_at)}.")
    if step.at < expires_at:
        return step
    words = f"The message expires at {_time(expires_at)}, before another attempt is possible."
    return Step(words, expires_at)


# Messages that are finished or held


def _sent(delivery: Delivery) -> Sequence[str]:
    if settled := settled_by(delivery):
        words = f"The message was settled {_quoted(settled.detail)}, at {_time(settled.at)} by "
        return [f"{words}{settled.by or 'the service'}."]
    last = delivery.attempts[-1] if delivery.attempts else None
    relay = last.relay if last else "A relay"
    if _proven(delivery):
        return [
            f"A report proves that {relay} took the message, so it was settled {_at(delivery)}."
        ]
    reply = f" with the reply {_quoted(last.reply)}" if last and last.reply else ""
    sentences = [f"{relay} accepted the message {_at(delivery)}{reply}."]
    if refused := _refused(delivery):
        sentences.append(f"Some recipients were refused: {refused}.")
        sentences.append(f"To try these recipients again: {RETRY.format(id=delivery.id)}.")
    if delivery.handed_to == "gateway":
        sentences.append("The relay is a carrier's gateway. It does not report delivery.")
    return sentences


def _proven(delivery: Delivery) -> bool:
    return any(each.reply == PROVEN for each in delivery.recipients)


def _reported(delivery: Delivery) -> Iterator[str]:
    """What was reported about the message after a relay took it."""
    for recipient in delivery.recipients:
        if recipient.later is not None:
            yield sentence(recipient.address, recipient.later)


def _refused(delivery: Delivery) -> str:
    return "; ".join(
        f"{each.address} ({_quoted(each.reply)})"
        for each in delivery.recipients
        if each.status is RecipientStatus.REFUSED
    )


def _last(delivery: Delivery) -> str:
    if not delivery.attempts or settled_by(delivery) or delivery.reason == SUPPRESSED:
        return _quoted(delivery.reason)
    return f"the last attempt {_failed(delivery.attempts[-1])}"


def _held(delivery: Delivery) -> str:
    last = next((each for each in reversed(delivery.events) if each.what == "held"), None)
    if delivery.reason != STORM or last is None:
        return _quoted(delivery.reason)
    return f"too many messages came for one recipient; {_quoted(last.detail)}"


def _suppressed(delivery: Delivery) -> str:
    """Which recipients are suppressed, and why."""
    found = [
        f"{each.address} ({_quoted(each.reply)})"
        for each in delivery.recipients
        if each.status is RecipientStatus.SUPPRESSED
    ]
    return f"Nothing is sent to {'; '.join(found)}." if found else ""


def _retry(delivery: Delivery) -> Step:
    if delivery.reason == SUPPRESSED:
        return Step(
            f"To send it, first DELETE /v1/suppressions/{{address}}, then "
            f"{RETRY.format(id=delivery.id)}."
        )
    return Step(f"To send the message again: {RETRY.format(id=delivery.id)}.")


def _choice(delivery: Delivery) -> Step:
    id = delivery.id
    again = f"To send the message again: {RETRY.format(id=id)}."
    choice = f"{again} To cancel the message: {CANCEL.format(id=id)}."
    if objection_to_settling(delivery):
        return Step(choice)
    return Step(f"{choice} If you know what became of it, settle it: {SETTLE.format(id=id)}.")


def _doubt(delivery: Delivery) -> str:
    if not delivery.uncertain or settled_by(delivery):
        return ""
    if delivery.uncertain == 1 and _proven(delivery):
        return ""
    times = "one attempt" if delivery.uncertain == 1 else f"{delivery.uncertain} attempts"
    return f"The outcome of {times} is unknown, so recipients may get more than one copy."


def _failed(attempt: Attempt) -> str:
    code = f"{attempt.code} " if attempt.code else ""
    words = attempt.reply if attempt.reply.startswith(code) else f"{code}{attempt.reply}"
    return f"at {attempt.relay} ended at {attempt.stage} with {_quoted(words)}"


def _quoted(words: str) -> str:
    """A text of others for use within a sentence: on one line, without a full stop."""
    return " ".join(words.split()).rstrip(".") or "no reply"


def _at(delivery: Delivery) -> str:
    return f"at {_time(delivery.finished_at)}" if delivery.finished_at else "some time ago"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
