"""
What leaves, held to the RFCs: by its octets, by Python's parser, and by a parser that shares no
line of code with it (Rust's `mailparse`).
"""

import email
import email.policy
import re
from datetime import UTC, datetime

import pytest
from fast_mail_parser import parse_email, parse_email_tree, walk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifier.compose import compose
from notifier.compose import mime as mime_module
from notifier.compose.mime import quoted_printable
from notifier.messages import Attachment, Email

NOW = datetime(2026, 11, 24, 22, 5, 9, tzinfo=UTC)
WORD = re.compile(rb"=\?[A-Za-z0-9-]+\?[BbQq]\?[^?\s]*\?=")

LINE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), max_size=120
)
PROSE = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
    | st.sampled_from(
        ["\r\n", "\n", "\r", " \n", "\t\n", ".\n", "From x\n", "=\n", "a" * 200, "é" * 90]
    ),
    max_size=15,
).map("".join)
NAMES = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs"), exclude_characters='"\\'
    ),
    max_size=60,
)
FILES = st.builds(
    Attachment,
    filename=st.text(
        # One of the parsers ends a quoted name at a semicolon.
        st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs", "Zs"),
                      exclude_characters="/\\;"),
        min_size=1, max_size=80,
    ).filter(lambda name: name not in {".", ".."}),
    content=st.binary(max_size=200),
    content_type=st.sampled_from(["application/pdf", "text/csv", "image/png", "text/plain; x=y"]),
)  # fmt: skip


def composed(**fields):
    given = {"to": ("b@x.test",), "sender": "a@x.test", "text": "x", **fields}
    return compose(Email(**given), id="0192", sender=None, at=NOW).content


def held(content):
    """Both parsers' messages, once the octets are seen to be right."""
    assert content.isascii()  # no relay is asked for 8BITMIME
    assert b"\0" not in content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert content.endswith(b"\r\n")
    head, _, _ = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert all(line.strip() for line in lines)  # RFC 5322: no line of a field is blank
    assert max(map(len, WORD.findall(head)), default=0) <= 75
    assert all(len(line) <= 76 for line in lines if WORD.search(line))
    message = email.message_from_bytes(content, policy=email.policy.default)
    for part in message.walk():
        assert not part.defects
        hold_part(part)
    other = parse_email(content)
    assert other.warnings == []
    return message, other


def hold_part(part):
    """The parameters and the encoding that a part must have, by its type."""
    raw = email.message_from_bytes(part.as_bytes(), policy=email.policy.compat32)
    kind, encoding = part.get_content_type(), part["Content-Transfer-Encoding"]
    if part.is_multipart():
        assert 1 <= len(part.get_boundary()) <= 70
        assert encoding in {None, "7bit"}
        if kind == "multipart/related":
            assert part.get_param("type") == next(part.iter_parts()).get_content_type()
        return
    assert encoding in {"7bit", "quoted-printable", "base64"}
    body = raw.get_payload().encode()
    widest = max(map(len, body.replace(b"\r\n", b"\n").split(b"\n")))
    assert widest <= (78 if encoding == "7bit" else 76)
    if kind in {"text/plain", "text/html"} and part.get_content_disposition() is None:
        assert part.get_content_charset() == "utf-8"
    if part.get_content_disposition():
        assert part.get_filename()
        assert part.get_param("name")


def read(text):
    """A text as a reader has it."""
    return text.replace("\r\n", "\n")


def normal(text):
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else f"{text}\n"


@settings(deadline=None)  # the machine may be busy
@given(PROSE, PROSE)
@example("\ufeffHello", "\ufeff<p>Hello")
@example("x" * 75 + " \n", "<p>" + "x" * 74 + "\u00e9 \n")
def test_both_parsers_read_the_texts(text, html):
    """Whatever line ends and marks an editor has left, a text is the same for its readers."""
    message, other = held(composed(text=f"t{text}", html=f"<p>{html}"))
    assert [read(each) for each in other.text_plain] == [normal(f"t{text}")]
    assert [read(each) for each in other.text_html] == [normal(f"<p>{html}")]
    plain = message.get_body(("plain",)).get_payload(decode=True).decode()
    assert read(plain) == normal(f"t{text}")


@settings(deadline=None)  # the machine may be busy
@given(LINE, st.dictionaries(st.sampled_from(["X-One", "X-Two", "Comments"]), LINE, max_size=3))
@example("=?utf-8?q?x?=", {"X-One": "a " * 300})
@example("\U0001f600" * 100, {"Comments": "\u00e9" * 200})
def test_both_parsers_read_the_fields(subject, headers):
    """Subjects and free headers are decoded to what was written."""
    message, other = held(composed(subject=subject, headers=headers))
    assert message["Subject"] == subject
    assert other.subject.strip(" ") == subject.strip(" ")
    for name, value in headers.items():
        assert message[name] == value
        (found,) = other.headers[name]
        assert found.strip(" ") == value.strip(" ")


