"""From a text message to a gateway's mails, and one delivery of several parts."""

import email
import email.policy
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attempts import Attempt, Envelope, Failure, Scope, Stage
from notifier.capture import Capture
from notifier.compose import compose
from notifier.deliveries import Delivery, Status
from notifier.errors import InvalidMessage
from notifier.messages import Email, Long, Sms
from notifier.recipients import Recipient, RecipientStatus, in_parts
from notifier.sms import Carriers, Parts, admit, count, join, to_emails, to_text
from notifier.smtp import Relay, Relays

CARRIERS = Carriers.read()
TODAY = date(2026, 11, 25)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SENDER = "alerts@example.org"


def _admit(sms, *, region=None, provider=False):
    return admit(sms, carriers=CARRIERS, region=region, today=TODAY, provider=provider)


def _emails(sms, *, sender=SENDER):
    admitted = _admit(sms)
    return to_emails(sms, admitted.carrier, number=admitted.number, sender=sender)


def test_the_channel_distinguishes_texts_from_emails():
    """Both are read by one decoder, as the API does."""
    decoder = msgspec.json.Decoder(Email | Sms)
    sms = decoder.decode(b'{"channel": "sms", "to": "+12025550123", "text": "Hi"}')
    assert sms == Sms(to="+12025550123", text="Hi")
    assert (sms.long, sms.downgrade, sms.carrier) == (Long.SPLIT, False, None)
    for wrong in (b'"text": ""', b'"text": "a\\u0000"', b'"text": "a", "long": "cut"'):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(b'{"channel": "sms", "to": "+12025550123", ' + wrong + b"}")


def test_a_gateway_gets_one_plain_mail():
    """To the national number at the gateway; no subject, no HTML; the labels go along."""
    sms = Sms(to="(202) 555-0123", carrier="verizon", text="Doors open", user_id=7, tags=("x",))
    (mail,) = _emails(sms)
    assert mail.to == ("2025550123@vtext.com",)
    assert (mail.sender, mail.subject, mail.html) == (SENDER, "", None)
    assert (mail.text, mail.user_id, mail.tags) == ("Doors open", 7, ("x",))


def test_the_mail_on_the_wire_is_one_part_of_seven_bits():
    """GSM text that is ASCII needs no encoding, which a gateway would show as it is."""
    (mail,) = _emails(Sms(to="2025550123", carrier="Google Fi", text="Code: 123456 = yes"))
    composed = compose(mail, id="a1", sender=None, at=NOW)
    read = email.message_from_bytes(composed.content, policy=email.policy.default)
    assert read.get_content_type() == "text/plain"
    assert not read.is_multipart()
    assert read["Content-Transfer-Encoding"] in (None, "7bit")
    assert not read["Subject"]
    assert b"\r\n\r\nCode: 123456 = yes\r\n" in composed.content
    assert composed.envelope == Envelope(SENDER, ("2025550123@msg.fi.google.com",))


def test_a_long_text_is_several_mails():
    """Each of which fits, and tells its place."""
    mails = _emails(Sms(to="2025550123", carrier="fi", text="All work and no play. " * 20))
    assert [mail.text[-5:] for mail in mails] == ["(1/3)", "(2/3)", "(3/3)"]
    assert all(count(mail.text).segments == 1 for mail in mails)
    assert {mail.to for mail in mails} == {("2025550123@msg.fi.google.com",)}


def test_a_gateway_that_counts_the_address_gets_shorter_texts():
    """Verizon's 160 include the sender's address."""
    text = "x" * 150
    assert len(_emails(Sms(to="2025550123", carrier="fi", text=text))) == 1
    first, _ = _emails(Sms(to="2025550123", carrier="verizon", text=text))
    assert len(first.text) + len(SENDER) + 1 == 160


def test_long_texts_are_refused_or_sent_whole_as_asked():
    """For a gateway as for a provider; a provider splits by itself."""
    sms = Sms(to="2025550123", carrier="fi", text="x" * 200)
    assert [mail.text for mail in _emails(msgspec.structs.replace(sms, long=Long.SEND))] == [
        sms.text
    ]
    assert to_text(sms) == sms.text
    refused = msgspec.structs.replace(sms, long=Long.REFUSE)
    for send in (_emails, to_text):
        with pytest.raises(InvalidMessage, match="/text: needs 200 units"):
            send(refused)


