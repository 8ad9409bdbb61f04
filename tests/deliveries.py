"""Deliveries and journal entries, all ordinary but for what a test is about."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from notifier.attempts import Attempt, Failure, Scope, Stage
from notifier.deliveries import Delivery, Route, Status
from notifier.journal import Entry, Idempotency
from notifier.recipients import Recipient

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RELAY = Route.RELAY
ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


def noon():
    return NOW


def delivery(id="d1", **changes):
    """A delivery that is due, all else as ordinary as can be."""
    ordinary = {
        "channel": "email",
        "subject": "Hello",
        "sender": "app@example.org",
        "recipients": (Recipient("ann@example.org"),),
        "size": 100,
        "created_at": NOW,
        "due_at": NOW,
        "expires_at": NOW + timedelta(days=2),
    }
    return Delivery(id=id, **(ordinary | changes))


def under_way(**changes):
    """A delivery to three recipients that is being sent."""
    given = {
        "recipients": tuple(map(Recipient, (ANN, BOB, EVE))),
        "expires_at": NOW + timedelta(hours=1),
        "status": Status.SENDING,
    }
    return delivery(**(given | changes))


def entry(id="d1", *, content=b"content", **changes):
    return Entry(delivery(id, **changes), content)


def entries(count, *, prefix="d", **changes):
    return [entry(f"{prefix}{number:05}", **changes) for number in range(count)]


def lost(one):
    """The delivery after an attempt in which the final dot was not answered."""
    silence = Failure(scope=Scope.RELAY, permanent=False, stage=Stage.DOT, reply="lost")
    failures = dict.fromkeys(one.pending.recipients, silence)
    unknown = replace(attempt(accepted=(), failures=failures), uncertain=True)
    return one.after(unknown, retry_at=NOW + timedelta(minutes=1), now=NOW)


def attempt(*, relay="main", accepted=("ann@example.org",), failures=None):
    return Attempt(
        relay=relay,
        started_at=NOW,
        seconds=0.1,
        stage=Stage.DOT,
        reply="250 ok",
        code=250,
        accepted=accepted,
        failures=failures or {},
    )


def idempotency(fingerprint=b"f", *, answer=b"answer", scope="app", key="k", hours=24):
    return Idempotency(
        scope=scope,
        key=key,
        fingerprint=fingerprint,
        answer=answer,
        expires_at=NOW + timedelta(hours=hours),
    )


def sent(one, *, relay="main", now=NOW):
    return one.after(attempt(relay=relay, accepted=one.pending.recipients), retry_at=now, now=now)


def called_off(one):
    """Cancelled, from whatever state: the journal asks no questions."""
    return replace(one, status=Status.CANCELLED, finished_at=NOW)


def ids(found):
    return [getattr(each, "delivery", each).id for each in found]
