"""What a provider's 2xx says: the answers are those of their documentation."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attempts import Scope
from notifier.sms.provider.acceptance import Expected
from notifier.sms.provider.policy import TWILIO, Answer, Codes, Meaning, judge

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def verdict(said, *, status=200, codes=Codes(), repeatable=False, expected=None, **more):  # noqa: B008 - it is a frozen value
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return judge(
        Answer(status, body, **more),
        codes=codes,
        repeatable=repeatable,
        now=NOW,
        expected=Expected.read(expected) if expected else None,
    )


def vonage(**fields):
    return {"message-count": "1", "messages": [{"to": "12025550123", **fields}]}


TAKEN = {
    "vonage": vonage(status="0", **{"message-id": "0A00", "remaining-balance": "3.14"}),
    "vonage, new api": {"message_uuid": "aaaaaaaa-bbbb"},
    "twilio": {"sid": "SM1", "status": "queued", "error_code": None, "error_message": None},
    "clickatell": {
        "messages": [{"apiMessageId": "3a7f", "accepted": True, "to": "1202", "error": None}],
        "error": None,
    },
    "clickatell, older": {"data": {"message": [{"accepted": True, "apiMessageId": "77"}]}},
    "messagebird": {
        "id": "e8077d803532c0b5937c639b60216938",
        "body": "Login failed? Invalid token",
        "validity": None,
        "recipients": {
            "totalDeliveryFailedCount": 0,
            "items": [{"recipient": 12025550123, "status": "sent"}],
        },
    },
    "bulksms": [
        {"id": "90", "type": "SENT", "status": {"id": "ACCEPTED.null", "type": "ACCEPTED"}}
    ],
    "infobip": {
        "messages": [
            {
                "messageId": "2250",
                "status": {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_OK"},
                "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR"},
            }
        ]
    },
    "sinch": {"id": "01FC", "to": ["12025550123"], "canceled": False, "type": "mt_text"},
    "plivo": {"message": "message(s) queued", "message_uuid": ["db3c"], "api_id": "db342"},
    "telnyx": {"data": {"record_type": "message", "id": "b0", "errors": [], "to": [{}]}},
    "africa's talking": {
        "SMSMessageData": {
            "Message": "Sent to 1/1 Total Cost: KES 0.8000",
            "Recipients": [{"statusCode": 101, "status": "Success", "messageId": "ATPid_1"}],
        }
    },
    "46elks": {"status": "created", "direction": "outgoing", "id": "s70df"},
    "clicksend": {
        "http_code": 200,
        "response_code": "SUCCESS",
        "data": {"messages": [{"status": "SUCCESS", "message_id": "4D5C"}]},
    },
    "smsapi": {"count": 1, "list": [{"id": "1460", "status": "QUEUE", "error": None}]},
    "seven": {"success": "100", "messages": [{"success": True, "error": None, "id": "77"}]},
    "textbelt": {"success": True, "quotaRemaining": 40, "textId": "12345"},
    "unifonic": {"success": True, "message": "", "errorCode": "ER-00", "data": {"MessageID": 3}},
    "smsgatewayhub": {"ErrorCode": "000", "ErrorMessage": "Success", "JobId": "2084"},
    "msg91": {"type": "success", "message": "3763646c"},
    "kavenegar": {"return": {"status": 200}, "entries": [{"messageid": 8, "status": 5}]},
    "libyasms": {"Status": "0", "Text": "Acceptd", "Message_ID": "7"},
    "gatewayapi": {"ids": [421332671], "usage": {"countries": {"DK": 1}}},
    "ovh": {"ids": [1], "invalidReceivers": [], "validReceivers": ["+12025550123"]},
    "a bare one": {"status": "1"},
    "an error whose code is nought": {"error": {"code": 0, "description": "processed"}},
    "an object without anything": {},
    "a list without anything": [],
    "a word": "OK",
    "a number": 1234,
    "text": b"OK: 1234",
    "xml": b'<?xml version="1.0"?><response><id>7</id></response>',
    "nothing": b"",
}
REFUSED = {
    "vonage, number barred": vonage(status="7", **{"error-text": "Number barred"}),
    "vonage, by its number alone": vonage(status="6"),
    "clickatell": {
        "messages": [
            {"apiMessageId": None, "accepted": False, "error": {"code": 105, "description": "x"}}
        ],
        "error": None,
    },
    "clickatell, older": {"data": {"message": [{"accepted": False, "to": "1"}]}},
    "messagebird": {"errors": [{"code": 9, "description": "no (correct) recipients found"}]},
    "bulksms": [{"id": "90", "status": {"id": "FAILED.REJECTED", "type": "FAILED"}}],
    "infobip": {
        "messages": [
            {"messageId": "1", "status": {"groupId": 5, "groupName": "REJECTED", "name": "X"}}
        ]
    },
    "plivo": {"error": "invalid destination number"},
    "telnyx": {"data": {"id": "b0", "errors": [{"code": "40310", "title": "Invalid 'to'"}]}},
    "africa's talking": {
        "SMSMessageData": {"Recipients": [{"statusCode": 403, "status": "InvalidPhoneNumber"}]}
    },
    "clicksend": {
        "http_code": 200,
        "response_code": "SUCCESS",
        "data": {"messages": [{"status": "INVALID_RECIPIENT"}]},
    },
    "textlocal": {"errors": [{"code": 4, "message": "No recipients"}], "status": "failure"},
    "smsapi": {"error": 13, "message": "No correct phone numbers"},
    "textbelt": {"success": False, "error": "Number is not reachable"},
    "msg91": {"message": "invalid mobile number", "type": "error"},
    "kavenegar": {"return": {"status": 411, "message": "receptor"}, "entries": None},
    "ovh": {"ids": [], "invalidReceivers": ["+12025550123"], "validReceivers": []},
    "a flag alone": {"success": False},
    "a flag as a word": {"success": "false"},
    "a status": {"status": "FAILED"},
    "http's in the body": {"status": 422, "message": "unprocessable"},
    "http's first in the body": {"status": 400},
    "http's of a server in the body": {"code": 503},
    "false": False,
    "a negative number": -1009,
    "a word": "error",
    "text": b"ERR: 105, invalid destination",
    "a number in text": b"-1009 INVALID DESTINATION NUMBER",
}
ACCOUNT = {
    "vonage, credentials": vonage(status="4", **{"error-text": "Invalid Credentials"}),
    "vonage, throttled": vonage(status="1", **{"error-text": "Throughput Rate Limit exceeded"}),
    "textbelt": {"success": False, "error": "Out of quota", "quotaRemaining": 0},
    "smsapi": {"error": 103, "message": "Insufficient credits on Your account"},
    "msg91": {"message": "Authentication failure", "type": "error"},
}
UNCLEAR = {
    "a page": b"<!DOCTYPE html><html><body>Welcome</body></html>",
    "a page behind a comment": b"\xef\xbb\xbf \n<!-- proxy -->\n<HTML lang=en><p>Please log in",
    "a heading": b"<h1>It works!</h1>",
    "a bare number": {"status": "4"},
    "a long text of which a part is taken": {
        "messages": [
            {"status": "0", "message-id": "1"},
            {"status": "1", "error-text": "Throttled"},
        ]
    },
}


def each_of(table):
    return pytest.mark.parametrize("said", table.values(), ids=table)


@each_of(TAKEN)
def test_known_success_answers_are_success(said):
    """Fields for errors that are empty, flags that mean something else, our own words repeated."""
    given = verdict(said)
    assert given.failure is None
    assert given.meaning is Meaning.FINE


@each_of(REFUSED)
def test_a_refusal_within_a_200_does_not_rest_the_provider(said):
    """Nothing was sent: it is tried again for as long as its schedule has tries, then failed."""
    given = verdict(said)
    assert given.failure is not None
    assert (given.failure.scope, given.failure.permanent) == (Scope.RECIPIENT, False)
    assert (given.meaning, given.uncertain) == (Meaning.FINE, False)


@each_of(ACCOUNT)
def test_a_refusal_of_our_account_charges_no_message(said):
    """Three in a row let the provider rest, if it has not taken others of late."""
    given = verdict(said)
    assert given.failure is not None
    assert (given.failure.scope, given.failure.permanent) == (Scope.RELAY, False)
    assert (given.meaning, given.uncertain) == (Meaning.DOUBT, False)


@each_of(UNCLEAR)
def test_ambiguous_answer_is_uncertain(said):
    """Neither lost nor sent without a word: `on_uncertain` decides."""
    given = verdict(said)
    assert given.failure is not None
    assert not given.failure.permanent
    assert given.uncertain
    assert not verdict(said, repeatable=True).uncertain


def test_a_page_lets_the_provider_rest_at_once():
    """The URL is wrong for all texts alike."""
    assert verdict(UNCLEAR["a page"]).meaning is Meaning.ACCOUNT
    assert verdict(UNCLEAR["a bare number"]).meaning is Meaning.TROUBLE


def test_malformed_json_is_unclear():
    """Where all of it was read; of an answer that was cut off the status stands."""
    assert verdict(b"OK", json=True).uncertain
    assert verdict(b'{"id": "1', json=True, whole=False).failure is None
    assert verdict(b"", json=True).failure is None


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_an_empty_answer_is_success(status):
    """The status has said all."""
    assert verdict(b"", status=status).failure is None


def test_a_refusal_has_the_providers_words():
    """Wherever they stand; not its whole body, and nothing that only repeats our text."""
    assert verdict(REFUSED["vonage, number barred"]).reply == "Number barred"
    assert verdict(REFUSED["messagebird"]).reply == "no (correct) recipients found"
    assert verdict(REFUSED["msg91"]).reply == "invalid mobile number"
    echo = {"success": False, "body": "Your login token is 1", "error": "blocked"}
    assert verdict(echo).reply == "blocked"
    assert verdict(echo).failure.scope is Scope.RECIPIENT


def test_codes_that_are_known_say_more():
    """Twilio's own, should they come with a 2xx."""
    said = {"sid": "SM1", "status": "failed", "error_code": 21610, "error_message": "unsubscribed"}
    assert verdict(said, codes=TWILIO, status=201).failure.final
    assert not verdict(said, status=201).failure.final


