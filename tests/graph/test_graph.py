"""Microsoft Graph as a relay: whom it reaches, and whose trouble each answer is."""

import asyncio
import base64
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attempts import Envelope, Scope, Stage
from notifier.graph.answers import Answer, judge
from notifier.graph.carrier import LARGEST_REQUEST, Graph, addressed, probe
from notifier.oauth.refreshing import Refreshed
from notifier.oauth.requests import fetch
from notifier.oauth.sections import Kind, Section
from notifier.smtp import Relay, Relays, State
from notifier.supervisor import Supervisor
from tests.graph_api import GraphApi, error
from tests.relay import CUT, ScriptedRelay
from tests.relays import SOON
from tests.token_endpoint import TokenEndpoint

ANN, BOB, EVE = (f"{name}@example.org" for name in ("ann", "bob", "eve"))
SOURCE = f"To: Ann <{ANN}>\r\nSubject: Hello\r\n\r\nGood day.\r\n".encode()


def envelope(*recipients):
    return Envelope("noreply@corp.example", recipients or (ANN,))


@contextlib.asynccontextmanager
async def mailbox(folder, *answers, endpoint_answers=(), others=(), **options):
    """Graph, the endpoint of its tokens, and relays that begin with it."""
    (folder / "secret").write_text("hush-hush")
    supervisor = Supervisor()
    async with TokenEndpoint(*endpoint_answers) as endpoint, GraphApi(endpoint, *answers) as api:
        section = Section(
            name="m365",
            kind=Kind.SECRET,
            preset="microsoft",
            token_url=endpoint.url,
            client_id="us",
            secret_file=str(folder / "secret"),
        )
        async with Refreshed(section, supervisor=supervisor, fetch=fetch) as tokens:
            carrier = Graph(api.spec, tokens, **options)
            first = Relay(api.spec, tokens=tokens, carrier=carrier, rests=SOON)
            relays = Relays([first, *(Relay(each.spec, rests=SOON) for each in others)])
            try:
                yield api, relays
            finally:
                await relays.close()
    await supervisor.close()


# ---------------------------------------------------------------- what is sent


async def test_the_source_goes_as_it_is(tmp_path):
    """In base64 as text/plain, for the mailbox; 202 is sent."""
    async with mailbox(tmp_path) as (api, relays):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted == (ANN,)
        assert (attempt.stage, attempt.code) == (Stage.DOT, 202)
        assert attempt.reply == "202 (request-id r-1)"
        assert "token-1" not in "".join(attempt.conversation)
        assert relays.states()[0].token.source == api.endpoint.url
    assert api.received == [([ANN], SOURCE)]
    assert api.requests[0].fields["content-type"] == "text/plain"


async def test_hidden_recipients_are_named_in_bcc(tmp_path):
    """There is no envelope, so only recipients in a header field get the mail."""
    async with mailbox(tmp_path) as (api, relays):
        attempt = await relays.send(envelope(ANN, BOB, EVE), SOURCE)
    assert attempt.accepted == (ANN, BOB, EVE)
    ((recipients, source),) = api.received
    assert recipients == [ANN, BOB, EVE]
    assert source == f"Bcc: <{BOB}>,\r\n <{EVE}>\r\n".encode() + SOURCE


async def test_recipient_who_has_the_message_gets_no_second_copy(tmp_path):
    """Ann is named in the header and not meant any more: another relay has to take it."""
    async with ScriptedRelay() as other, mailbox(tmp_path, others=[other]) as (api, relays):
        attempt = await relays.send(envelope(BOB), SOURCE)
        assert attempt.accepted == (BOB,)
        assert relays.states()[0].state is State.CLOSED
    assert api.requests == []
    assert [recipients for _, recipients, _ in other.received] == [(BOB,)]


