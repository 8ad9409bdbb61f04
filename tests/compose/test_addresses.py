"""What is taken for an address, and how it is written."""

import email
import email.policy
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.compose import address
from notifier.compose.mime import address_field
from notifier.domains import domain_to_ascii

# What is given; what SMTP is told; the name.
ACCEPTED = [
    ("a@x.org", "a@x.org", ""),
    (" a@x.org ", "a@x.org", ""),
    ("<a@x.org>", "a@x.org", ""),
    ("Ann <a@x.org>", "a@x.org", "Ann"),
    ("Ann<a@x.org>", "a@x.org", "Ann"),
    ("Ann Lee <a@x.org>", "a@x.org", "Ann Lee"),
    ('"Lee, Ann" <a@x.org>', "a@x.org", "Lee, Ann"),
    (r'"Ann \"the\\ one\" Lee" <a@x.org>', "a@x.org", 'Ann "the\\ one" Lee'),
    ('" Ann   Lee " <a@x.org>', "a@x.org", "Ann Lee"),
    ("Ann   Lee  <a@x.org>", "a@x.org", "Ann Lee"),
    ('"" <a@x.org>', "a@x.org", ""),
    ('"a <b@y.org>" <a@x.org>', "a@x.org", "a <b@y.org>"),
    ("Ann (Sales) <a@x.org>", "a@x.org", "Ann (Sales)"),
    ("ann@y.org <a@x.org>", "a@x.org", "ann@y.org"),
    ("Dr. Ann: x <a@x.org>", "a@x.org", "Dr. Ann: x"),
    ("Żółw <a@x.org>", "a@x.org", "Żółw"),
    ("=?utf-8?q?a=0D=0ABcc:_evil@x?= <a@x.org>", "a@x.org", "=?utf-8?q?a=0D=0ABcc:_evil@x?="),
    ("user@localhost", "user@localhost", ""),
    ("x@mailhost", "x@mailhost", ""),
    ("root@server-1", "root@server-1", ""),
    ("a@b.test", "a@b.test", ""),
    ("a@corp.internal", "a@corp.internal", ""),
    ("a@printer.local", "a@printer.local", ""),
    ("żółw@localhost", "żółw@localhost", ""),
    ("a@żółw.test", "a@xn--w-uga1v8h.test", ""),
    ("A.Lee@X.Org", "A.Lee@x.org", ""),
    ("INFO@żółw.pl", "INFO@xn--w-uga1v8h.pl", ""),
    ("a@Żółw.PL", "a@xn--w-uga1v8h.pl", ""),
    ("a@faß.de", "a@xn--fa-hia.de", ""),
    ("a@xn--w-uga1v8h.pl", "a@xn--w-uga1v8h.pl", ""),
    ("a@x\u3002org", "a@x.org", ""),
    ("!#$%&'*+-/=?^_`{|}~@x.org", "!#$%&'*+-/=?^_`{|}~@x.org", ""),
    ("a+b=c@x.org", "a+b=c@x.org", ""),
    ("żółw@x.org", "żółw@x.org", ""),
    ("z\u0307@x.org", "ż@x.org", ""),
    ("a" * 64 + "@x.org", "a" * 64 + "@x.org", ""),
    ("a@" + ".".join(["b" * 62] * 4), "a@" + ".".join(["b" * 62] * 4), ""),
    ("1@1.x1", "1@1.x1", ""),
]
REFUSED = {
    "": "",
    " ": "",
    "a": "",
    "@": "",
    "@x.org": "",
    "a@": "",
    "a@@x.org": "",
    "a@b@x.org": "",
    "a..b@x.org": "two periods",
    ".a@x.org": "period",
    "a.@x.org": "period",
    "a@.x.org": "",
    "a@x..org": "two periods",
    "a@x.org.": "period",
    "a@-x.org": "hyphen",
    "a@x-.org": "hyphen",
    "a@x_y.org": "invalid characters",
    "a@" + "b" * 64 + ".org": "",
    "a" * 65 + "@x.org": "64 octets",
    "ż" * 33 + "@x.org": "64 octets",
    "a@" + ".".join(["b" * 62] * 5): "254 octets",
    "a" * 60 + "@" + ".".join(["b" * 60] * 4): "254 octets",
    "a" * 100_000 + "@x.org": "octets",
    '"a b"@x.org': "",
    '"a"@x.org': "Quoting",
    "a@[127.0.0.1]": "",
    "a@[IPv6:::1]": "",
    "a@127.0.0.1": "a name, not a number",
    "a@1": "a name, not a number",
    "a b@x.org": "space",
    "a @x.org": "space",
    "a@x .org": "space",
    "Ann < a@x.org>": "space",
    "a\u00a0b@x.org": "unsafe",
    "a\u200b@x.org": "unsafe",
    "a@x\u200b.org": "",
    "=?utf-8?q?boss=40y.org?=@x.org": "encoded word",
    "=?utf-8?b?Ym9zc0B5Lm9yZw==?=@x.org": "encoded word",
    "Ann <a=?utf-8?q?b?=@x.org>": "encoded word",
    "=?utf-8?q?ż?=@x.org": "encoded word",
    "a@xn--kva.org": "IDNA",
    "a@ab--c.org": "",
    "a@x.org, b@x.org": "not several",
    "a@x.org,b@x.org": "not several",
    "a@x.org; b@x.org": "not several",
    "a@x.org b@x.org": "not several",
    "Ann <a@x.org>, Bob <b@x.org>": "not several",
    "a@x.org, Bob <b@x.org>": "not several",
    "Lee, Ann <a@x.org>": "double quotes",
    "group: a@x.org;": "",
    "a@x.org>": "has no `<`",
    "<a@x.org": "",
    "Ann <a@x.org> b": "",
    'Ann "x" <a@x.org>': "double quotes",
    '"Ann <a@x.org>': "double quotes",
    "Ann <<a@x.org>": "double quotes",
    "mailto:a@x.org": "",
    "a@x.org\r\nBcc: evil@x.org": "U+000D",
    "a\n@x.org": "U+000A",
    "a@x.org\n": "U+000A",
    "a\x00@x.org": "U+0000",
    "A\tB <a@x.org>": "U+0009",
    "A\x7f <a@x.org>": "U+007F",
    "A\x85 <a@x.org>": "U+0085",
    "A\u2028 <a@x.org>": "U+2028",
    "A\ud800 <a@x.org>": "U+D800",
    "a\ud800@x.org": "U+D800",
    "a@\udcff.org": "U+DCFF",
}