@settings(deadline=None)  # the machine may be busy
@given(st.lists(NAMES, min_size=1, max_size=8))
@example(["Lee, Ann", "=?utf-8?q?boss?=", "a <b@y.test>", "Dr. X: y;", "\u017b\u00f3\u0142w, Ann"])
def test_both_parsers_read_the_addresses(names):
    """A name with whatever is in it stays one name, and its address one address."""
    to = tuple(f'"{name}" <a+{place}@x.test>' for place, name in enumerate(names))
    message, other = held(composed(to=to))
    specs = [f"a+{place}@x.test" for place in range(len(names))]
    assert [each.addr_spec for each in message["To"].addresses] == specs
    assert [each.address for each in other.to] == specs
    shown = [" ".join(name.split()) for name in names]
    assert [each.display_name or "" for each in other.to] == shown


@settings(deadline=None)  # the machine may be busy
@given(st.lists(FILES, min_size=1, max_size=4), st.booleans())
@example(
    [
        Attachment(
            filename="\u00e9.txt", content="\u00e9".encode("utf-16"), content_type="text/plain"
        )
    ],
    False,
)
def test_both_parsers_read_the_files(files, html):
    """A file has its name, its type and its octets."""
    content = composed(html="<p>x" if html else None, attachments=tuple(files))
    message, _ = held(content)
    found = list(message.iter_attachments())
    assert [each.get_filename() for each in found] == [each.filename for each in files]
    parts = [each for each in walk(parse_email_tree(content)) if each.disposition == "attachment"]
    assert [bytes(each.content) for each in parts] == [each.content for each in files]
    assert [each.filename for each in parts] == [each.filename for each in files]


@settings(deadline=None)  # the machine may be busy
@given(PROSE)
def test_quoted_printable_is_the_same_in_portions(text):
    """Long texts are encoded piece by piece: no line grows, no line end is changed."""
    octets = re.sub(r"\r\n?|\n", "\r\n", text).encode() + b"\r\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mime_module, "_PORTION", 150)
        encoded = quoted_printable(octets)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", encoded)
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
    part = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + encoded
    assert email.message_from_bytes(part).get_payload(decode=True) == octets


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n", "text/calendar", {"method": "REQUEST"}),
        (b"BEGIN:VCALENDAR\nMETHOD:cancel\n", "text/calendar", {"method": "CANCEL"}),
        (b"METHOD:REQUEST\r\n", "text/calendar; method=PUBLISH", {"method": "PUBLISH"}),
        (b"BEGIN:VCALENDAR\r\n", "text/calendar", {"method": None}),
        ("a;\u00e9".encode(), "text/csv", {"charset": "utf-8"}),
        ("a;\u00e9".encode("utf-16"), "text/csv", {"charset": "utf-16"}),
        ("a;\u00e9".encode("latin-1"), "text/csv", {"charset": None}),
        ("a;\u00e9".encode("latin-1"), "text/csv; charset=latin1", {"charset": "latin1"}),
    ],
)
def test_a_file_has_the_parameters_of_its_type(content, content_type, expected):
    """A text names its charset where it can be known, an invitation its method."""
    file = Attachment(filename="a", content=content, content_type=content_type)
    message, _ = held(composed(attachments=(file,)))
    (part,) = message.iter_attachments()
    assert {name: part.get_param(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("m\u00fcller@stra\u00dfe.example", "m\u00fcller@xn--strae-oqa.example"),
        ("ann+orders@b\u00fccher.example", "ann+orders@xn--bcher-kva.example"),
        ("o'brien@x.test", "o'brien@x.test"),
        ("a=b@x.test", "a=b@x.test"),
        (
            "\u0645\u062b\u0627\u0644@\u0645\u062b\u0627\u0644.example",
            "\u0645\u062b\u0627\u0644@xn--mgbh0fb.example",
        ),
    ],
)
def test_addresses_as_registries_have_them(written, spec):
    """Domains leave as A-labels; a local part outside of ASCII stands as it is, by SMTPUTF8."""
    made = compose(Email(to=(written,), text="x"), id="1", sender="a@x.test", at=NOW)
    assert made.envelope.recipients == (spec,)
    assert made.envelope.smtputf8 is not spec.isascii()
    assert f"\r\nTo: {spec}\r\n".encode() in made.content