def test_lines_end_in_one_character_and_quotes_become_plain_if_asked():
    """A carriage return would be paid for; typography would cost more than half of the room."""
    sms = Sms(to="2025550123", carrier="fi", text="“a”\r\nb\rc")
    assert _admit(sms).text == "“a”\nb\nc"
    plain = _admit(msgspec.structs.replace(sms, downgrade=True))
    assert (plain.text, plain.segments.encoding) == ('"a"\nb\nc', "gsm-7")


def test_the_carriers_country_is_the_region():
    """So that a national number needs no setting; another country's cannot be reached."""
    assert _admit(Sms(to="2025550123", carrier="fi", text="x"), region="DE").number.country == 1
    with pytest.raises(InvalidMessage, match="Google Fi cannot reach"):
        _admit(Sms(to="+4915123456789", carrier="fi", text="x"))


def test_all_faults_of_a_text_are_reported_at_once():
    """Number, carrier and text, each by its pointer."""
    with pytest.raises(InvalidMessage) as refused:
        _admit(Sms(to="12", carrier="nobody", text=" \n"), region="US")
    assert {fault.pointer for fault in refused.value.faults} == {"/to", "/carrier", "/text"}
    with pytest.raises(InvalidMessage, match="/text: is missing or blank"):
        _admit(Sms(to="2025550123", carrier="fi", text="\r\n"))
    with pytest.raises(
        InvalidMessage, match="/text: has 1601 characters; at most 1600 are allowed"
    ):
        _admit(Sms(to="2025550123", carrier="fi", text="x" * 1601))
    assert _admit(Sms(to="2025550123", carrier="fi", text="x" * 1600)).segments.segments == 11


def test_a_dead_gateway_is_refused_and_a_failing_one_warned_of():
    """At the door."""
    with pytest.raises(InvalidMessage, match=r"/carrier: .* is dead since 2025-06-17"):
        _admit(Sms(to="2025550123", carrier="AT&T", text="x"))
    (warning,) = _admit(Sms(to="2025550123", carrier="Verizon", text="x")).warnings
    assert "2027-03-31" in warning


def test_without_a_provider_a_carrier_is_needed():
    """With a provider no carrier is needed, and a given one is ignored."""
    with pytest.raises(InvalidMessage, match="/carrier: is needed"):
        _admit(Sms(to="+12025550123", text="x"))
    for carrier in (None, "AT&T", "Verizon", "nobody"):
        admitted = _admit(Sms(to="+12025550123", carrier=carrier, text="x"), provider=True)
        assert (admitted.carrier, admitted.warnings) == (None, ())
    national = _admit(Sms(to="2025550123", carrier="AT&T", text="x"), provider=True)
    assert national.number.e164 == "+12025550123"


class Carrying:
    """Carries mail: takes what it is given, but answers as it was told where it was told so."""

    def __init__(self, answers=()):
        self.taken = []
        self.answers = list(answers)

    paced = False

    def room(self):
        return 3

    async def wait_for_room(self):
        return None

    def abort_all(self):
        self.aborted = True

    async def send(self, envelope, content):
        self.taken.append((envelope, content))
        answer = self.answers.pop(0) if self.answers else None
        failure = answer if isinstance(answer, Failure) else None
        return Attempt(
            relay="r",
            started_at=NOW,
            seconds=0.0,
            stage=Stage.DOT,
            reply="250 ok" if answer is None else "no",
            code=250 if answer is None else None,
            accepted=envelope.recipients if answer is None else (),
            failures=dict.fromkeys(envelope.recipients, failure) if failure else {},
            uncertain=answer == "uncertain",
            conversation=(f"S: {content.decode()}",),
        )


def _failure(scope, *, permanent):
    return Failure(scope=scope, permanent=permanent, stage=Stage.RCPT, reply="no", code=550)


def _delivery(parts):
    return Delivery(
        id="d1",
        channel="sms",
        subject="",
        sender=SENDER,
        recipients=tuple(map(Recipient, in_parts("2025550123@vtext.com", parts))),
        size=1,
        created_at=NOW,
        due_at=NOW,
        expires_at=NOW + timedelta(days=1),
        status=Status.SENDING,
    )


async def _try(delivery, carrying, content):
    attempt = await Parts(carrying).send(delivery.pending, content)
    return delivery.after(attempt, retry_at=NOW + timedelta(seconds=30), now=NOW), attempt


CONTENT = join([b"one", b"two", b"three"])


