"""What is made of a message: envelope, headers, parts; and what is refused."""

import email
import email.policy
import os
import re
import time
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from notifier.compose import compose, is_html, weight
from notifier.compose.mail import HTML_WEIGHT, MAIL_WEIGHT, RECIPIENT_WEIGHT
from notifier.compose.plaintext import HTML_CHARACTERS, text_of
from notifier.errors import Fault, InvalidMessage
from notifier.messages import Attachment, Email

NOW = datetime(2026, 11, 24, 22, 5, 9, tzinfo=UTC)
PLAIN = b"""\
From: Shop <shop@x.test>
To: Ann <ann@x.test>
Subject: Order 12345
Date: Tue, 24 Nov 2026 22:05:09 +0000
Message-ID: <0192@x.test>
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Hello,

your order has left.
""".replace(b"\n", b"\r\n")
BOTH = b"""\
Content-Type: multipart/alternative;
 boundary="=_a0192"

--=_a0192
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Hello

--=_a0192
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p class=3D"a">Za=C5=BC=C3=B3=C5=82=C4=87 this letter with care, for it is =
long</p>

--=_a0192--
""".replace(b"\n", b"\r\n")


def composed(*, at=NOW, id="0192", default="default@x.test", restricted=False, **fields):
    given = {"to": ("b@x.test",), "sender": "a@x.test", "text": "x", **fields}
    return compose(Email(**given), id=id, sender=default, at=at, restricted=restricted)


def parsed(**fields):
    content = composed(**fields).content
    return email.message_from_bytes(content, policy=email.policy.default)


def faults(**fields):
    with pytest.raises(InvalidMessage) as caught:
        composed(**fields)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def shape(part):
    """Content types, nested as the parts are."""
    if not part.is_multipart():
        return part.get_content_type()
    return part.get_content_subtype(), [shape(each) for each in part.iter_parts()]


def file(filename="a.bin", content=b"octets", **fields):
    return Attachment(filename=filename, content=content, **fields)


# The message as a whole


def test_plain_text_stays_readable():
    """A message of short ASCII lines goes out as it was written, to the octet."""
    made = composed(
        to=("Ann <ann@x.test>",),
        sender="Shop <shop@x.test>",
        subject="Order 12345",
        text="Hello,\n\nyour order has left.",
    )
    assert made.content == PLAIN
    assert made.subject == "Order 12345"
    assert made.warnings == ()


def test_text_and_html_are_alternatives():
    """Text and HTML are two parts, the HTML last, each encoded as suits it."""
    html = '<p class="a">Zażółć this letter with care, for it is long</p>'
    content = composed(text="Hello", html=html).content
    assert content.partition(b"MIME-Version: 1.0\r\n")[2] == BOTH


def test_every_try_has_the_same_octets():
    """The same message, id and time make the same octets."""
    fields = {"html": "<p>x", "attachments": (file(),), "headers": {"X-A": "b"}}
    assert composed(**fields) == composed(**fields)


def test_the_date_is_in_universal_time():
    """A time of any zone is written in UTC."""
    message = parsed(at=datetime(2026, 1, 2, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))))
    assert message["Date"] == "Thu, 01 Jan 2026 23:02:03 +0000"


def test_much_text_outside_ascii_is_base64():
    """Where quoted-printable would be longer, base64 it is."""
    assert parsed(text="żółw " * 40)["Content-Transfer-Encoding"] == "base64"
    few = parsed(text="a żółw among many, many plain words")
    assert few["Content-Transfer-Encoding"] == "quoted-printable"


def test_long_lines_are_not_sent_as_they_are():
    """A line that is too long for SMTP is broken by the encoding, not by us."""
    assert parsed(text="a" * 78)["Content-Transfer-Encoding"] == "7bit"
    message = parsed(text="a" * 79)
    assert message["Content-Transfer-Encoding"] == "quoted-printable"
    assert message.get_payload(decode=True) == b"a" * 79 + b"\r\n"


