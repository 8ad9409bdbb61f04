"""A finished mail for other recipients."""

from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.compose import compose, readdressed
from notifier.errors import Forbidden, InvalidMessage
from notifier.messages import Attachment, Email

AT, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
TERMS = {"sender": "shop@example.org", "subject": "Hi", "id": "new", "at": LATER}


def made(**changes):
    fields = {"to": ("wrong@example.org",), "sender": "Shop <shop@example.org>", "text": "Hi."}
    return compose(Email(**(fields | changes)), id="old", sender=None, at=AT)


def read(content):
    return message_from_bytes(content, policy=policy.default)


def test_the_reader_sees_the_new_recipients_alone():
    """Neither the former To nor Cc is in it; Date and Message-ID are new, all else stays."""
    file = Attachment(filename="a.txt", content=b"x" * 100)
    old = made(
        to=("Wrong <wrong@example.org>", "too@example.org"),
        cc=("boss@example.org",),
        reply_to="answers@example.org",
        subject="Grüße",
        html="<p>Hi.</p>",
        attachments=(file,),
        headers={"X-Long": "word " * 40, "List-Id": "<a.b>"},
    )
    new = readdressed(old.content, ["Ann <ann@example.net>", "bob@example.net"], **TERMS)
    assert new.envelope.recipients == ("ann@example.net", "bob@example.net")
    assert new.envelope.sender == "shop@example.org"
    before, after = read(old.content), read(new.content)
    assert after["To"] == "Ann <ann@example.net>, bob@example.net"
    assert after["Cc"] is None
    assert after["Date"].datetime == LATER
    assert after["Message-ID"] == "<new@example.org>"
    changed = {"To", "Cc", "Date", "Message-ID"}
    kept = [item for item in before.items() if item[0] not in changed]
    assert [item for item in after.items() if item[0] not in changed] == kept
    assert new.content.partition(b"\r\n\r\n")[2] == old.content.partition(b"\r\n\r\n")[2]
    for field in ("To", "Date", "Message-ID"):
        assert len(after.get_all(field)) == 1


def test_an_address_beyond_ascii_needs_smtputf8():
    """SMTPUTF8 only as long as an address in the header is one."""
    odd = made(to=("bücher@example.org",))
    assert odd.envelope.smtputf8
    assert not readdressed(odd.content, ["ann@example.org"], **TERMS).envelope.smtputf8
    plain = made()
    assert readdressed(plain.content, ["bücher@example.org"], **TERMS).envelope.smtputf8


@pytest.mark.parametrize(
    ("to", "pointer"),
    [((), "/to"), (("a@b.org",) * 51, "/to"), (("a@b.org", "nobody"), "/to/1")],
)
def test_a_wrong_recipient_is_named(to, pointer):
    """As in any message."""
    with pytest.raises(InvalidMessage) as error:
        readdressed(made().content, to, **TERMS)
    assert error.value.faults[0].pointer == pointer


def test_a_command_to_a_provider_is_not_passed_on_by_a_key_with_rules():
    """The first message may have been sent with a key that may send it."""
    commanding = made(headers={"X-SES-Configuration-Set": "all"})
    assert readdressed(commanding.content, ["ann@example.org"], **TERMS)
    with pytest.raises(Forbidden, match="x-ses-configuration-set"):
        readdressed(commanding.content, ["ann@example.org"], restricted=True, **TERMS)


@given(
    subject=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300),
)
def test_a_copy_says_the_same_as_its_mail(subject, text):
    """Subject and body are those of the first mail, octet by octet."""
    old = made(subject=subject, text=text)
    new = readdressed(old.content, ["ann@example.org"], **TERMS)
    assert new.content.partition(b"\r\n\r\n")[2] == old.content.partition(b"\r\n\r\n")[2]
    assert read(new.content)["Subject"] == read(old.content)["Subject"]
    assert b"wrong@" not in new.content.partition(b"\r\n\r\n")[0]