async def test_parts_go_one_after_another_to_the_one_address():
    """Each with its own content, and the delivery ends as sent."""
    carrying = Carrying()
    delivery, attempt = await _try(_delivery(3), carrying, CONTENT)
    assert delivery.status is Status.SENT
    assert carrying.taken == [
        (Envelope(SENDER, ("2025550123@vtext.com",), id="d1"), content)
        for content in (b"one", b"two", b"three")
    ]
    assert attempt.conversation == ("S: one", "S: two", "S: three")
    assert (attempt.code, attempt.relay) == (250, "r")


@pytest.mark.parametrize(
    "answer",
    [
        _failure(Scope.RELAY, permanent=False),
        _failure(Scope.RECIPIENT, permanent=False),
        "uncertain",
    ],
)
async def test_only_parts_that_were_not_taken_are_sent_again(answer):
    """Accepted parts are not sent again, whether the relay failed, deferred, or nobody knows."""
    delivery, attempt = await _try(_delivery(3), Carrying([None, answer]), CONTENT)
    assert delivery.status is Status.DEFERRED
    assert [each.status for each in delivery.recipients] == [
        RecipientStatus.ACCEPTED,
        RecipientStatus.PENDING,
        RecipientStatus.PENDING,
    ]
    assert delivery.recipients[0].reply == "250 ok"  # its own words, not those of the second
    assert attempt.uncertain == (answer == "uncertain")
    again = Carrying()
    delivery, _ = await _try(delivery, again, CONTENT)
    assert delivery.status is Status.SENT
    assert [content for _, content in again.taken] == [b"two", b"three"]


async def test_a_number_that_is_refused_is_refused_for_all_parts():
    """A 550 is final; the rest is not tried."""
    refusal = _failure(Scope.RECIPIENT, permanent=True)
    carrying = Carrying([refusal])
    delivery, _ = await _try(_delivery(3), carrying, CONTENT)
    assert delivery.status is Status.FAILED
    assert len(carrying.taken) == 1
    delivery, _ = await _try(_delivery(3), Carrying([None, refusal]), CONTENT)
    assert delivery.status is Status.SENT
    assert delivery.partial


async def test_parts_reach_a_real_mailbox_in_order(tmp_path):
    """Composed, joined, sent over SMTP: three mails to the one number, each by its own id."""
    sms = Sms(to="2025550123", carrier="fi", text="Ångström {n} wrote home again. " * 12)
    composed = [
        compose(mail, id=f"d1-{place}", sender=None, at=NOW)
        for place, mail in enumerate(_emails(sms), start=1)
    ]
    assert len(composed) == 3
    delivery = msgspec.structs.replace(
        _delivery(3),
        recipients=tuple(map(Recipient, in_parts(composed[0].envelope.recipients[0], 3))),
    )
    async with Capture(tmp_path) as capture:
        relays = Relays([Relay(capture.spec)])
        delivery, _ = await _try(delivery, relays, join([each.content for each in composed]))
        caught = [
            await capture.mailbox.get(mail.id) for mail in reversed(await capture.mailbox.list())
        ]
        await relays.close()
    assert delivery.status is Status.SENT
    assert [mail.text.strip()[-5:] for mail in caught] == ["(1/3)", "(2/3)", "(3/3)"]
    assert {mail.recipients for mail in caught} == {("2025550123@msg.fi.google.com",)}
    assert not any(mail.html or mail.subject for mail in caught)
    ids = [dict(mail.headers)["Message-ID"] for mail in caught]
    assert ids == [f"<d1-{place}@example.org>" for place in (1, 2, 3)]


async def test_a_single_mail_passes_through():
    """Its recipient is the plain address."""
    carrying = Carrying()
    delivery, _ = await _try(_delivery(1), carrying, b"only")
    assert delivery.status is Status.SENT
    assert carrying.taken == [(Envelope(SENDER, ("2025550123@vtext.com",), id="d1"), b"only")]


async def test_no_part_is_begun_after_the_abort():
    """The part under way is the last one; the others stay pending."""
    carrying = Carrying()
    parts = Parts(carrying)
    assert parts.room() == 3
    await parts.wait_for_room()
    parts.abort_all()
    assert carrying.aborted
    attempt = await parts.send(_delivery(3).pending, CONTENT)
    assert len(attempt.accepted) == 1
    assert len(carrying.taken) == 1


@given(st.lists(st.binary(min_size=1).filter(lambda mail: b"\0" not in mail), min_size=1))
def test_joined_mails_come_apart_again(mails):
    """Any bytes without NUL, which no mail contains."""
    assert join(mails).split(b"\0") == mails


def test_a_mail_with_nul_is_not_joined():
    """It would come apart in the wrong place."""
    with pytest.raises(ValueError, match="NUL"):
        join([b"a\0b"])