def test_control_characters_in_a_text_are_encoded():
    """What a terminal or a relay could act upon does not stand in the message as it is."""
    content = composed(text="a\x1b[2J\x08b\x7f\x0b").content
    assert not set(content) & {*range(0x20), 0x7F} - {0x0D, 0x0A}


# Envelope and addresses


def test_bcc_is_in_the_envelope_alone():
    """Only the relay learns who receives a blind copy."""
    made = composed(to=("b@x.test",), cc=("c@x.test",), bcc=("Dora <d@x.test>",))
    assert made.envelope.sender == "a@x.test"
    assert made.envelope.recipients == ("b@x.test", "c@x.test", "d@x.test")
    assert b"d@x.test" not in made.content
    assert b"Bcc" not in made.content


def test_a_recipient_in_several_fields_counts_once():
    """One address in several fields is one recipient; a domain's case makes no difference."""
    made = composed(
        to=("b@x.test", "Bob <b@X.test>"), cc=("c@x.test", "B@x.test"), bcc=("c@x.TEST",)
    )
    assert made.envelope.recipients == ("b@x.test", "c@x.test", "B@x.test")


def test_address_fields_are_folded():
    """Fifty recipients stand in a field of short lines."""
    message = parsed(to=tuple(f"Person {n} <p{n}@x.test>" for n in range(50)))
    assert [each.addr_spec for each in message["To"].addresses] == [
        f"p{n}@x.test" for n in range(50)
    ]
    content = composed(to=tuple(f"p{n}@x.test" for n in range(50))).content
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_reply_to():
    """Answers go where the caller says, and that changes nothing of the envelope."""
    made = composed(reply_to="Help, Desk <help@x.test>".replace("Help, Desk", '"Help, Desk"'))
    assert b'Reply-To: "Help, Desk" <help@x.test>\r\n' in made.content
    assert made.envelope.recipients == ("b@x.test",)


def test_the_default_sender_is_taken_where_none_is_given():
    """The default is used without, and is ignored with, a `from`."""
    assert composed(sender="a@x.test", default="s@y.test").envelope.sender == "a@x.test"
    made = composed(sender=None, default="S <s@y.test>")
    assert made.envelope.sender == "s@y.test"
    assert b"From: S <s@y.test>\r\n" in made.content


def test_without_any_sender_the_setting_is_named():
    """The error names the setting, which the caller cannot know."""
    for default in (None, "not one"):
        assert "NOTIFIER_DEFAULT_FROM" in faults(sender=None, default=default)["/from"]


def test_an_international_domain_is_ascii_everywhere():
    """A-labels stand in envelope and headers: any relay can take them."""
    made = composed(to=("b@żółw.pl",), sender="a@żółw.pl")
    assert made.envelope.recipients == ("b@xn--w-uga1v8h.pl",)
    assert made.envelope.smtputf8 is False
    assert made.content.isascii()


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to", "sender"])
def test_an_international_local_part_needs_smtputf8(field):
    """It is said so in the envelope, and stands as UTF-8 in its own header alone."""
    value = "Żółw <żółw@x.test>"
    fields = {field: value if field in {"reply_to", "sender"} else (value,)}
    made = composed(**fields, subject="żółw", headers={"X-A": "żółw"})
    assert made.envelope.smtputf8 is True
    outside = [line for line in made.content.split(b"\r\n") if not line.isascii()]
    assert len(outside) == (field != "bcc")
    assert all("<żółw@x.test>".encode() in line for line in outside)


def test_the_message_id_is_that_of_the_senders_domain():
    """An id names the sender's domain: it is unique there."""
    assert parsed(sender="a@Mail.X.test", id="42")["Message-ID"] == "<42@mail.x.test>"


# Text and HTML


def test_html_alone_gets_a_text():
    """A text is made of HTML: its layout, its links, nothing of its scripts."""
    html = (
        "<style>p{}</style><h1>Hi</h1><p>See <a href='https://x.test/a'>this</a></p>"
        "<ul><li>one<li>two</ul><table><tr><td>a<td>b</table><br><br><script>x</script>"
    )
    message = parsed(text=None, html=html)
    assert shape(message) == ("alternative", ["text/plain", "text/html"])
    text = message.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert text == "Hi\n\nSee this [1]\n\n* one\n* two\n\na  b\n\n[1] https://x.test/a\n"


