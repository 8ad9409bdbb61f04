"""What arrives at the relay of a source that came in by SMTP: the same, but for named changes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.compose.source import UnsafeSource, addresses, decoded, one_address, split
from notifier.errors import InvalidMessage
from notifier.intake.admission import Admission
from notifier.intake.sources import read_source
from notifier.settings import Settings
from notifier.sms import Carriers
from notifier.templates import Templates
from tests.service import now
from tests.submission_agent.conftest import submitting

ADMISSION = Admission(Settings(), templates=Templates(None), carriers=Carriers.read(None))
TO = ("ann@example.org",)
ID = "01a222d754ced17156a9e9d12be89ae4"


def sent(source, *, to=TO, sender="us@example.org", smtputf8=False):
    """The delivery and the content that go out for this source."""
    message, _ = read_source(source, to=to, sender=sender, smtputf8=smtputf8, protocol="smtp")
    entry = ADMISSION.admit(message, id=ID, key=None, now=now())
    return entry.delivery, entry.content


octets = (
    st.integers(1, 255).filter(lambda each: each not in b"\r\n").map(lambda each: bytes([each]))
)
line = st.lists(octets, max_size=60).map(b"".join)
folded = st.tuples(line, st.lists(line.map(lambda each: b"\r\n " + each), max_size=3)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)
kept_names = st.sampled_from(
    [b"Subject", b"To", b"CC", b"X-Mailer", b"List-Id", b"received", b"MIME-Version"]
)
dropped_names = st.sampled_from([b"Bcc", b"BCC", b"resent-bcc"])


@st.composite
def sources(draw):
    """A source, and what is to be left of it: header fields, and the rest."""
    fields, kept = [b"From: Us <us@example.org>\r\n"], [b"From: Us <us@example.org>\r\n"]
    for _ in range(draw(st.integers(0, 6))):
        drop = draw(st.booleans())
        name = draw(dropped_names if drop else kept_names)
        field = name + draw(st.sampled_from([b":", b": ", b" :"])) + draw(folded) + b"\r\n"
        fields.append(field)
        if not drop:
            kept.append(field)
    body = b"".join(draw(st.lists(line.map(lambda each: each + b"\r\n"), max_size=6)))
    return b"".join(fields) + b"\r\n" + body, b"".join(kept), b"\r\n" + body


@settings(max_examples=100, deadline=None)
@given(sources())
def test_a_source_is_kept_octet_by_octet(made):
    """Bcc goes; Date and Message-ID come, at the end of the header; nothing else changes."""
    source, header, body = made
    delivery, content = sent(source)
    assert content.startswith(header)
    assert content.endswith(body)
    added = content[len(header) : len(content) - len(body)]
    assert re.fullmatch(
        rb"Date: [^\r\n]+ \+0000\r\nMessage-ID: <%b@example\.org>\r\n" % ID.encode(), added
    )
    assert delivery.eight_bit is not content.isascii()
    assert delivery.size == len(content)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_taken_or_refused(given):
    """Nothing but InvalidMessage comes of them, and a lone CR or LF never goes through."""
    source = b"From: us@example.org\r\n" + given
    try:
        _, content = sent(source)
    except InvalidMessage:
        return
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert b"\0" not in content
    assert content.endswith(b"\r\n")


@pytest.mark.parametrize(
    "unsafe",
    [
        b"a\nb",
        b"a\rb",
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r\r\n",
        b"a\0b",
        b"x" * 999,
    ],
)
def test_f54_a_smuggled_second_mail_is_refused(unsafe):
    """In header and body: lone CR and LF, NUL, lines that relays would break."""
    for source in (
        b"From: us@example.org\r\n\r\n" + unsafe + b"\r\n",
        b"From: us@example.org\r\nX-A: " + unsafe + b"\r\n\r\nbody\r\n",
    ):
        with pytest.raises(UnsafeSource):
            sent(source)


@given(st.lists(st.integers(0, 1100), max_size=8))
def test_each_line_is_measured(lengths):
    """998 octets are allowed, one more is not, wherever the line is."""
    source = b"From: us@example.org\r\n\r\n" + b"".join(b"x" * each + b"\r\n" for each in lengths)
    if max(lengths, default=0) > 998:
        with pytest.raises(UnsafeSource):
            split(source)
    else:
        split(source)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("us@example.org", "us@example.org"),
        ("Us <us@Example.ORG>", "us@example.org"),
        ('"Us, and others" <us@example.org>', "us@example.org"),
        ("us@example.org (Us)", "us@example.org"),
        ("(c) Us (and) <us@example.org> (others)", "us@example.org"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= <us@example.org>", "us@example.org"),
        ("us@example.org <us@example.org>", "us@example.org"),
        ('"boss@example.org" <us@example.org>', "us@example.org"),
        ("Jörg <us@example.org>", "us@example.org"),
    ],
)
def test_an_author_is_the_address_that_readers_see(text, spec):
    """Comments and names are left out."""
    assert one_address(text).spec == spec


@pytest.mark.parametrize(
    "text",
    [
        "boss@example.org, us@example.org",
        "boss@example.org <us@example.org>",
        "team: us@example.org;",
        "<boss@example.org> <us@example.org>",
        "us@example.org <>",
        "root",
        "",
        "x" * 2000 + "@example.org",
    ],
)
def test_an_author_that_readers_may_take_for_another_is_refused(text):
    """Several, groups, names that look like addresses."""
    with pytest.raises(ValueError, match=r"."):
        one_address(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@x.org, B <b@x.org>", ["a@x.org", "B <b@x.org>"]),
        ('"Lee, Ann" <a@x.org>,, b@x.org', ['"Lee, Ann" <a@x.org>', "b@x.org"]),
        ("team: a@x.org, b@x.org;, c@x.org", ["a@x.org", "b@x.org", "c@x.org"]),
        ("undisclosed-recipients:;", []),
        ("a@x.org (first, of them)", ["a@x.org"]),
    ],
)
def test_recipients_are_found_in_fields(text, found):
    """RFC 5322, section 3.4: quoted names, groups, comments."""
    assert addresses(text) == found


@given(st.text(max_size=80))
def test_any_field_of_recipients_is_read_or_refused(text):
    """Nothing but ValueError comes of it."""
    try:
        found = addresses(text)
    except ValueError:
        return
    assert all(each.strip() == each and each for each in found)


@given(st.text(max_size=200))
def test_any_subject_is_shown(text):
    """Without control characters, which databases and logs cannot hold."""
    shown = decoded(text)
    assert "\0" not in shown
    shown.encode()


def test_fields_of_ours_are_read_and_taken_off():
    """Reference, tags, priority and time."""
    source = (
        b"X-Notifier-Reference: order 7\r\nX-Notifier-Tag: a, b\r\nx-notifier-tag: c\r\n"
        b"X-Notifier-Priority: urgent\r\nX-Notifier-Send-At: 2026-12-24T18:00:00+01:00\r\n"
        b"X-Notifier-Idempotency-Key: k1\r\nFrom: us@example.org\r\n\r\nHello.\r\n"
    )
    message, idempotency = read_source(source, to=TO, protocol="smtp")
    assert (message.reference, message.tags, message.priority) == (
        "order 7",
        ("a", "b", "c"),
        "urgent",
    )
    assert message.send_at.isoformat() == "2026-12-24T18:00:00+01:00"
    assert idempotency.key == "k1"
    assert message.fields == (("from", b"From: us@example.org\r\n"),)


def test_the_author_is_added_where_it_is_missing():
    """The envelope's sender, else the usual one."""
    _, content = sent(b"Subject: Hi\r\n\r\nHello.\r\n")
    assert b"\r\nFrom: us@example.org\r\nDate: " in content
    delivery, content = sent(b"\r\nHello.\r\n", sender="")
    assert content.startswith(b"From: notifier@localhost\r\nDate: ")
    assert delivery.sender == "notifier@localhost"
    assert "NOTIFIER_DEFAULT_FROM" in delivery.warnings[0]


