"""An address is found in each of its spellings and encodings, and other addresses are not."""

import base64
import html
import json
import quopri
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from notifier.erasure.mentions import LONGEST_LINE, OVERLAP, Mentions
from notifier.pseudonyms import compared

ANN = "ann.lee@example.org"
IN_A_LETTER = "Dear Bob,\nplease write to ann.lee@example.org. Thanks, Ann\n"


def quoted(text):
    """Each octet as quoted-printable."""
    return "".join(f"={octet:02X}" for octet in text.encode())


ENCODINGS = {
    "plain": lambda text: text.encode(),
    "capitals": lambda text: text.upper().encode(),
    "percent": lambda text: quote(text, safe="").encode(),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "quoted-printable throughout": lambda text: quoted(text).encode(),
    "json": lambda text: json.dumps(text).encode(),
    "json with escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text).encode(),
    "html": lambda text: html.escape(text).replace("@", "&#64;").encode(),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    **{
        f"base64 after {n} octets": lambda text, n=n: base64.b64encode(b" " * n + text.encode())
        for n in range(3)
    },
    "base64 in lines": lambda text: base64.encodebytes(b"x " * 100 + text.encode()),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16")),
    "base64 of quoted-printable": lambda text: base64.b64encode(quoted(text).encode()),
    "base64 twice": lambda text: base64.encodebytes(base64.b64encode(text.encode())),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", [ANN, IN_A_LETTER, f"<{ANN}>", f"mailto:{ANN}?subject=x"])
def test_an_address_is_found_in_each_encoding(encoding, text):
    """Alone and in a text, and behind a word of the same letters."""
    encoded = ENCODINGS[encoding](text)
    assert Mentions(ANN).within(encoded)
    assert Mentions(ANN).within(b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded)
    assert not Mentions("bob@example.org").within(encoded)


@pytest.mark.parametrize(
    "other",
    [
        "joann.lee@example.org", "x.ann.lee@example.org", "x-ann.lee@example.org",
        "éann.lee@example.org", "ann.lee@example.org.uk", "ann.lee@example.organic",
        "ann.lee@example.org-x.de", "ann.lee@mail.example.org", "lee@example.org",
        "ann.lee+tag@example.org",
    ],
)  # fmt: skip
def test_an_address_is_not_found_in_another(other):
    """Neither in one that ends or begins like it nor in one of a subdomain."""
    for name, encode in ENCODINGS.items():
        if "utf-16" in name.lower() and not other.isascii():
            continue  # there only ASCII is read
        assert not Mentions(ANN).within(encode(f"To: {other}\n"))


def test_a_name_that_a_caller_made_of_an_address_is_near_it():
    """Such as an idempotency key, whatever stands before and behind the address."""
    for name in (f"welcome-{ANN}", f"x.{ANN}.1", f"reset_{ANN.upper()}", f"{ANN}-12"):
        assert Mentions(ANN).near(name)
    assert Mentions(ANN).within(f"{ANN}-12")
    assert not Mentions(ANN).near("welcome-ann@example.org")


def test_a_number_is_found_with_and_without_its_plus():
    """As a gateway's recipient, too, and not within a longer number."""
    number = Mentions("+12025550123")
    for text in (
        "+12025550123",
        "tel:12025550123;",
        "12025550123@txt.example.net",
        "+1202555\u200b",
    ):
        assert number.within(text) == ("0123" in text)
    assert not number.within("112025550123 120255501234")


def test_a_domain_is_found_as_people_write_it():
    """The address in A-labels stands for the one in letters, also where IDNA 2003 knows no ß."""
    for domain in ("bücher.example", "straße.example"):
        mentions = Mentions(compared(f"Ann@{domain}"))
        assert mentions.within(f"to ann@{domain}!")
        if "ß" not in domain:  # its capital is another domain
            assert mentions.within(f"to ANN@{domain.upper()}!")
        assert mentions.within(compared(f"ann@{domain}"))


@pytest.mark.parametrize("end", ["\r\n", ""])
@pytest.mark.parametrize("encode", [str.encode, lambda text: base64.b64encode(text.encode())])
def test_no_place_in_a_large_text_is_missed(monkeypatch, encode, end):
    """The address is found wherever it stands about the end of a window."""
    monkeypatch.setattr("notifier.erasure.mentions.WINDOW", 20_000)
    mentions = Mentions(ANN)
    told = encode(f" {ANN} ")
    line = (b"A" * 76 + end.encode()) if end else b"A"
    filling = line * (50_000 // len(line))
    for place in range(19_900, 20_000 + OVERLAP + LONGEST_LINE, 500):
        cut = place // len(line) * len(line) if end else place // 4 * 4
        assert mentions.within(filling[:cut] + told + filling[cut:]), cut
    assert not mentions.within(filling)


local_parts = st.from_regex(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~é-]{1,20}(\.[a-zß0-9]{1,5})?", fullmatch=True
)
domains = st.from_regex(r"[a-zäöß0-9]([a-zäö0-9]{0,10})\.(org|example|co\.uk)", fullmatch=True)
addresses = st.builds("{}@{}".format, local_parts, domains)


def capitals_of(address):
    """Not of what has no capital of its own."""
    return "".join(each.upper() if len(each.upper()) == 1 else each for each in address)


@settings(max_examples=40)
@given(addresses, st.sampled_from(sorted(set(ENCODINGS) - {"capitals"})), st.booleans())
def test_every_address_is_found(address, encoding, capitals):
    """Whatever it is made of, in each spelling."""
    assume(address.isascii() or "utf-16" not in encoding.lower())
    shown = capitals_of(address) if capitals else address
    assert Mentions(compared(address)).within(ENCODINGS[encoding](f"To: <{shown}>"))


@given(addresses)
def test_compared_form_is_stable(address):
    """Comparing an address again changes nothing, and neither case nor the domain's form counts."""
    known = compared(address)
    assert compared(known) == known
    assert compared(capitals_of(address)) == known


@given(st.binary(max_size=3000), st.text(max_size=200))
def test_any_octets_can_be_searched(data, text):
    """Nothing is raised, whatever stands there."""
    mentions = Mentions(ANN)
    assert not mentions.within(data)
    assert not mentions.within(text)
