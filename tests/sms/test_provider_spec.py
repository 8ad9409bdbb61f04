"""What an operator may say of a provider, and what a provider's answers mean."""

import base64
import json
from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attempts import Scope
from notifier.errors import ConfigurationError
from notifier.sms.provider import read_provider
from notifier.sms.provider.policy import TWILIO, Answer, Codes, Meaning, judge
from notifier.sms.provider.request import Text, template

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TEXT = Text("id-1", "+12025550123", "Hi")
TWILIO_URL = "twilio://AC01:token-1@?from=+15005550006"


@pytest.mark.parametrize(
    ("url", "asked", "sent"),
    [
        (TWILIO_URL, "https://api.twilio.com/2010-04-01/Accounts/AC01", "From=%2B15005550006"),
        (
            "twilio://AC01:token-1@?from=%2B15005550006",
            "https://api.twilio.com/2010-04-01/Accounts/AC01",
            "From=%2B15005550006",
        ),
        (
            "twilio://SK02:token-1@?account=AC01&messaging_service=MG03",
            "https://api.twilio.com/2010-04-01/Accounts/AC01",
            "MessagingServiceSid=MG03",
        ),
        (
            "twilio://AC01:token-1@api.dublin.ie1.twilio.com?from=ACME",
            "https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC01",
            "From=ACME",
        ),
        ("twilio://AC01:token-1@127.0.0.1:80?from=12345", "http://127.0.0.1/", "From=12345"),
    ],
)
def test_twilio_urls(url, asked, sent):
    """A + begins a number here, and is no space; the host may be a region's."""
    spec = read_provider(url)
    assert spec.url.startswith(asked)
    assert spec.url.endswith("/Accounts/AC01/Messages.json")
    assert spec.write(TEXT) == f"To=%2B12025550123&{sent}&Body=Hi".encode()
    assert spec.codes is TWILIO


def test_credentials_leave_the_url_for_the_header():
    """Percent-encoded ones are what they stand for; the query stays as it is."""
    spec = read_provider("https://us%40er:p%3Ass@api.example.org:8443/v1/send?a=1&b=%20")
    assert spec.url == "https://api.example.org:8443/v1/send?a=1&b=%20"
    token = spec.headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(token) == b"us@er:p:ss"
    assert json.loads(spec.write(TEXT)) == {"to": "+12025550123", "text": "Hi", "id": "id-1"}


