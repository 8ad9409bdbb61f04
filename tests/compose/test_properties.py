"""Whatever text comes in, a reader finds it again, and nothing else."""

import email
import email.policy
import random
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.compose import compose
from notifier.errors import InvalidMessage
from notifier.messages import Attachment, Email

NOW = datetime(2026, 11, 24, 22, 5, 9, tzinfo=UTC)
HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version",
]  # fmt: skip
# Text that has opened mail systems before.
HOSTILE = [
    "hi\r\nBcc: evil@x.test",
    "hi\nBcc: evil@x.test",
    "hi\rBcc: evil@x.test",
    "hi\x0bBcc: evil\x0c\x1cBcc: evil\x85Bcc: evil\u2028Bcc: evil",
    "a\x00b",
    "a\ud800b",
    "=?utf-8?q?a=0D=0ABcc:_evil@x.test?=",
    "=?utf-8?q?a=0D=0ABcc:_evil@x.test?=" + " y" * 60,
    "=?utf-8?b?DQpCY2M6IGV2aWxAeC50ZXN0?=",
    '"=?utf-8?q?x=0ABcc=3A_evil=40x.test?=" <u@x.test>',
    "\u00e9, Evil",
    "\u00e9" * 30 + ", Evil" + " b" * 20,
    "a\r\n.\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<evil@x.test>\r\nDATA\r\n",
    "a\n.\nb\r.\rc\r\n.\r\n",
    "--=_a1\r\nContent-Type: text/html\r\n\r\nevil\r\n--=_a1--",
    "<x>\r\nBcc: evil",
]


def composed(**fields):
    given = {"to": ("b@x.test",), "sender": "a@x.test", "text": "x", **fields}
    return compose(Email(**given), id="1", sender=None, at=NOW).content


def parsed(content, *, also=()):
    """The message as a reader has it, once it is seen to be safe on the wire."""
    assert content.endswith(b"\r\n")
    assert content.isascii()
    assert b"\0" not in content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(content, policy=email.policy.default)
    content_headers = {"Content-Type", "Content-Transfer-Encoding"}
    keys = [key for key in message.keys() if key not in content_headers]  # noqa: SIM118 - they repeat
    assert sorted(keys) == sorted([*HEADERS, *also])
    assert not any(part.defects for part in message.walk())
    return message


def normal(text):
    """Text as documented: every line ended, and all by the same."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


def body(message, kind):
    return message.get_body((kind,)).get_payload(decode=True).decode().replace("\r\n", "\n")


ANY = st.characters(codec="utf-8")
LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=300)
PIECES = st.sampled_from(["\r\n", "\n", "\r", ".", "\n.\n", "=_", "--=_a1", " ", "\t", "a" * 80])
BODIES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")) | PIECES, max_size=30
).map("".join)


@given(LINES)
@example("")
@example(" a ")
@example(" ")
@example("a  b" * 40)
@example("a" * 998)
@example("a " * 499)
@example("=?")
@example("\U0001f600" * 249)
@example("\u00e9" + "a" * 900)
@example("x" * 60 + " " + "y" * 70)
def test_a_subject_is_read_as_it_was_written(subject):
    """A subject is the same for its reader, folded and encoded as need be."""
    content = composed(subject=subject)
    assert parsed(content)["Subject"] == subject
    field = re.search(rb"^Subject:.*\r\n(?: .*\r\n)*", content, re.MULTILINE)[0]
    assert max(map(len, field.split(b"\r\n"))) <= 78
    words = re.findall(rb"=\?\S*", field)
    assert max(map(len, words), default=0) <= 75
    if words:
        # No character is divided between two words.
        for word in email.header.decode_header(field.decode().replace("\r\n", "\n")):
            assert isinstance(word, tuple)
        for word in words:
            (((octets, charset),)) = email.header.decode_header(word.decode())
            octets.decode(charset)


@given(BODIES)
@example("")
@example(".")
@example("a" * 1000)
@example("trailing \n\t\nspace ")
@example("\u00e9" * 1000)
@example("x\x0b\x0c\x1b\x7fy")
@example("-- \nAnn")
@example("From here")
def test_a_text_is_read_as_it_was_written(text):
    """A text is the same for its reader, but for its line ends."""
    message = parsed(composed(text=text))
    assert message.get_content_type() == "text/plain"
    assert message.get_payload(decode=True).decode().replace("\r\n", "\n") == normal(text)


@given(BODIES, BODIES)
@example("--=_a1", "--=_a1--")
@example("a", "--=_a1--\n\n--=_a1\n")
def test_text_and_html_are_read_as_they_were_written(text, html):
    """Neither text can end its part early, or pass for another's."""
    message = parsed(composed(text="t" + text, html="h" + html))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert body(message, "plain") == normal("t" + text)
    assert body(message, "html") == normal("h" + html)


MARKUP = st.sampled_from(
    re.findall(
        r"\S+",
        "<p> </p> <b> <i> <table> <tr> <td> </td> <ul> <li> <ol> <pre> <a/href='x'> </a> <br> <!-- "
        "--> <script> </script> <style> <blockquote> <img/alt=x> &amp; &#13; &#0; &#xd800; &#1; <",
    )
)


@given(st.lists(MARKUP | st.text(ANY, max_size=5), max_size=60).map("".join))
def test_any_html_is_sent(html):
    """A text is made of any HTML, whatever its state; the HTML stays as it was."""
    html = "h" + html.replace("\0", "")
    message = parsed(composed(text=None, html=html))
    assert body(message, "html") == normal(html)


