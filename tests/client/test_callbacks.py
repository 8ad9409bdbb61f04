"""Callbacks are believed only if one of our secrets signed them, just now."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from notifier.client import InvalidCallback, verify_callback

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
MESSAGE = {
    "id": "m1",
    "status": "sent",
    "channel": "email",
    "subject": "Hello",
    "from": "us@example.org",
    "recipients": [{"address": "ann@example.org", "status": "sent", "code": 250, "reply": "ok"}],
    "created_at": "2026-01-31T12:00:00Z",
    "due_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-02-03T12:00:00Z",
}
SENT = {"type": "message.sent", "timestamp": "2026-01-31T12:00:01Z", "data": MESSAGE, "version": 3}
BODY = json.dumps(SENT).encode()


def signed(body=BODY, *secrets, id="msg_1", at=None):
    """The header fields that the standard's own library makes."""
    at = at or datetime.now(UTC)
    by = [Webhook(secret).sign(id, at, body.decode()) for secret in secrets or (SECRET,)]
    return {
        "Webhook-Id": id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(by),
    }


def refusal(headers, body=BODY, secrets=SECRET, **options):
    with pytest.raises(InvalidCallback) as caught:
        verify_callback(headers, body, secrets, **options)
    return str(caught.value)


def test_a_signed_callback_is_read():
    """What the standard's own library signed is believed, and the message in it is typed."""
    callback = verify_callback(signed(), BODY, SECRET)
    assert (callback.id, callback.type, callback.version) == ("msg_1", "message.sent", 3)
    assert callback.timestamp == datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
    message = callback.message
    assert (message.id, message.sender, message.sent) == ("m1", "us@example.org", True)
    assert message.recipients[0].address == "ann@example.org"


def test_secrets_can_be_changed_without_a_gap():
    """One secret of several is enough, on either side, in any order."""
    for ours in ([OTHER, SECRET], [SECRET, OTHER]):
        assert verify_callback(signed(BODY, SECRET), BODY, ours)
    for theirs in ((OTHER, SECRET), (SECRET, OTHER)):
        assert verify_callback(signed(BODY, *theirs), BODY, SECRET)


def test_another_secret_is_not_believed():
    """A signature by a secret that is not ours is refused."""
    assert refusal(signed(BODY, OTHER)).startswith(
        "webhook-signature: was made with none of the secrets"
    )


@pytest.mark.parametrize("field", ["Webhook-Id", "Webhook-Timestamp"])
def test_a_signature_covers_id_and_time(field):
    """Another id or time than was signed is refused."""
    headers = signed()
    headers[field] = str(int(time.time()) + 1) if "Time" in field else "msg_2"
    assert "webhook-signature" in refusal(headers)


@pytest.mark.parametrize("field", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_field_is_named(field, value):
    """Without its three header fields a callback is refused, by the name of the missing one."""
    headers = signed()
    if value is None:
        del headers[field]
    else:
        headers[field] = value
    assert refusal(headers) == f"{field.lower()}: the request has no such header field"


def test_an_old_callback_is_refused():
    """Five minutes are allowed between the clocks, either way, and not a second more."""
    at = datetime.now(UTC).replace(microsecond=0)
    headers = signed(at=at)
    for seconds in (-300, 0, 300):
        assert verify_callback(headers, BODY, SECRET, now=at.timestamp() + seconds)
    assert "301 seconds old" in refusal(headers, now=at.timestamp() + 301)
    assert "301 seconds ahead" in refusal(headers, now=at.timestamp() - 301)
    assert "seconds old" in refusal(signed(at=datetime.now(UTC) - timedelta(seconds=301)))


@pytest.mark.parametrize("sent", ["soon", "-1", "1e9", "nan", "inf", "١٢٣", "1" * 5000, "1.5"])
def test_a_time_is_seconds(sent):
    """A timestamp that is not a plain number of seconds is refused."""
    headers = signed() | {"Webhook-Timestamp": sent}
    assert refusal(headers) == "webhook-timestamp: must be seconds since 1970"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "whsec_====", "pässword"])
def test_a_bad_secret_is_our_own_fault(secret):
    """A secret that cannot be one is an error of the program, and is not shown."""
    with pytest.raises(
        ValueError, match=r"^secrets\[1\] must be whsec_ followed by base64"
    ) as caught:
        verify_callback(signed(), BODY, [SECRET, secret])
    assert SECRET not in str(caught.value)
    with pytest.raises(ValueError, match="at least one"):
        verify_callback(signed(), BODY, [])


def test_text_is_no_body():
    """JSON that was read and written again is not what was signed."""
    with pytest.raises(TypeError, match="the octets of the request"):
        verify_callback(signed(), BODY.decode(), SECRET)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_signed_body_must_be_a_callback(body):
    """A body that is no callback is refused, also with a right signature."""
    signature = Webhook(SECRET)
    at = datetime.now(UTC)
    text = body.decode("latin-1")
    headers = signed(at=at) | {"Webhook-Signature": signature.sign("msg_1", at, text)}
    if body.isascii():
        assert refusal(headers, body).startswith("the body is not a callback")
    else:
        assert refusal(headers, body)


def test_a_callback_of_no_message():
    """A callback whose data is no message says so when its message is asked for."""
    body = json.dumps(SENT | {"type": "test", "data": {"key": "shop"}}).encode()
    callback = verify_callback(signed(body), body, SECRET)
    assert callback.data == {"key": "shop"}
    with pytest.raises(InvalidCallback, match="test: its data is not a message"):
        _ = callback.message


WORDS = st.text(st.characters(codec="utf-8"), min_size=1)


@given(data=st.dictionaries(WORDS, WORDS), id=WORDS.filter(str.isprintable))
def test_we_agree_with_the_standard(data, id):
    """Whatever the standard's own library signs is believed, and its library believes, too."""
    body = json.dumps({**SENT, "data": data}, ensure_ascii=False).encode()
    headers = signed(body, id=id)
    Webhook(SECRET).verify(body, headers)
    assert verify_callback(headers, body, SECRET).data == data


@given(place=st.integers(0, len(BODY) - 1), octet=st.integers(1, 255))
def test_a_changed_octet_is_refused(place, octet):
    """A body in which one octet was changed is refused."""
    changed = bytearray(BODY)
    changed[place] ^= octet
    assert "webhook-signature" in refusal(signed(), bytes(changed))


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": st.text(),
            "webhook-timestamp": st.text() | st.integers().map(str),
            "webhook-signature": st.text() | st.text().map("v1,{}".format),
        },
    ),
    body=st.binary(),
)
def test_nothing_else_is_raised(headers, body):
    """Whatever a stranger sends is refused by the same exception."""
    now = headers.get("webhook-timestamp", "")
    refusal(headers, body, now=float(now) if now.isdecimal() and len(now) < 20 else 0)