async def test_message_that_no_relay_can_send_fails_with_a_reason(tmp_path):
    """It is not put off until it expires."""
    async with mailbox(tmp_path) as (api, relays):
        attempt = await relays.send(envelope(BOB), SOURCE)
        assert attempt.failures[BOB].final
        assert "names other recipients" in attempt.failures[BOB].reply
        large = SOURCE + b"x" * (LARGEST_REQUEST * 3 // 4)
        attempt = await relays.send(envelope(), large)
        assert attempt.failures[ANN].final
        assert attempt.failures[ANN].name == "too_large"
        fits = SOURCE.ljust(LARGEST_REQUEST // 4 * 3, b"x")
        assert (await relays.send(envelope(), fits)).accepted
    assert len(api.requests) == 1


@given(
    st.lists(st.sampled_from([ANN, BOB, EVE, "Ann@Example.ORG"]), max_size=4),
    st.lists(st.sampled_from([ANN, BOB, EVE]), min_size=1, max_size=3, unique=True),
    st.binary(max_size=30),
)
def test_exactly_the_recipients_get_the_message(named, recipients, body):
    """Whatever the header names: all recipients and no others, or it is not sent this way."""
    fields = f"To: {', '.join(named)}\r\n" if named else ""
    content = fields.encode() + b"Subject: x\r\n\r\n" + body
    source = addressed(content, tuple(recipients))
    meant, seen = set(recipients), {each.casefold() for each in named}
    if source is None:
        assert seen - meant
    else:
        assert source.endswith(content)
        bcc = source[: len(source) - len(content)].decode()
        assert seen | {each for each in meant if f"<{each}>" in bcc} == meant


@given(st.binary(max_size=300))
def test_any_source_is_sent_or_not(content):
    """Nothing in it is an exception."""
    source = addressed(content, (ANN,))
    assert source is None or source.endswith(content)


# ---------------------------------------------------------------- tokens


async def test_a_refused_token_is_fetched_anew_once(tmp_path):
    """401 to a token that is over costs one more request, and no try."""
    async with mailbox(tmp_path) as (api, relays):
        assert (await relays.send(envelope(), SOURCE)).accepted
        api.endpoint.good.clear()
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert (api.refused, len(api.received)) == (1, 2)
        api.endpoint.known = False
        api.endpoint.good.clear()
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "token_refused"
        assert not attempt.charged
        assert api.refused == 3
        assert relays.states()[0].state is State.OPEN


async def test_without_a_token_nothing_is_asked(tmp_path):
    """It is the relay's trouble."""
    async with mailbox(tmp_path, endpoint_answers=(CUT, CUT, CUT)) as (api, relays):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "token_unavailable"
        assert not attempt.charged
    assert api.requests == []


# ---------------------------------------------------------------- what an answer means


@pytest.mark.parametrize(
    ("answer", "scope", "name", "final"),
    [
        (error(403, "ErrorAccessDenied"), Scope.RELAY, "access_denied", False),
        (error(403, "ErrorSendAsDenied"), Scope.RELAY, "sender_not_allowed", False),
        (error(404, "ErrorInvalidUser"), Scope.RELAY, "mailbox_unknown", False),
        (error(429, "ApplicationThrottled", Retry_After=7), Scope.RELAY, "throttled", False),
        (error(503, "serviceNotAvailable"), Scope.RELAY, "throttled", False),
        (error(400, "ErrorInvalidRecipients"), Scope.MESSAGE, "", True),
        (error(400, "ErrorMimeContentInvalid"), Scope.MESSAGE, "", True),
        (error(422, "whatever"), Scope.MESSAGE, "", False),
        (error(413, ""), Scope.MESSAGE, "too_large", True),  # no relay is left
        (error(429, "ErrorExceededMessageLimit"), Scope.RELAY, "throttled", False),
        (error(500, "ErrorExceededMessageLimit"), Scope.RELAY, "quota_exceeded", False),
        (error(500, "ErrorInternalServerError"), Scope.RELAY, "server_error", False),
        (error(302, ""), Scope.RELAY, "server_error", False),
    ],
)
async def test_an_answer_is_the_trouble_of_the_relay_or_the_message(
    answer, scope, name, final, tmp_path
):
    """The table of `answers`; the relay's trouble is never charged."""
    async with mailbox(tmp_path, answer) as (_, relays):
        attempt = await relays.send(envelope(), SOURCE)
        failure = attempt.failures[ANN]
        assert (failure.scope, failure.name, failure.final) == (scope, name, final)
        assert attempt.charged is (scope is not Scope.RELAY)
        assert not attempt.uncertain


async def test_it_is_left_alone_for_as_long_as_it_asks(tmp_path):
    """429 with Retry-After lets the relay rest at once, and costs no try."""
    async with mailbox(tmp_path, error(429, "TooManyRequests", Retry_After=40)) as (_, relays):
        attempt = await relays.send(envelope(), SOURCE)
        assert not attempt.charged
        (state,) = relays.states()
        assert state.state is State.OPEN
        assert (state.pace, state.throttled) == (None, 1)  # it has said what it wants
        assert 35 < (state.opens_at - datetime.now(UTC)).total_seconds() <= 40


@pytest.mark.parametrize("answer", [CUT, error(504, "UnknownError"), error(502, "BadGateway")])
async def test_a_request_without_an_answer_is_uncertain(answer, tmp_path):
    """The request was out: it may have been sent."""
    async with mailbox(tmp_path, answer) as (_, relays):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.uncertain
        assert not attempt.accepted


async def test_silence_at_the_dot_is_uncertain(tmp_path):
    """After its time; the same where the service stops."""
    async with mailbox(tmp_path, answer_seconds=2.0) as (api, relays):
        api.held.clear()
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.uncertain
        assert "no answer within" in attempt.reply
    async with mailbox(tmp_path) as (api, relays):
        api.held.clear()
        send = asyncio.create_task(relays.send(envelope(), SOURCE))
        await api.asked.wait()
        relays.abort_all()
        assert (await send).uncertain


async def test_a_refused_connection_goes_to_the_next_relay_at_once(tmp_path):
    """Nothing was out; the next relay is asked at once."""
    async with ScriptedRelay() as other, mailbox(tmp_path, others=[other]) as (api, relays):
        api._server.close()
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted
        assert not attempt.uncertain


@given(st.integers(100, 599), st.binary(max_size=100), st.text(max_size=40))
def test_any_answer_has_a_meaning(status, body, retry_after):
    """Whatever comes: sent, or a failure that says why in one line."""
    answer = Answer(status, body, retry_after)
    verdict = judge(answer)
    assert (verdict.failure is None) is (200 <= status < 300)
    assert answer.reply.isprintable()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("30", 30), ("0", 1), ("", 5), ("soon", 5), ("Tue, 01 Dec 2026 10:00:20 GMT", 20)],
)
def test_retry_after_is_seconds_or_a_date(said, seconds):
    """RFC 9110, section 10.2.3; without one it is a while."""
    now = datetime(2026, 12, 1, 10, tzinfo=UTC)
    assert judge(Answer(429, b"", said), now=now).failure.wait == seconds


# ---------------------------------------------------------------- check


async def findings(folder, *answers, **options):
    async with mailbox(folder, *answers, **options) as (api, relays):
        found = [each async for each in probe(api.spec, relays._relays[0]._tokens)]
        assert api.received == []
        assert base64.b64encode(SOURCE).decode() not in str(api.requests)
        return found


async def test_check_sends_nothing(tmp_path):
    """What is not a message is refused for that, by a mailbox that may send."""
    token, sending = await findings(tmp_path)
    assert token.ok
    assert "good until" in token.said
    assert sending.ok
    assert "noreply@corp.example may send" in sending.said


async def test_check_names_the_fault_and_its_remedy(tmp_path):
    """The fault has a name, and the name has a remedy."""
    denied = (401, {"error": "invalid_client"})
    (token,) = await findings(tmp_path, endpoint_answers=(denied, denied))
    assert (token.ok, token.remedy) == (False, "token_denied")