def test_html_without_any_text_stays_alone():
    """An empty alternative would hide the HTML from who reads text."""
    assert shape(parsed(text=None, html="<img src='https://x.test/a'>")) == "text/html"
    assert shape(parsed(text=None, html="<p>&nbsp;</p><img src='https://x.test/a'>")) == "text/html"


def test_text_alone_stays_alone():
    """No HTML is made of a text: it would show nothing more."""
    assert shape(parsed(text="Hello")) == "text/plain"


def test_an_empty_body_counts_as_none_beside_another():
    """A reader is not shown an empty alternative."""
    assert shape(parsed(text="Hello", html="")) == "text/plain"
    assert parsed(text="", html="<p>Hello").get_body(("plain",)).get_content() == "Hello\r\n"
    assert parsed(text="").get_content() == "\r\n"
    assert parsed(text="", html="").get_content() == "\r\n"
    assert shape(parsed(text=None, html="")) == "text/html"


def test_a_text_cut_short_is_said():
    """Who sends an HTML that is too large for us to read is warned."""
    text, (warning,) = text_of("a" * HTML_CHARACTERS + "<p>end")
    assert "the first" in warning
    assert "end" not in text
    assert composed(text=None, html="<p>x" * HTML_CHARACTERS).warnings == (warning,)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<p>Hello</p>", True),
        ("Hello<br>you", True),
        ("Hello<BR/>you", True),
        ("</div>", True),
        ('<a href="https://x.test">x</a>', True),
        ("<!DOCTYPE html>", True),
        ("<!-- x -->", True),
        ("Hello", False),
        ("", False),
        ("1 < 2 and 3 > 2", False),
        ("a <b", False),
        ("<name>, hello", False),
        ("Ann <ann@x.test>", False),
        ("<https://x.test>", False),
        ("I <3 you", False),
    ],
)
def test_html_is_known_by_its_tags(text, html):
    """Text is HTML where a tag of HTML is in it, and not where a `<` is."""
    assert is_html(text) is html


@pytest.mark.parametrize(
    "text",
    [
        "<" * 4_000_000,
        "<a" * 2_000_000,
        "<p " * 1_000_000,
        "<x>" * 1_000_000,
        "</a " + "x" * 4_000_000,
        "<a" + " " * 4_000_000,
        "<!" * 2_000_000,
    ],
    ids=lambda text: text[:6],
)
def test_html_is_known_in_one_pass(text):
    """Whatever a text is full of, each character of it is looked at a few times at most."""
    start = time.process_time()
    assert not is_html(text)
    assert time.process_time() - start < 2  # a tenth of it, on any machine


def test_a_tag_is_found_far_behind():
    """A long text is searched to its end."""
    assert is_html("< " * 2_000_000 + "<p>")
    assert is_html("x" * (1024 * 1024 - 1) + "<p>")


# Attachments


def test_parts_are_nested_as_they_are_shown():
    """Files beside the letter, pictures within its HTML, text and HTML for one another."""
    message = parsed(
        html="<img src='cid:logo'>",
        attachments=(
            file("a.pdf", content_type="application/pdf"),
            file("logo.png", content_type="image/png", content_id="<logo>"),
        ),
    )
    alternative = ("alternative", ["text/plain", "text/html"])
    assert shape(message) == ("mixed", [("related", [alternative, "image/png"]), "application/pdf"])
    related, pdf = message.iter_parts()
    _, logo = related.iter_parts()
    assert logo["Content-ID"] == "<logo>"
    assert logo.get_content_disposition() == "inline"
    assert pdf.get_content_disposition() == "attachment"
    assert pdf["Content-ID"] is None
    # A boundary that began another would end its part.
    boundaries = [part.get_boundary() for part in message.walk() if part.is_multipart()]
    assert len(boundaries) == 3
    assert not any(a != b and a.startswith(b) for a in boundaries for b in boundaries)