@pytest.mark.parametrize(
    ("url", "settings", "faults"),
    [
        ("http://api.example.org/", {}, ["write https://"]),
        ("ftp://api.example.org/", {}, ["write https://"]),
        ("https:///send", {}, ["it has no host"]),
        pytest.param("https://a.example/" + "x" * 70_000, {}, ["it must be a URL"], id="too-long"),
        ("https://api.example.org:99999/", {}, ["it must be a URL"]),
        ("https://[api/", {}, ["it must be a URL"]),
        ("https://api.example.org/a b", {}, ["it must be a URL"]),
        ("https://api.example.org/\r\nX: y", {}, ["it must be a URL"]),
        ("https://api.example.org/#x", {}, ["a # part is never sent"]),
        ("https://us:hunter/2@api.example.org/", {}, [""]),
        ("", {}, ["it must be a URL"]),
        ("twilio://AC01@?from=+15005550006", {}, ["write twilio://SID:TOKEN@"]),
        ("twilio://AC01:hunter2@", {}, ["write from="]),
        ("twilio://AC01:hunter2@?from=+1", {}, ["write from="]),
        ("twilio://AC01:hunter2@?from=12345&to=1", {}, ["write from="]),
        ("twilio://AC01:hunter2@?from=12345&from=1", {}, ["a parameter is given twice"]),
        ("twilio://AC01:hunter2@/x?from=12345", {}, ["after the @ only a host"]),
        (
            TWILIO_URL,
            {"body": "{}", "headers": "{}", "idempotency_header": "X", "success": "/a=1"},
            [
                "_BODY does not apply",
                "_HEADERS does not apply",
                "_IDEMPOTENCY_HEADER does not apply",
                "_SUCCESS does not apply",
            ],
        ),
        (
            "http://api.example.org/",
            {
                "body": "{",
                "headers": '{"Host": "a", "A B": "c"}',
                "idempotency_header": "a b",
                "success": "ok",
            },
            [
                "write https://",
                "_BODY: it must be JSON",
                "Host is set by",
                "must be a valid header name",
                "_SUCCESS: write a JSON pointer",
                "must be the name of a header",
            ],
        ),
        ("https://a.example/", {"body": '{"to": "{phone}"}'}, ["{phone} is unknown"]),
        ("https://a.example/", {"body": '{"{to}": "{text}"}'}, ["must contain {to}"]),
        ("https://a.example/", {"body": '{"to": "{to}"}'}, ["and {text}"]),
        ("https://a.example/", {"headers": '["hunter2"]'}, ["must be a JSON object of strings"]),
        ("https://a.example/", {"headers": '{"A": "hunter2\\n"}'}, ["value of A must be"]),
    ],
)
def test_all_wrong_settings_are_reported_without_secrets(url, settings, faults):
    """Each by the name of its setting."""
    with pytest.raises(ConfigurationError) as wrong:
        read_provider(url, **settings)
    assert len(wrong.value.faults) == len(faults)
    for fault, part in zip(wrong.value.faults, faults, strict=True):
        assert fault.startswith("NOTIFIER_SMS_PROVIDER")
        assert part in fault
        assert "hunter" not in fault