@pytest.mark.parametrize(
    ("expected", "said", "taken"),
    [
        ("/messages/0/status=0", vonage(status="0"), True),
        ("/messages/0/status=0", vonage(status="7"), False),
        ("/messages/0/status=0", {"messages": []}, False),
        ("/messages/0/status=0", {}, False),
        ("/messages/x/status=0", vonage(status="0"), False),
        ("/code=0", {"code": 0, "success": False}, True),
        ("/code=0", {"code": False}, False),
        ("/ok=true", {"ok": True}, True),
        ("/ok=true", {"ok": "true"}, True),
        ("/ok=true", {"ok": 1}, False),
        ("/a~1b/c~0d=x=y", {"a/b": {"c~d": "x=y"}}, True),
        ("/a=null", {"a": None}, True),
        ("/a={}", {"a": {}}, False),
    ],
)
def test_the_operators_word_on_success_decides_alone(expected, said, taken):
    """A JSON pointer and the value that stands there; whatever else the body says."""
    given = verdict(said, expected=expected)
    assert (given.failure is None) is taken
    assert not given.uncertain


@pytest.mark.parametrize("said", [b"", b"OK", b"<html>", b'{"a": '])
def test_an_answer_that_is_not_json_is_unclear(said):
    """It cannot be looked at."""
    assert verdict(said, expected="/a=1").uncertain


@pytest.mark.parametrize("text", ["", "a=1", "/a", "/a=", "/a= ", "=1"])
def test_a_wrong_description_of_success_is_an_error(text):
    """A pointer begins with a slash, and a value follows."""
    with pytest.raises(ValueError, match="/messages/0/status=0"):
        Expected.read(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["status", "error", "errors", "success", "messages", "code", "id"])
            | st.text(),
            inner,
        )
    ),
)


@given(JSON_VALUES, st.integers(200, 299), st.booleans())
def test_any_json_is_judged(said, status, repeatable):
    """Whatever a provider thinks of, it is one of the four; with an answer in words."""
    given = verdict(said, status=status, repeatable=repeatable)
    assert given.reply or given.failure is None
    assert not (given.uncertain and repeatable)
    assert len(given.reply) <= 300


@given(st.binary(max_size=300), st.integers(200, 299), st.booleans(), st.booleans())
def test_any_octets_are_judged(said, status, is_json, whole):
    """Any octets get a verdict, also those that are not text."""
    verdict(said, status=status, json=is_json, whole=whole)
    verdict(said, status=status, expected="/a/0/b=1", json=is_json, whole=whole)