def test_pictures_alone_need_no_outer_part():
    """Where no file is beside the letter, nothing is wrapped around it."""
    message = parsed(html="<img src='cid:a'>", attachments=(file(content_id="a"),))
    alternative = ("alternative", ["text/plain", "text/html"])
    assert shape(message) == ("related", [alternative, "application/octet-stream"])


def test_equal_files_are_all_sent():
    """Two files with the same name and content stay two."""
    message = parsed(attachments=(file(), file()))
    assert shape(message) == ("mixed", ["text/plain", *["application/octet-stream"] * 2])


def test_a_picture_without_html_is_a_file():
    """Nothing can show it, so it is attached."""
    message = parsed(attachments=(file(content_id="a"),))
    assert shape(message) == ("mixed", ["text/plain", "application/octet-stream"])


def test_a_picture_that_is_not_shown_is_said():
    """A content_id that the HTML does not name is most likely a mistake."""
    made = composed(html="<p>x", attachments=(file(content_id="logo"),))
    assert "logo" in made.warnings[0]
    made = composed(
        html="<img src='cid:logo@x'><img src='cid:a%25b'>",
        attachments=(file(content_id="logo@x"), file(content_id="a%b")),
    )
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("id", "url"),
    [
        ("logo", "CID:logo"),
        ("a&b@x", "cid:a&amp;b@x"),
        ("a&b@x", "cid:a&b@x"),
        ("<a@x>", "cid:a%40x"),
        ("a%b", "cid:a%25b"),
        ("a'b", "cid:a%27b"),
    ],
)
def test_a_picture_is_shown_however_its_url_is_written(id, url):
    """A scheme has no case, and HTML and URLs have their own ways to write an id."""
    html = f'<img src="{url}">'
    assert composed(html=html, attachments=(file(content_id=id),)).warnings == ()


def test_related_parts_name_their_root():
    """RFC 2387: a multipart/related says of which type its first part is."""
    picture = file("a.png", content_id="a", content_type="image/png")
    alone = parsed(text="", html="<img src=cid:a>", attachments=(picture,))
    assert alone.get_content_type() == "multipart/related"
    assert alone.get_param("type") == "text/html"
    both = parsed(html="<img src=cid:a>", attachments=(picture,))
    assert (
        both.get_param("type")
        == "multipart/alternative"
        == next(both.iter_parts()).get_content_type()
    )


def test_a_files_name_has_a_plain_form():
    """Readers that know nothing of RFC 2231 find a name in ASCII."""
    content = composed(attachments=(file("Zażółć gęślą.pdf"),)).content
    assert b'name="Zazo_c gesla.pdf"' in content
    assert b"filename*=utf-8''Za%C5%BC%C3%B3%C5%82%C4%87%20g%C4%99%C5%9Bl%C4%85.pdf" in content


def test_spaces_around_a_files_name_are_left_out():
    """Readers leave them out, each in its own way: so do we."""
    content = composed(attachments=(file(" a b.pdf "),)).content
    assert content.count(b'name="a b.pdf"') == 2


def test_a_content_type_keeps_its_parameters():
    """A calendar's method arrives; a text says its charset where it can be known."""
    invite = file(content_type="Text/Calendar; Method=REQUEST;charset=\"utf-8\"; name='x'")
    with pytest.raises(InvalidMessage, match="parameters"):
        composed(attachments=(invite,))
    made = parsed(
        attachments=(
            file(content_type='Text/Calendar; Method=REQUEST;charset="utf-8"; name="x y"'),
            file(content_type="text/plain", content="ż".encode()),
            file(content_type="text/plain", content=b"\xff"),
            file(content_type="text/plain", content=b"\xff\xfea\0"),
            file(content_type="text/plain", content=b"\xfe\xff\0a"),
        )
    )
    _, calendar, text, binary, *wide = made.iter_parts()
    assert calendar.get_content_type() == "text/calendar"
    assert calendar["Content-Type"].params == {
        "method": "REQUEST",
        "charset": "utf-8",
        "name": "x y",
    }
    assert text.get_content_charset() == "utf-8"
    assert binary.get_content_charset() is None
    assert [each.get_content_charset() for each in wide] == ["utf-16"] * 2