FILE_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=255,
).filter(lambda name: name.strip() not in {"", ".", ".."})


@given(FILE_NAMES, st.binary(max_size=300))
@example('"', b"")
@example("a" * 255, b"")
@example("\U0001f600" * 255, b"")
@example("=?utf-8?q?x?=.pdf", b"")
@example(" a ", b"")
@example("100%27.pdf", b"")
@example("a;b=c.pdf", b"x" * 57)
@example("Zamówienie.pdf", b"x" * 58)
def test_an_attachment_is_read_as_it_was_given(filename, content):
    """A file arrives with its name and octets."""
    attachment = Attachment(filename=filename, content=content, content_type="image/png")
    written = composed(attachments=(attachment,))
    message = parsed(written)
    text, file = message.iter_parts()
    assert text.get_content() == "x\r\n"
    assert file.get_filename() == filename.strip()
    assert file.get_content() == content
    assert file.get_content_type() == "image/png"
    assert file.get_content_disposition() == "attachment"
    assert file.get_param("name").isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 78


@given(LINES)
@example("a" * 998)
@example("")
@example(" ")
@example("a  b" * 200)
@example("a b" * 300)
def test_a_custom_header_is_read_as_it_was_written(value):
    """The value of a header of the caller's is the same for its reader."""
    message = parsed(composed(headers={"X-Note": value}), also=["X-Note"])
    assert message["X-Note"] == value


@given(st.text(st.characters(max_codepoint=0x7F), min_size=1, max_size=60), st.text(max_size=80))
def test_any_header_is_sent_or_refused(name, value):
    """No name and no value of a header makes another header of itself."""
    try:
        content = composed(headers={"X-" + name: value})
    except InvalidMessage as error:
        assert all(fault.pointer.startswith("/headers/") for fault in error.faults)  # noqa: PT017 - a refusal is one of two right answers
        return
    assert parsed(content, also=["X-" + name])["X-" + name] == value


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize(
    ("pointer", "fields", "read"),
    [
        ("/subject", lambda text: {"subject": text}, lambda mail: mail["Subject"]),
        ("/to/0", lambda text: {"to": (f"{text} <b@x.test>",)}, None),
        ("/to/0", lambda text: {"to": (f"{text}@x.test",)}, None),
        ("/to/0", lambda text: {"to": (f"b@{text}",)}, None),
        ("/to/0", lambda text: {"to": (f"b@x.test{text}",)}, None),
        ("/from", lambda text: {"sender": f"{text} <a@x.test>"}, None),
        ("/text", lambda text: {"text": text}, lambda mail: body(mail, "plain")),
        ("/html", lambda text: {"html": text}, lambda mail: body(mail, "html")),
        ("/headers/X-A", lambda text: {"headers": {"X-A": text}}, lambda mail: mail["X-A"]),
        (
            "/headers/List-Id",
            lambda text: {"headers": {"List-Id": text}},
            lambda mail: mail["List-Id"],
        ),
        ("/headers/", lambda text: {"headers": {f"X-{text}": "x"}}, None),
        ("/headers/", lambda text: {"headers": {f"X-A: x{text}": "x"}}, None),
        (
            "/attachments/0/filename",
            lambda text: {"attachments": (Attachment(filename=text, content=b""),)},
            lambda mail: list(mail.iter_parts())[1].get_filename(),
        ),
        (
            "/attachments/0/content_type",
            lambda text: {
                "attachments": (Attachment(filename="a", content=b"", content_type=f"text/{text}"),)
            },
            None,
        ),
        (
            "/attachments/0/content_type",
            lambda text: {
                "attachments": (
                    Attachment(filename="a", content=b"", content_type=f'text/x; a="{text}"'),
                )
            },
            None,
        ),
        (
            "/attachments/0/content_id",
            lambda text: {"attachments": (Attachment(filename="a", content=b"", content_id=text),)},
            None,
        ),
    ],
)
def test_hostile_text_is_refused_or_stays_text(pointer, fields, read, text):
    """F39: each is refused by its field's name, or is delivered as the text that it is."""
    given = fields(text)
    try:
        content = composed(**given)
    except InvalidMessage as error:
        assert len(error.faults) == 1  # noqa: PT017 - a refusal is one of two right answers
        assert error.faults[0].pointer.startswith(pointer)  # noqa: PT017 - as above
        return
    assert not re.search(rb"^(Bcc|evil|MAIL)\b", content.partition(b"\r\n\r\n")[0], re.MULTILINE)
    message = parsed(content, also=given.get("headers", ()))
    if read is not None:
        assert read(message) == (normal(text) if pointer in {"/text", "/html"} else text)


def test_no_body_smuggles_a_second_message():
    """F40: whatever line ends and dots a body has, a relay finds the end where we put it."""
    chance = random.Random(40)
    pieces = ["\r", "\n", "\r\n", ".", "..", "\r\n.\r\n", "\n.\n", "\r.\r", "é", "\x85", "=2E"]
    pieces.append("MAIL FROM:<x>")
    for _ in range(2000):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 30)))
        content = composed(text=text)
        # Dot-stuffed as RFC 5321, section 4.5.2, asks for, the end is found at the end alone.
        wire = re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"
        assert wire.index(b"\r\n.\r\n") == len(wire) - 5
        message = parsed(content)
        assert message.get_payload(decode=True).decode().replace("\r\n", "\n") == normal(text)