def test_a_spec_shows_no_secret():
    """Not in what is printed of it."""
    spec = read_provider(
        "https://user:hunter22@a.example/?key=hunter22-23", headers='{"X-Key": "hunter24"}'
    )
    assert "hunter" not in repr(spec)
    assert spec.struck("a hunter22 b hunter22-23 c hunter24") == "a *** b *** c ***"
    assert spec.struck("Basic " + base64.b64encode(b"user:hunter22").decode()) == "***"


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_settings_are_read_or_refused(url, more):
    """Nothing but ConfigurationError comes of what an operator may write."""
    for settings in ({}, {"body": more, "headers": more, "idempotency_header": more}):
        for given_url in (url, f"https://{url}", f"twilio://{url}", f"https://a.example/?{url}"):
            try:
                spec = read_provider(given_url, **settings)
            except ConfigurationError:
                continue
            assert spec.write(TEXT)
            httpx2.Request("POST", spec.url, headers=spec.headers)


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text("ab{}to ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_trees, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_text_breaks_out_of_its_place(tree, text):
    """The body has the shape of the template, whatever the text is."""
    whole = {"t": "<{text}>", "n": "{to}", "rest": tree}
    try:
        write = template(json.dumps(whole))
    except ValueError:
        return  # an unknown name in braces
    read = json.loads(write(Text("{to}", "+1", text)))
    assert read["t"] == f"<{text}>"
    assert read["n"] == "+1"
    assert json.dumps(read["rest"]) == json.dumps(tree).replace("{to}", "+1")


@given(
    st.integers(100, 599),
    st.binary(max_size=200)
    | json_trees.map(lambda tree: json.dumps(tree).encode())
    | st.fixed_dictionaries({"code": st.integers(20000, 22000)}).map(
        lambda d: json.dumps(d).encode()
    ),
    st.none() | st.text(max_size=30) | st.integers(0, 10**12).map(str),
    st.booleans(),
    st.sampled_from([TWILIO, Codes()]),
)
def test_any_answer_has_a_meaning(status, body, retry_after, repeatable, codes):
    """Only a 2xx is an acceptance; only what blames the message is final; nothing is both."""
    verdict = judge(Answer(status, body, retry_after), codes=codes, repeatable=repeatable, now=NOW)
    assert verdict.failure is not None or 200 <= status < 300
    assert verdict.reply.isprintable()
    assert len(verdict.reply) <= 300
    assert not (verdict.uncertain and repeatable)
    assert verdict.rest >= 0
    if verdict.failure is None:
        return
    blamed = verdict.failure.scope is not Scope.RELAY
    # A refusal within a 2xx is understood by its words alone, so it may be tried again.
    assert verdict.failure.final == blamed or (blamed and 200 <= status < 300)
    assert not (verdict.failure.final and verdict.uncertain)
    assert not (verdict.failure.final and verdict.meaning is not Meaning.FINE)


def test_deep_json_is_only_a_strange_answer():
    """It does not upset the reader."""
    verdict = judge(Answer(200, b"[" * 60_000), codes=TWILIO, repeatable=False, now=NOW)
    assert verdict.failure is None


@pytest.mark.parametrize(
    ("status", "scope", "permanent", "uncertain", "meaning"),
    [
        (400, Scope.RECIPIENT, True, False, Meaning.FINE),
        (410, Scope.RECIPIENT, True, False, Meaning.FINE),
        (413, Scope.MESSAGE, True, False, Meaning.FINE),
        (422, Scope.RECIPIENT, True, False, Meaning.FINE),
        (409, Scope.RECIPIENT, True, False, Meaning.FINE),
        (401, Scope.RELAY, False, False, Meaning.ACCOUNT),
        (402, Scope.RELAY, False, False, Meaning.ACCOUNT),
        (403, Scope.RELAY, False, False, Meaning.DOUBT),
        (302, Scope.RELAY, False, False, Meaning.ACCOUNT),
        (408, Scope.RELAY, False, False, Meaning.BUSY),
        (429, Scope.RELAY, False, False, Meaning.BUSY),
        (503, Scope.RELAY, False, False, Meaning.BUSY),
        (500, Scope.RELAY, False, True, Meaning.TROUBLE),
        (502, Scope.RELAY, False, True, Meaning.TROUBLE),
        (504, Scope.RELAY, False, True, Meaning.TROUBLE),
    ],
)
def test_an_http_status_has_a_meaning(status, scope, permanent, uncertain, meaning):
    """Of a provider whose own codes are not known, that answers in JSON."""
    answer = Answer(status, b'{"code": 21211}')
    verdict = judge(answer, codes=Codes(), repeatable=False, now=NOW)
    failure = verdict.failure
    assert (failure.scope, failure.permanent, verdict.uncertain) == (scope, permanent, uncertain)
    assert verdict.meaning is meaning


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
        ("-5", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    """RFC 9110, section 10.2.3."""
    assert judge(Answer(429, b"", text), codes=TWILIO, repeatable=False, now=NOW).rest == seconds


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ({"id": "a"}, "a"),
        ({"sid": "SM1", "id": "x"}, "SM1"),
        ({"data": {"id": "b"}}, "b"),
        ({"messages": [{"to": "1", "message-id": "x", "messageId": "c"}]}, "c"),
        ({"ok": True}, '{"ok":true}'),
    ],
)
def test_the_reply_of_an_acceptance_is_the_providers_id(said, reply):
    """Where there is one near the top; else what it said."""
    body = json.dumps(said, separators=(",", ":")).encode()
    assert judge(Answer(200, body), codes=Codes(), repeatable=False, now=NOW).reply == reply


def test_secrets_repeated_by_a_provider_are_redacted():
    """Of the URL its path and query, keys in the body, the password; the words around them stay."""
    spec = read_provider(
        "https://u:pass-word@api.example/hooks/T0000-B1/send?key=query-key",
        body='{"to": "{to}", "text": "{text}", "token": "body-key-1", "kind": "message"}',
        headers='{"Authorization": "Bearer header-key"}',
    )
    said = "no POST /hooks/T0000-B1/send for T0000-B1, query-key, body-key-1, header-key, pass-word"
    assert spec.struck(said) == "no POST *** for ***, ***, ***, ***, ***"
    assert spec.struck("this message is refused") == "this message is refused"