def test_large_files_are_whole():
    """Five megabytes arrive, in lines of 76."""
    octets = os.urandom(5_000_001)
    written = composed(attachments=(file(content=octets),)).content
    message = email.message_from_bytes(written, policy=email.policy.default)
    assert list(message.iter_parts())[1].get_content() == octets
    assert max(map(len, written.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("pointer", "attachment"),
    [
        ("filename", file("a/b")),
        ("filename", file("a\\b")),
        ("filename", file("..")),
        ("filename", file(" ")),
        ("filename", file("")),
        ("filename", file("a\nb")),
        ("filename", file("a\ud800b")),
        ("content_type", file(content_type="pdf")),
        ("content_type", file(content_type="")),
        ("content_type", file(content_type="a/b/c")),
        ("content_type", file(content_type="a /b")),
        ("content_type", file(content_type="text/ü")),
        ("content_type", file(content_type="multipart/mixed")),
        ("content_type", file(content_type="Message/RFC822")),
        ("content_type", file(content_type="text/plain; x")),
        ("content_type", file(content_type="text/plain; x=1 y=2")),
        ("content_type", file(content_type="text/plain; x=1; X=2")),
        ("content_type", file(content_type='text/plain; x="a\r\nb"')),
        ("content_type", file(content_type='text/plain; x="a"b"')),
        ("content_id", file(content_id="a b")),
        ("content_id", file(content_id="a>\r\nBcc: b")),
        ("content_id", file(content_id="ż")),
    ],
)
def test_a_bad_attachment_is_refused(pointer, attachment):
    """Each field of an attachment is named when it is wrong."""
    assert list(faults(attachments=(file(), attachment))) == [f"/attachments/1/{pointer}"]


def test_two_files_cannot_have_one_id():
    """HTML could not refer to one of them."""
    both = (file(content_id="a"), file(content_id="<a>"))
    assert "/attachments/1/content_id" in faults(html="<p>", attachments=both)


@pytest.mark.parametrize("content", ["aGk", "aGk=\\n", "aG k=", "-_8=", "====", "aGk=aGk="])
def test_base64_is_strict(content):
    """Content that is not strictly base64 is refused, with its place."""
    body = f'{{"to":["b@x.test"],"attachments":[{{"filename":"a","content":"{content}"}}]}}'
    with pytest.raises(msgspec.ValidationError, match=r"base64 .*\$\.attachments\[0\]\.content"):
        msgspec.json.decode(body, type=Email)


def test_an_attachment_is_read_from_json():
    """Base64 becomes octets."""
    body = b'{"to":["b@x.test"],"attachments":[{"filename":"a","content":"aGk="}]}'
    assert msgspec.json.decode(body, type=Email).attachments == (file("a", b"hi"),)


# Headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Order", "12345"),
        ("x-empty", ""),
        ("X-" + "a" * 48, "żółw " * 30 + "żółw"),
        ("X-" + "a" * 48, "\U0001f600" * 100),
        ("X-" + "a" * 48, "a" * 900),
        ("X-Json", '{"a": "=", "b": [1, 2]}'),
        ("List-Unsubscribe", f"<https://x.test/{'a' * 300}>, <mailto:u@x.test>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("List-Id", "News <news.x.test>"),
        ("In-Reply-To", "<1@x.test>"),
        ("References", " ".join(f"<{n}@x.test>" for n in range(60))),
        ("References", " ".join(f"<{n}.{'a' * 48}@mail.x.test>" for n in range(100))),
        ("List-Unsubscribe", ", ".join(f"<https://x.test/{n}>" for n in range(300))),
        ("X-Note", "a " * 4000 + "a"),
        ("X-Note", "ż" * 8192),
        ("Precedence", "bulk"),
        ("Importance", "high"),
        ("Organization", "Żółw & Co"),
        ("Feedback-ID", "a:b:c:d"),
    ],
)
def test_harmless_headers_are_sent(name, value):
    """What a caller adds arrives as it was given, and is folded where it can be."""
    content = composed(headers={name: value}).content
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert str(message[name]) == value
    head = content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert [line for line in head if len(line) > 78 and len(line) < 300] == []


