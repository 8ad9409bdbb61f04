"""A relay behind a proxy: by CONNECT and by SOCKS5, and what goes wrong on the way."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.errors import ConfigurationError
from notifier.proxies import Proxy as Address
from notifier.proxies import read_proxy, write_proxy
from notifier.settings import Settings
from notifier.settings.relays import read_relays, write_relays
from notifier.smtp.probe import probe
from tests.process import free_port
from tests.proxy import Proxy
from tests.relay import ScriptedRelay
from tests.relays import ANN, BOB, SHORT, SOURCE, copies, envelope, sending

LOGIN = ("us", "p@ss:wörd")
by_both = pytest.mark.parametrize("scheme", ["http", "socks5"])


def through(relay, scheme, proxy, *, host="mail.corp.example", login=("", "")):
    """The relay's spec behind this proxy, by a name that only the proxy can look up."""
    user, password = login
    address = Address(
        scheme=scheme, host="127.0.0.1", port=proxy.port, username=user, password=password
    )
    return replace(relay.spec, host=host, proxy=address)


def knowing(**options):
    return Proxy(names={"mail.corp.example": "127.0.0.1"}, **options)


@by_both
@pytest.mark.parametrize("together", [False, True], ids=["apart", "greeting in the same packet"])
async def test_a_relay_is_reached_through_a_proxy(scheme, together):
    """
    The proxy looks up the relay's name. The connection is kept, and the conversation names the
    proxy.
    """
    async with (
        ScriptedRelay() as relay,
        knowing(together=together) as proxy,
        sending(through(relay, scheme, proxy)) as relays,
    ):
        first = await relays.send(envelope(), SOURCE)
        assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert proxy.asked == [f"mail.corp.example:{relay.port}"]
    assert copies(relay) == {ANN: 1, BOB: 1}
    assert any(f"proxy {scheme}://127.0.0.1:{proxy.port}" in line for line in first.conversation)


@by_both
async def test_a_proxy_wants_a_login(scheme):
    """With user and password it works. Without them the fault says so, and contains no password."""
    async with ScriptedRelay() as relay, knowing(login=LOGIN) as proxy:
        async with sending(through(relay, scheme, proxy, login=LOGIN)) as relays:
            sent = await relays.send(envelope(), SOURCE)
            assert sent.accepted
            assert LOGIN[1] not in repr(sent)
        for login in (("", ""), ("us", "no-such-secret")):
            async with sending(through(relay, scheme, proxy, login=login)) as relays:
                refused = await relays.send(envelope(), SOURCE)
                assert refused.failures[ANN].name == "proxy_auth_failed"
                assert not refused.charged
                assert "no-such-secret" not in repr((refused, relays.states()))


@pytest.mark.parametrize(
    ("scheme", "refuses", "words"),
    [("http", 403, "403 Forbidden by policy"), ("socks5", 2, "its rules do not allow it")],
)
async def test_a_proxy_that_refuses_is_the_relays_trouble(scheme, refuses, words):
    """In the proxy's words, under a name of its own; the message is not charged."""
    async with (
        ScriptedRelay() as relay,
        knowing(refuses=refuses) as proxy,
        sending(through(relay, scheme, proxy)) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
    failure = attempt.failures[ANN]
    assert (failure.name, attempt.charged) == ("proxy_refused", False)
    assert words in failure.reply
    assert not relay.connections


@by_both
async def test_a_proxy_that_is_away_or_silent_is_not_the_relay_being_down(scheme):
    """Nobody listens there; or it never answers."""
    async with ScriptedRelay() as relay, Proxy(silent=True) as proxy:
        for port in (free_port(), proxy.port):
            spec = through(relay, scheme, proxy)
            spec = replace(spec, proxy=Address(scheme=scheme, host="127.0.0.1", port=port))
            async with sending(spec, timeouts=SHORT) as relays:
                attempt = await relays.send(envelope(), SOURCE)
                assert attempt.failures[ANN].name == "proxy_unreachable"
                assert f"{scheme}://127.0.0.1:{port} cannot be reached" in attempt.reply


async def test_server_that_is_no_proxy_is_reported():
    """An SMTP server in its place is reported for both kinds of proxies."""
    async with ScriptedRelay() as relay:
        for scheme, name in (("http", "proxy_refused"), ("socks5", "proxy_refused")):
            spec = through(relay, scheme, relay)
            async with sending(spec, timeouts=SHORT) as relays:
                attempt = await relays.send(envelope(), SOURCE)
                assert attempt.failures[ANN].name in (name, "proxy_unreachable")


@by_both
async def test_check_shows_the_proxy(scheme):
    """The proxy is a step of its own, with a remedy."""
    async with ScriptedRelay() as relay, knowing() as proxy:
        found = [each async for each in probe(through(relay, scheme, proxy))]
        assert [each.step for each in found[:4]] == ["DNS", "TCP", "proxy", "greeting"]
        assert all(each.ok for each in found)
        proxy.refuses = 403 if scheme == "http" else 2
        *_, last = [each async for each in probe(through(relay, scheme, proxy))]
        assert (last.step, last.ok) == ("proxy", False)
        assert "Do its rules allow" in last.remedy


# ---------------------------------------------------------------- settings


def test_a_relay_names_its_proxy():
    """Secrets are struck out wherever it is shown."""
    (spec,) = read_relays("smtp://mail.example?proxy=http://us:s3cret@proxy.example:8080")
    assert spec.proxy == Address(
        scheme="http", host="proxy.example", port=8080, username="us", password="s3cret"
    )
    shown = write_relays((spec,)) + repr(spec) + repr(spec.proxy)
    assert "s3cret" not in shown
    assert "proxy.example:8080" in shown
    (spec,) = read_relays("smtp://mail.example?proxy=socks5://proxy.example")
    assert (spec.proxy.scheme, spec.proxy.port) == ("socks5", 1080)


@pytest.mark.parametrize(
    "wrong",
    [
        "ftp://proxy.example",
        "proxy.example:3128",
        "http://",
        "http://proxy.example:0",
        "http://proxy.example:99999",
        "http://:s3cret@proxy.example",
        "http://us:s3cret@proxy.example/path",
        "socks5://us:" + 256 * "s" + "@proxy.example",
    ],
)
def test_a_wrong_proxy_is_reported_by_name(wrong):
    """The fault names the parameter, and repeats no secret."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.read({"NOTIFIER_RELAYS": f"smtp://mail.example?proxy={wrong}"})
    (fault,) = raised.value.faults
    assert "proxy= takes" in fault
    assert "s3cret" not in fault
    assert "sss" not in fault


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_any_user_and_password_can_be_written(text):
    """Percent-encoded, each comes out as it went in; shown, the password does not."""
    address = Address(scheme="http", host="h", port=1, username=text, password=text)
    assert read_proxy(address.url) == address
    assert write_proxy(address).endswith(":***@h:1")


@given(st.text(max_size=40))
def test_no_text_breaks_the_parser(text):
    """It is a proxy, or a ValueError."""
    with contextlib.suppress(ValueError):
        read_proxy(text)