@pytest.mark.parametrize(("text", "spec", "name"), ACCEPTED)
def test_accepted(text, spec, name):
    """Addresses are read as people write them, those of internal hosts too."""
    found = address(text)
    assert (found.spec, found.name) == (spec, name)
    assert found.smtputf8 is not spec.isascii()
    assert found.domain == spec.rpartition("@")[2]
    assert found.domain.isascii()


@pytest.mark.parametrize(
    ("domain", "ascii_domain"),
    [
        ("X.Org", "x.org"),
        ("faß.de", "xn--fa-hia.de"),
        ("FAß.de", "xn--fa-hia.de"),
        ("Żółw.PL", "xn--w-uga1v8h.pl"),
        ("x\u3002org", "x.org"),
        ("\uff58.org", "x.org"),
        ("bücher.localhost", "xn--bcher-kva.localhost"),
        ("my_host", "my_host"),
    ],
)
def test_a_domain_has_one_form(domain, ascii_domain):
    """A domain is written in one way, the way of the addresses that are mailed to."""
    assert domain_to_ascii(domain) == ascii_domain
    if "_" not in domain:
        assert address(f"a@{domain}").domain == ascii_domain


@pytest.mark.parametrize("domain", ["é_.org", "a​.org", "é..org", "é" * 300])
def test_a_domain_that_dns_cannot_have_is_refused(domain):
    """What cannot become A-labels is a ValueError with a reason."""
    with pytest.raises(ValueError, match=r"\w"):
        domain_to_ascii(domain)


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=ascii)
def test_refused(text, why):
    """What is no single address is refused, with the reason."""
    with pytest.raises(ValueError, match=r"(?s)\w") as caught:
        address(text)
    assert type(caught.value) is ValueError
    assert why in str(caught.value)


def read(field):
    """
    The names and addresses of a field. The standard library's newer parser, up to 3.12, leaves
    a space between two encoded words of a name; its older one does it as RFC 2047 says.
    """
    message = email.message_from_bytes(field + b"\r\n")
    assert len(message.keys()) == 1
    pairs = getaddresses(message.values())
    newer = email.message_from_bytes(field + b"\r\n", policy=email.policy.default)
    (addresses,) = (header.addresses for header in newer.values())
    assert [each.addr_spec for each in addresses] == [spec for _, spec in pairs]
    return [(str(make_header(decode_header(name))), spec) for name, spec in pairs]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=300
).map(lambda text: " ".join(text.split()))


@given(NAMES)
@example("=?utf-8?q?x=0ABcc=3A_evil=40x?=")
@example("é, Evil")
@example("é" * 30 + ", Evil" + " b" * 20)
@example('"' * 60)
@example("x" * 300)
@example("a.b@c")
@example("\\")
@example("(comment)")
@example("a =?= b")
def test_a_name_is_read_as_it_was_written(name):
    """Whatever a name is, a reader's parser finds it again, and no second address."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    found = address(f'"{quoted}" <a@x.org>')
    field = address_field(b"Reply-To", [found.header])
    assert read(field) == [(name, "a@x.org")]
    assert field.isascii()
    assert max(map(len, field.split(b"\r\n"))) <= 76


@given(st.lists(NAMES, min_size=1, max_size=8))
def test_many_addresses_stay_as_many(names):
    """A field of several addresses gives them back, each with its name."""
    pairs = [(name, f"a{place}@x.org") for place, name in enumerate(names)]
    escaped = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    found = [address(f'"{name}" <a{place}@x.org>') for place, name in enumerate(escaped)]
    field = address_field(b"To", [each.header for each in found])
    assert read(field) == pairs
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))


@given(
    st.text(st.characters(exclude_categories=()), max_size=80)
    | st.text('a@.<>"\\ ,ż-[]', max_size=20)
)
def test_any_text_is_an_address_or_refused(text):
    """No text makes the reader of addresses stumble, and what it takes is safe for SMTP."""
    try:
        found = address(text)
    except ValueError:
        return
    assert found.spec.count("@") == 1
    assert not set(found.spec) & set(' <>(),;:"[]\\\r\n\0')
    assert b"\r" not in found.header.replace(b"\r\n ", b"")
    assert b"\n" not in found.header.replace(b"\r\n ", b"")