STRUCTURAL = """
    From To Cc Bcc Sender Reply-To Subject Date Message-ID MIME-Version Content-Type Received
    content-transfer-encoding Return-Path DKIM-Signature ARC-Seal Resent-To
    Delivered-To Errors-To X-SMTPAPI X-MSYS-API X-MC-BccAddress X-APIHEADER
"""
COMMANDS = """
    X-MC-Template X-MSYS-Subaccount X-PM-Message-Stream X-Mailgun-Drop-Message X-MJ-TemplateID
    X-SES-SOURCE-ARN x-ses-configuration-set X-Job X-Virtual-MTA X-MS-Exchange-Organization-SCL
"""
HARMLESS = (
    "X-Job-Id X-Tenant-Id X-Priority X-Mailer X-Entity-Ref-ID X-Auto-Response-Suppress List-Id"
)


@pytest.mark.parametrize("name", STRUCTURAL.split())
def test_structural_headers_are_refused(name):
    """What decides over the message's way and shape is not for callers to set."""
    (message,) = faults(headers={name: "x"}).values()
    assert "cannot be set here" in message
    assert name in message


@pytest.mark.parametrize("name", COMMANDS.split())
def test_a_restricted_caller_gives_providers_no_commands(name):
    """By a header that a provider obeys a key's rules could be gone round."""
    (message,) = faults(headers={name: "x"}, restricted=True).values()
    assert name in message
    assert parsed(headers={name: "x"})[name] == "x"


@pytest.mark.parametrize("name", HARMLESS.split())
def test_a_restricted_caller_has_headers_of_its_own(name):
    """What no provider obeys is anybody's to set."""
    assert parsed(headers={name: "x"}, restricted=True)[name] == "x"


@pytest.mark.parametrize("value", ["auto-replied", "Auto-Notified", "auto-generated"])
def test_a_caller_says_how_a_message_came_about(value):
    """The caller knows whether it answers another mail."""
    assert parsed(headers={"auto-submitted": value}).get_all("Auto-Submitted") == [value]


@pytest.mark.parametrize("name", ["Auto-Submitted", "auto-submitted"])
def test_a_message_can_pass_for_one_that_a_person_sent(name):
    """Ticket systems pass over mail that says to be automatic: `no` leaves the header out."""
    assert "Auto-Submitted" not in parsed(headers={name: "no"})
    assert "Auto-Submitted" not in parsed(headers={name: "No"})
    assert list(faults(headers={name: "never"})) == [f"/headers/{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Foo", "x"),
        ("X-ä", "x"),
        ("X-A: b", "x"),
        ("X-A\r\nBcc", "x"),
        ("X A", "x"),
        ("", "x"),
        ("X-" + "a" * 49, "x"),
        ("X-A", "a\nb"),
        ("X-A", "a\x00b"),
        ("X-A", "a\ud800b"),
        ("List-Id", "ż <a.x.test>"),
        ("List-Id", ""),
        ("List-Id", "a" * 901),
        ("References", "1@x.test"),
        ("In-Reply-To", "<1@x.test> evil"),
        ("Importance", "=?utf-8?q?a?="),
    ],
)
def test_bad_headers_are_refused(name, value):
    """A header that cannot be sent safely is named, its name escaped as pointers need it."""
    assert list(faults(headers={name: value})) == [f"/headers/{name}"]


def test_a_headers_pointer_is_escaped():
    """A `/` or `~` in a name does not begin a step of the pointer."""
    assert list(faults(headers={"a/b~c": "x"})) == ["/headers/a~1b~0c"]


def test_a_header_stands_once():
    """Case makes no other header of a name."""
    assert list(faults(headers={"X-A": "1", "x-a": "2"})) == ["/headers/x-a"]
    assert list(faults(headers={"x-a": "1", "X-A": "2"})) == ["/headers/X-A"]


# Faults


