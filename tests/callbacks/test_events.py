"""Which event is told, under which version, and how the body is written and signed."""

import base64
import json
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks import Webhook

from notifier.attempts import Failure, Scope, Stage
from notifier.callbacks import requests
from notifier.callbacks.events import Occasion, newest, version_of
from notifier.callbacks.requests import body_of, signed_headers
from notifier.client import verify_callback
from notifier.deliveries import WAITING, Status
from notifier.errors import NotifierError
from notifier.keys import CallbackEvent
from notifier.later import reported
from notifier.recipients import Later, LaterState
from tests.applications import SECRET
from tests.deliveries import NOW, attempt, delivery, sent

EVERY = frozenset(CallbackEvent)
ANN = "ann@example.org"


def refused(each, now):
    """The delivery after a relay has refused it."""
    failure = Failure(
        scope=Scope.RECIPIENT, stage=Stage.RCPT, code=550, reply="no such user", permanent=True
    )
    failed = attempt(accepted=(), failures={ANN: failure})
    return each.after(failed, retry_at=now + timedelta(hours=1), now=now)


def put_off(each, now):
    failure = Failure(
        scope=Scope.RECIPIENT, stage=Stage.RCPT, code=451, reply="later", permanent=False
    )
    later = attempt(accepted=(), failures={ANN: failure})
    return each.after(later, retry_at=now + timedelta(minutes=1), now=now)


STEPS = {
    "sent": lambda each, now: sent(each, now=now) if each.status in WAITING else each,
    "refused": lambda each, now: refused(each, now) if each.status in WAITING else each,
    "put off": lambda each, now: put_off(each, now) if each.status in WAITING else each,
    "retried": lambda each, now: each.retried(now),
    "cancelled": lambda each, now: each.cancelled(now),
    "hurried": lambda each, now: each.hurried(now),
    "expired": lambda each, now: each.expired(now) if each.status in WAITING else each,
    "superseded": lambda each, now: each.superseded(now, "d2") if each.status in WAITING else each,
    "recovered": lambda each, now: each.recovered(now) if each.status in WAITING else each,
    "bounced": lambda each, now: _reported(each, LaterState.BOUNCED, now),
    "complained": lambda each, now: _reported(each, LaterState.COMPLAINED, now),
}


def _reported(each, state, now):
    return reported(each, ANN, Later(state, now), now=now)


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_the_version_grows_with_each_change(names):
    """Through any life of a message, also a long one of which not all is kept."""
    each, now = delivery(status=Status.QUEUED), NOW
    for name in names:
        now += timedelta(seconds=1)
        before, told = version_of(each), newest(each, EVERY)
        try:
            after = STEPS[name](each, now)
        except NotifierError:
            continue
        if after == each:
            continue
        assert version_of(after) > before, name
        found = newest(after, EVERY)
        if after.status.final or after.status is Status.HELD:
            assert found is not None
        if found not in (None, told):
            assert told is None or found.at >= told.at
        each = after


def test_a_report_is_newer_than_the_end_that_it_is_about():
    """It is told, and then not again with a change that is no event."""
    over = sent(delivery(status=Status.SENDING), now=NOW)
    assert newest(over, EVERY) == Occasion(CallbackEvent.SENT, NOW)
    back = _reported(over, LaterState.BOUNCED, NOW + timedelta(hours=1))
    bounced = Occasion(CallbackEvent.BOUNCED, NOW + timedelta(hours=1))
    assert newest(back, EVERY) == bounced
    noted = back.with_event(NOW + timedelta(hours=2), "something")
    assert newest(noted, EVERY) == bounced
    assert newest(noted, EVERY - {CallbackEvent.BOUNCED}) == newest(over, EVERY)


def test_waiting_message_is_no_event():
    """Nobody is told that a message is queued, sent or put off."""
    for status in (Status.QUEUED, Status.SCHEDULED, Status.SENDING, Status.DEFERRED):
        assert newest(delivery(status=status), EVERY) is None


def test_a_large_message_is_sent_without_its_history():
    """Within a bound, whatever is large in it; the others are told whole."""
    message = {"id": "d1", "status": "sent", "attempts": ["x" * 1000] * 300, "metadata": {}}
    small = json.loads(
        body_of("message.sent", NOW, 3, json.dumps(message | {"attempts": []}).encode())
    )
    large = json.loads(body_of("message.sent", NOW, 3, json.dumps(message).encode()))
    assert "abridged" not in small
    assert small["data"]["attempts"] == []
    assert large["abridged"] is True
    assert large["data"] == {"id": "d1", "status": "sent", "metadata": {}}
    recipients = message | {"recipients": ["x" * 1000] * 300}
    body = body_of("message.sent", NOW, 3, json.dumps(recipients).encode())
    assert len(body) <= requests.LARGEST_BODY
    assert json.loads(body)["data"] == {"id": "d1", "status": "sent", "metadata": {}}


@given(text=st.text(max_size=200), secret=st.binary(min_size=24, max_size=64))
@settings(deadline=None)
def test_two_other_implementations_take_the_signature(text, secret):
    """Of any text, by any secret, beside other secrets."""
    encoded = "whsec_" + base64.b64encode(secret).decode()
    now = datetime.now(UTC)
    body = body_of("message.sent", now, 3, json.dumps({"subject": text}).encode())
    headers = signed_headers("msg_1", now, body, (SECRET, encoded))
    assert Webhook(encoded).verify(body, headers)["data"]["subject"] == text
    callback = verify_callback(headers, body, encoded)
    assert callback.data["subject"] == text
    assert (callback.id, callback.version) == ("msg_1", 3)


def test_a_version_of_its_own_for_each_event():
    """Two events of one message never have the same id."""
    over = refused(delivery(status=Status.SENDING), NOW)
    again = over.retried(NOW + timedelta(seconds=1))
    assert version_of(replace(again, status=Status.SENDING)) > version_of(over)
    assert version_of(sent(again, now=NOW)) > version_of(again)