UTF8 = "From: Jörg <us@example.org>\r\nSubject: Grüße\r\n\r\nGuten Tag, Jürgen.\r\n".encode()


@pytest.mark.parametrize("offered", [True, False])
async def test_a_mail_beyond_ascii_needs_8bitmime(tmp_path, offered):
    """BODY=8BITMIME is said; a relay that does not offer it is not asked, and why is told."""
    features = ("PIPELINING", "8BITMIME") if offered else ("PIPELINING",)
    async with submitting(tmp_path, features=features) as submission:
        _, said = await submission.send(UTF8)
        delivery = await submission.service.outcome(said.split()[-1], timeout=20)
        if offered:
            assert delivery.status == "sent"
            assert submission.relay.received[0][2].startswith(UTF8.partition(b"\r\n\r\n")[0])
            assert "MAIL FROM:<us@example.org> BODY=8BITMIME" in submission.relay.heard
        else:
            assert delivery.status == "failed"
            assert "8BITMIME" in delivery.reason
            assert submission.relay.received == []


async def test_a_header_in_utf8_needs_smtputf8_where_the_client_says_so(tmp_path):
    """SMTPUTF8 of MAIL goes on to the relay, unless the header has nothing that needs it."""
    async with submitting(tmp_path) as submission:
        await submission.send(UTF8, options=["SMTPUTF8", "BODY=8BITMIME"])
        plain = b"From: us@example.org\r\n\r\nHello.\r\n"
        await submission.send(plain, options=["SMTPUTF8"])
        await submission.delivered(2)
        heard = [line for line in submission.relay.heard if line.startswith("MAIL")]
    assert (
        sorted(line.partition(" SIZE")[0] for line in heard) == ["MAIL FROM:<us@example.org>"] * 2
    )
    assert sorted("SMTPUTF8" in line for line in heard) == [False, True]


