"""Logins with an access token: the two mechanisms, and what a refusal leads to."""

import asyncio
import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.attempts import Stage
from notifier.smtp import State
from notifier.smtp.login import LONGEST_COMMAND, TokenLogin
from notifier.smtp.probe import probe
from notifier.tokens import DENIED, UNAVAILABLE, NoToken, Token, TokenState
from tests.relay import FEATURES, ScriptedRelay
from tests.relays import ANN, SOURCE, envelope, sending

USER = {"username": "us@corp.example", "oauth": "m365"}
XOAUTH2 = (*FEATURES, "AUTH XOAUTH2 OAUTHBEARER PLAIN")
LONG = "x" * 2000  # as Microsoft's are
TROUBLE = '{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'


class Given:
    """Tokens in their order; a NoToken among them is raised."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.renewed = 0
        self.ended = None

    def _next(self):
        token = self.tokens[0]
        if isinstance(token, NoToken):
            raise token
        return Token(token, "https://login.example", datetime(2026, 12, 1, tzinfo=UTC))

    async def get(self):
        return self._next()

    async def renew(self, refused):
        self.renewed += 1
        if len(self.tokens) > 1:
            self.tokens.pop(0)
        return self._next()

    def state(self):
        return TokenState(source="x", good_until=None, trouble="", failing_since=None)

    def listen(self, ended):
        self.ended = ended


class Challenging(ScriptedRelay):
    """Asks for a response that did not come with the command, and tells why it refuses one."""

    why = ""

    def challenges(self, argument):
        why = [base64.b64encode(self.why.encode()).decode()] if self.why else []
        return why if " " in argument else ["", *why]


def said(way, token):
    bearer = f"auth=Bearer {token}\x01\x01"
    if way == "XOAUTH2":
        return f"user=us@corp.example\x01{bearer}"
    return f"n,a=us@corp.example,\x01host=127.0.0.1\x01port={{port}}\x01{bearer}"


@pytest.mark.parametrize("token", ["short", LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    ("offered", "way"), [("XOAUTH2 OAUTHBEARER PLAIN", "XOAUTH2"), ("OAUTHBEARER", "OAUTHBEARER")]
)
async def test_the_token_goes_with_the_command_where_it_is_short_enough(offered, way, token):
    """RFC 4954, section 4: else the relay is waited for. OAUTHBEARER where only that is offered."""
    async with (
        Challenging(features=(*FEATURES, f"AUTH {offered}")) as relay,
        sending(relay.spec, changes=USER, tokens=Given(token)) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted
        coded = base64.b64encode(said(way, token).format(port=relay.port).encode()).decode()
        sent = relay.heard[1 : relay.verbs().index("MAIL")]
        assert sent == ([f"AUTH {way}", coded] if token == LONG else [f"AUTH {way} {coded}"])
        kept = "\n".join(attempt.conversation)
        assert token not in kept
        assert coded not in kept
        assert "token from https://login.example" in kept


@pytest.mark.parametrize(("way", "nothing"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
async def test_the_reason_of_a_refusal_is_answered_and_kept(way, nothing):
    """The 334 with JSON wants an answer that says nothing, and only then comes the 535."""
    async with Challenging(features=(*FEATURES, f"AUTH {way}")) as relay:
        relay.why = TROUBLE
        relay.answer("AUTH", "535 5.7.8 not accepted")
        tokens = Given("old", "new")
        async with sending(relay.spec, changes=USER, tokens=tokens) as relays:
            attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "token_refused"
        assert relay.heard[2] == relay.heard[4] == nothing
        assert f"   {TROUBLE}" in attempt.conversation
        assert "MAIL" not in relay.verbs()


async def test_a_refused_token_is_fetched_anew_once():
    """A token that was revoked costs one more login on the same connection, and no try."""
    async with ScriptedRelay(features=XOAUTH2) as relay:
        relay.answer("AUTH", "535 5.7.3 unsuccessful", times=1)
        tokens = Given("old", "new")
        async with sending(relay.spec, changes=USER, tokens=tokens) as relays:
            assert (await relays.send(envelope(), SOURCE)).accepted
        assert tokens.renewed == 1
        assert len(relay.connections) == 1


async def test_a_relay_that_refuses_a_new_token_rests():
    """Two logins and no more; it is the relay's trouble, and not charged."""
    async with ScriptedRelay(features=XOAUTH2) as relay:
        relay.answer("AUTH", "535 5.7.139 SmtpClientAuthentication is disabled")
        tokens = Given("old", "new")
        async with sending(relay.spec, changes=USER, tokens=tokens) as relays:
            attempt = await relays.send(envelope(), SOURCE)
            assert relays.states()[0].state is State.OPEN
        assert not attempt.charged
        assert attempt.failures[ANN].name == "token_refused"
        assert relay.verbs().count("AUTH") == 2


@pytest.mark.parametrize("name", [DENIED, UNAVAILABLE])
async def test_without_a_token_there_is_no_connection(name):
    """The relay rests, and is tried at once when there is one again."""
    tokens = Given(NoToken(name, "the endpoint is down"))
    async with (
        ScriptedRelay(features=XOAUTH2) as relay,
        sending(relay.spec, changes=USER, tokens=tokens) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
        assert not attempt.charged
        assert (attempt.failures[ANN].name, attempt.stage) == (name, Stage.AUTH)
        assert attempt.reply == "the endpoint is down"
        assert not relay.connections
        assert relays.states()[0].state is State.OPEN
        tokens.tokens = ["new"]
        tokens.ended()
        assert relays.room() > 0
        assert (await relays.send(envelope(), SOURCE)).accepted


async def test_a_relay_without_a_mechanism_for_tokens_is_reported():
    """The password mechanisms that it offers are of no use."""
    async with ScriptedRelay(features=(*FEATURES, "AUTH PLAIN LOGIN")) as relay:
        spec = replace(relay.spec, **USER)
        found = [each async for each in probe(spec, tokens=Given("t"))]
    assert [each.step for each in found] == ["token", "DNS", "TCP", "greeting", "EHLO", "login"]
    assert "until 2026-12-01 00:00:00 UTC" in found[0].said
    assert "takes a token; the relay offers: PLAIN, LOGIN" in found[-1].said


@given(st.text(), st.sampled_from(["XOAUTH2", "OAUTHBEARER"]), st.integers(1, 3000))
def test_a_login_says_its_secret_once_and_is_one_line(challenge, way, length):
    """Whatever a relay asks, and however often."""
    login = TokenLogin(way, "us@corp.example", "t" * length, host="h", port=1)
    lines = [login.command, *(login.answer(challenge) for _ in range(4))]
    assert len(login.command) <= LONGEST_COMMAND
    assert sum(login.secrets[0] in (line or "") for line in lines) == 1
    assert "\n" not in "".join(line or "" for line in lines)
    assert login.secrets[0] not in login.shown
    assert lines[-1] is None
    login.error_in(challenge)


async def test_a_message_that_waits_for_a_token_can_be_called_off():
    """Stopping ends the wait."""

    class Never(Given):
        async def get(self):
            await asyncio.Event().wait()

    async with (
        ScriptedRelay(features=XOAUTH2) as relay,
        sending(relay.spec, changes=USER, tokens=Never()) as relays,
    ):
        send = asyncio.create_task(relays.send(envelope(), SOURCE))
        await relay.until(lambda: relays.states()[0].busy)
        relays.abort_all()
        assert (await send).failures[ANN].name == "aborted"
