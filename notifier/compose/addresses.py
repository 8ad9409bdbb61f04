"""Read addresses as people write them, and write them as headers need them."""

import re
from functools import lru_cache

from msgspec import Struct

from notifier.compose.mime import ADDRESS_COLUMN, LINE, encoded_words, require_text
from notifier.domains import domain_to_ascii, email_validator

# RFC 5321, section 4.5.3.1, and erratum 1690 of RFC 3696.
LOCAL_OCTETS = 64
ADDRESS_OCTETS = 254

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The form of nearly every address. email_validator reads all others.
_PLAIN = re.compile(rf"({_ATEXT}+(?:\.{_ATEXT}+)*)@({_LABEL}(?:\.{_LABEL})*)")
_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+", re.DOTALL)
_RESERVED_LABEL = re.compile(r"(?:\A|\.)..--", re.DOTALL)
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[BbQq]\?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_SPECIAL = re.compile(r'[<>,;"\\]')
_ATOMS = re.compile(rf"{_ATEXT}+(?: {_ATEXT}+)*")
# A name that is shorter needs no folding, whatever header it stands in.
_NAME_OCTETS = 60


class Address(Struct, frozen=True):
    """
    One mailbox. `spec` is its form in SMTP: the domain in lower case and in ASCII (A-labels, RFC
    5890); the local part is ASCII too unless `smtputf8`.
    """

    spec: str
    name: str
    smtputf8: bool
    header: bytes  # as written in To and similar fields, folded

    @property
    def domain(self) -> str:
        return self.spec.rpartition("@")[2]


@lru_cache(maxsize=4096)
def address(text: str) -> Address:
    """
    One address, `ann@example.org`, `Ann <ann@example.org>` or `"Lee, Ann" <ann@example.org>`.
    Raises ValueError with a text for the caller.
    """
    require_text(text)
    text = text.strip(" ")
    name = ""
    if text.endswith(">"):
        before, bracket, spec = text[:-1].rpartition("<")
        if not bracket:
            raise ValueError("a `>` has no `<` before it")
        name = _name(before.strip(" "))
    else:
        spec = text
    spec, smtputf8 = _spec(spec)
    return Address(spec, name, smtputf8, _header(name, spec))


def _name(text: str) -> str:
    if quoted := _QUOTED.fullmatch(text):
        return " ".join(_ESCAPE.sub(r"\1", quoted[1]).split())
    if special := _SPECIAL.search(text):
        if "@" in text and special[0] != '"':
            raise ValueError("give one address here, not several")
        raise ValueError(f"a name with `{special[0]}` in it must be in double quotes")
    return " ".join(text.split())


def _spec(text: str) -> tuple[str, bool]:
    plain = _PLAIN.fullmatch(text)
    if plain is None or _RESERVED_LABEL.search(plain[2]):
        local, domain, smtputf8 = _validated(text)
    else:
        local, domain, smtputf8 = plain[1], plain[2].lower(), False
    if "=?" in local and _ENCODED_WORD.search(local):
        # Readers would decode `=?utf-8?q?boss=40x.org?=@x.org` and show another sender.
        raise ValueError("an encoded word (RFC 2047) cannot stand in an address")
    if len(local.encode()) > LOCAL_OCTETS:
        raise ValueError(f"what stands before the @ is longer than {LOCAL_OCTETS} octets")
    spec = f"{local}@{domain}"
    if len(spec.encode()) > ADDRESS_OCTETS:
        raise ValueError(f"the address is longer than {ADDRESS_OCTETS} octets")
    if _NUMERIC.fullmatch(domain):
        raise ValueError("the domain after the @ must be a name, not a number")
    return spec, smtputf8


def _validated(text: str) -> tuple[str, str, bool]:
    """The parts of an address that is not plain: local part, domain, whether RFC 6531 is needed."""
    if text.count("@") > 1 and re.search(r"[,;\s]", text):
        raise ValueError("give one address here, not several")
    if " " in text:
        raise ValueError("an address must not contain a space")
    if len(text) > ADDRESS_OCTETS:
        raise ValueError(f"the address is longer than {ADDRESS_OCTETS} octets")
    library = email_validator()
    try:
        found = library.validate_email(text, check_deliverability=False, globally_deliverable=False)
    except library.EmailNotValidError as error:
        raise ValueError(str(error)) from None
    # The local part belongs to its host: if it is ASCII, it stays as written.
    written, _, domain = text.rpartition("@")
    local = written if found.ascii_local_part else found.local_part
    return local, domain_to_ascii(domain), found.smtputf8


def _header(name: str, spec: str) -> bytes:
    octets = spec.encode()
    if not name:
        return octets
    phrase = _phrase(name)
    column = len(phrase) - phrase.rfind(b"\n") - 1
    if b"\n" not in phrase:
        column += ADDRESS_COLUMN
    fold = b" " if column + len(octets) + 3 <= LINE else b"\r\n "
    return b"%b%b<%b>" % (phrase, fold, octets)


def _phrase(name: str) -> bytes:
    """A display name. RFC 5322, section 3.2.5; RFC 2047, section 5 (3)."""
    if name.isascii() and len(name) <= _NAME_OCTETS and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name.encode()
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        if len(quoted) <= _NAME_OCTETS:
            return b'"%b"' % quoted.encode()
    return encoded_words(name, column=ADDRESS_COLUMN)
