"""Return paths and requests for reports, as they go over the wire."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.attempts import Envelope, Notify
from notifier.smtp.dsn import rcpt_parameters
from notifier.verp import Verp
from tests.relay import CUT, FEATURES, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, envelope, sending

ID = "019a2205695bb8264e2db0a75293404d"
PATH, STAR = "bounces@example.net", "bounces+*@example.net"
DSN = (*FEATURES, "DSN")
VERP = Verp(b"secret")


def reported(*recipients, path=PATH, **changes):
    """An envelope whose return path is set."""
    made = envelope(*recipients, smtputf8=changes.pop("smtputf8", False))
    return replace(made, id=ID, return_path=path, **changes)


def said(relay, verb):
    """What was said by this command, each time."""
    return [line for line in relay.heard if line.startswith(verb)]


async def test_a_relay_with_dsn_is_asked_for_reports():
    """MAIL names the message, RCPT the recipient and what to report."""
    async with ScriptedRelay(features=DSN) as relay, sending(relay.spec, verp=VERP) as relays:
        attempt = await relays.send(reported(ANN, BOB), SOURCE)
    assert attempt.accepted == (ANN, BOB)
    assert said(relay, "MAIL") == [f"MAIL FROM:<{PATH}> SIZE={len(SOURCE)} RET=HDRS ENVID={ID}"]
    assert said(relay, "RCPT") == [
        f"RCPT TO:<{each}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;{each}" for each in (ANN, BOB)
    ]


@pytest.mark.parametrize(
    ("notify", "written"),
    [((), "NEVER"), ((Notify.SUCCESS,), "SUCCESS"), (tuple(Notify), "FAILURE,DELAY,SUCCESS")],
)
async def test_a_message_says_what_is_to_be_reported(notify, written):
    """An empty list is NEVER."""
    async with ScriptedRelay(features=DSN) as relay, sending(relay.spec, verp=VERP) as relays:
        await relays.send(reported(ANN, notify=notify), SOURCE)
    assert said(relay, "RCPT") == [f"RCPT TO:<{ANN}> NOTIFY={written} ORCPT=rfc822;{ANN}"]


async def test_a_relay_without_dsn_gets_the_return_path_alone():
    """It would refuse parameters that it does not know."""
    async with ScriptedRelay() as relay, sending(relay.spec, verp=VERP) as relays:
        await relays.send(reported(ANN), SOURCE)
    assert said(relay, "MAIL") == [f"MAIL FROM:<{PATH}> SIZE={len(SOURCE)}"]
    assert said(relay, "RCPT") == [f"RCPT TO:<{ANN}>"]


async def test_without_a_return_path_the_sender_gets_no_reports():
    """The envelope is as it was before there were return paths."""
    async with ScriptedRelay(features=DSN) as relay, sending(relay.spec, verp=VERP) as relays:
        await relays.send(reported(ANN, path=""), SOURCE)
    assert said(relay, "MAIL") == [f"MAIL FROM:<us@example.org> SIZE={len(SOURCE)}"]
    assert said(relay, "RCPT") == [f"RCPT TO:<{ANN}>"]


async def test_the_return_path_of_a_relay_goes_first():
    """It may take no other."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"return_path": "only@example.com"}, verp=VERP) as relays,
    ):
        await relays.send(reported(ANN), SOURCE)
    ((sender, _, _),) = relay.received
    assert sender == "only@example.com"


async def test_a_star_gives_each_recipient_a_transaction():
    """From an address that names message and recipient; the outcome is that of all."""
    async with ScriptedRelay(features=DSN) as relay, sending(relay.spec, verp=VERP) as relays:
        relay.answer("RCPT", "550 5.1.1 no such user", to=BOB)
        attempt = await relays.send(reported(ANN, BOB, EVE, path=STAR), SOURCE)
    assert attempt.accepted == (ANN, EVE)
    assert attempt.failures[BOB].code == 550
    assert [recipients for _, recipients, _ in relay.received] == [(ANN,), (EVE,)]
    for sender, (recipient,), _ in relay.received:
        mark = VERP.read_address(STAR, sender)
        assert mark.id == ID
        assert mark.names(recipient)
    assert len(relay.connections) == 1


async def test_a_relay_that_fails_amid_them_hands_the_rest_on():
    """Who has it does not get it again; the next relay takes it for the others."""
    async with (
        ScriptedRelay() as first,
        ScriptedRelay() as second,
        sending(first.spec, replace(second.spec, name="second"), verp=VERP) as relays,
    ):
        first.answer("MAIL", "421 4.3.2 going down", after=1)
        attempt = await relays.send(reported(ANN, BOB, EVE, path=STAR), SOURCE)
    assert set(attempt.accepted) == {ANN, BOB, EVE}
    assert [recipients for _, recipients, _ in first.received] == [(ANN,)]
    # For the second again on a new connection, and for the third not at all.
    assert len(said(first, "MAIL")) == 3
    assert [recipients for _, recipients, _ in second.received] == [(BOB,), (EVE,)]


async def test_no_recipient_is_tried_after_an_uncertain_one():
    """The others stay pending, and nothing is said against them."""
    async with ScriptedRelay() as relay, sending(relay.spec, verp=VERP) as relays:
        relay.answer("DOT", CUT, after=1)
        attempt = await relays.send(reported(ANN, BOB, EVE, path=STAR), SOURCE)
    assert attempt.accepted == (ANN,)
    assert attempt.uncertain
    assert set(attempt.failures) == {BOB}


async def test_an_address_that_is_not_ascii_is_written_as_rfc_6533_has_it():
    """In a form that servers without SMTPUTF8 pass on."""
    async with ScriptedRelay(features=DSN) as relay, sending(relay.spec, verp=VERP) as relays:
        await relays.send(reported("jörg+a=b@example.org", smtputf8=True), SOURCE)
    (line,) = said(relay, "RCPT")
    assert line.endswith(r" ORCPT=utf-8;j\x{F6}rg\x{2B}a\x{3D}b@example.org")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_the_original_recipient_can_be_read_back(address):
    """Whatever the address holds, the parameter is one word of printable ASCII."""
    written = rcpt_parameters(Envelope("", ()), address).partition(" ORCPT=")[2]
    if not written:  # a command has no room for it
        assert len(address) > 50
        return
    kind, _, text = written.partition(";")
    assert re.fullmatch(r"[!-~]+", written)
    if kind == "rfc822":
        read = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
    else:
        read = re.sub(r"\\x\{([0-9A-F]{2,6})\}", lambda found: chr(int(found[1], 16)), text)
    assert read == address