def test_all_faults_are_reported_together():
    """A caller learns everything that is wrong at once, each by its field."""
    found = faults(
        to=("b@x.test", "b"),
        cc=("c@",),
        bcc=("@d",),
        sender="a b@x",
        reply_to="",
        subject="a\nb",
        text="a\0b",
        html="a\ud800b",
        attachments=(file("a/b", content_type="x", content_id=" "),),
        headers={"Bcc": "x"},
    )
    assert set(found) == {
        "/to/1", "/cc/0", "/bcc/0", "/from", "/reply_to", "/subject", "/text", "/html",
        "/attachments/0/filename", "/attachments/0/content_type", "/attachments/0/content_id",
        "/headers/Bcc",
    }  # fmt: skip
    assert all(found.values())


def test_a_message_needs_a_body():
    """Neither text nor HTML is a mistake; an empty text is a choice."""
    assert faults(text=None) == {"/text": "text or html is required"}


def test_there_are_one_to_fifty_recipients():
    """The limit is one for all fields together."""
    many = tuple(f"p{n}@x.test" for n in range(17))
    assert "51" in faults(to=many, cc=many, bcc=many)["/to"]
    assert list(faults(to=())) == ["/to"]
    assert composed(to=many, cc=many, bcc=many[:16])


def test_there_are_limits_to_what_is_added():
    """Twenty files and twenty headers are enough."""
    assert "20" in faults(attachments=(file(),) * 21)["/attachments"]
    assert "20" in faults(headers={f"X-{n}": "x" for n in range(21)})["/headers"]


CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xD800, 0xDFFF]


@pytest.mark.parametrize("code", CONTROLS, ids=hex)
def test_a_subject_has_no_controls(code):
    """Whatever could end a header's line, or be taken for its end, is refused by its name."""
    assert f"U+{code:04X}" in faults(subject=f"a{chr(code)}b")["/subject"]


EMPTY = MAIL_WEIGHT + RECIPIENT_WEIGHT


def test_weight():
    """The octets to be gone through are about those of text and files."""
    message = Email(to=("b@x.test",), text="12", html="345", attachments=(file(content=b"6789"),))
    assert weight(message) == EMPTY + 9
    assert weight(Email(to=("b@x.test",))) == EMPTY
    assert weight(Email(to=("b@x.test",), headers={"X-A": "12", "X-B": "3"})) == EMPTY + 3
    two = Email(to=("b@x.test",), bcc=("c@x.test",))
    assert weight(two) == EMPTY + RECIPIENT_WEIGHT


def test_html_weighs_more_where_a_text_is_made_of_it():
    """That takes several times as long as to send it, up to where no more of it is read."""
    alone = Email(to=("b@x.test",), html="x" * 1000)
    assert weight(alone) == EMPTY + 1000 * (1 + HTML_WEIGHT)
    assert weight(Email(to=("b@x.test",), html="x" * 1000, text="")) == weight(alone)
    assert weight(Email(to=("b@x.test",), html="x" * 1000, text="y")) == EMPTY + 1001
    large = Email(to=("b@x.test",), html="x" * (HTML_CHARACTERS + 1000))
    assert weight(large) == EMPTY + HTML_CHARACTERS * (1 + HTML_WEIGHT) + 1000


def test_a_fault_is_a_pointer_and_a_sentence():
    """A fault is a pointer and a sentence."""
    with pytest.raises(InvalidMessage) as caught:
        composed(to=("a@x.test, b@x.test",))
    assert list(caught.value.faults) == [Fault("/to/0", "give one address here, not several")]


def test_nothing_hostile_is_left_in_the_header_of_a_part():
    """The names of files and types cannot add a header to their part."""
    content = composed(
        attachments=(file('a"; x="b', content_type='text/x; a="; filename=evil"'),)
    ).content
    part = content.split(b"--=_m0192")[2]
    names = re.findall(rb"^([A-Za-z-]+):", part.partition(b"\r\n\r\n")[0], re.MULTILINE)
    assert names == [b"Content-Type", b"Content-Transfer-Encoding", b"Content-Disposition"]