async def test_f52_a_repeated_mail_is_the_same_message(tmp_path):
    """By the caller's key, or by Message-ID and envelope; another envelope is another message."""
    mail = b"From: us@example.org\r\nSubject: Hi\r\n%bDate: %b\r\n\r\nHello.\r\n"
    named = b"Message-ID: <1@example.org>\r\n"
    keyed = b"X-Notifier-Idempotency-Key: k1\r\n"
    async with submitting(tmp_path) as submission:
        for field in (named, keyed):
            first = await submission.send(mail % (field, b"Fri, 27 Nov 2026 10:00:00 +0000"))
            again = await submission.send(mail % (field, b"Fri, 27 Nov 2026 10:00:01 +0000"))
            assert again == first
        other = await submission.send(mail % (named, b"x"), to=("bob@example.org",))
        assert other[0] == 250
        code, said = await submission.send(mail % (keyed, b"x"), to=("bob@example.org",))
        assert (code, said[:5]) == (554, "5.6.0")
        without = [await submission.send(mail % (b"", b"x")) for _ in range(2)]
        assert without[0] != without[1]
        await submission.delivered(5)
        assert len(submission.relay.received) == 5


async def test_a_mail_that_is_repeated_to_another_replica_is_the_same_message(tmp_path, postgres):
    """Replicas on one PostgreSQL know each other's mails."""
    journal = await postgres.database()
    mail = UTF8.replace(b"Subject:", b"Message-ID: <1@example.org>\r\nSubject:")
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    async with (
        submitting(folders[0], journal=journal) as one,
        submitting(folders[1], journal=journal) as two,
    ):
        first = await one.send(mail)
        assert first[0] == 250
        assert await two.send(mail) == first
        delivery = await two.service.message(first[1].split()[-1])
        assert delivery.eight_bit
