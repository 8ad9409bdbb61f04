"""
Return paths: the address that reports of failed delivery go to, as against the sender whom
readers see. RFC 5321, section 4.4.

With a `*` in it the address names message and recipient (VERP, variable envelope return path), so
that a report which says little else can still be matched.
"""

import base64
import hmac
import re
from hashlib import sha256

from msgspec import Struct

from notifier.characters import CONTROL
from notifier.domains import domain_to_ascii

STAR = "*"
LOCAL_OCTETS = 64  # RFC 5321, section 4.5.3.1.1
ADDRESS_OCTETS = 254
_ID_OCTETS, _RECIPIENT_OCTETS, _SEAL_OCTETS = 16, 4, 8
TOKEN_LENGTH = 45  # of all these octets in base 32, without its padding

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_TOKEN = re.compile(rf"[a-z2-7]{{{TOKEN_LENGTH}}}")


def read_return_path(text: str) -> str:
    """A return path with its domain in ASCII. Raises ValueError with a text for operators."""
    local, at, domain = text.rpartition("@")
    shown = repr(CONTROL.sub("?", text)[:100])
    if not at or not _LOCAL.fullmatch(local) or not _is_domain(domain):
        raise ValueError(f"{shown} is not a bare address; write bounces+*@example.org")
    if local.count(STAR) > 1:
        raise ValueError(f"{shown} has more than one *")
    path = f"{local}@{domain_to_ascii(domain)}"
    grows = (TOKEN_LENGTH - 1) * local.count(STAR)
    if len(local) + grows > LOCAL_OCTETS:
        most = LOCAL_OCTETS - TOKEN_LENGTH if grows else LOCAL_OCTETS
        beside = " beside the *" if grows else ""
        raise ValueError(f"{shown} has more than {most} characters{beside} before the @")
    if len(path) + grows > ADDRESS_OCTETS:
        raise ValueError(f"{shown} is too long")
    return path


def _is_domain(text: str) -> bool:
    try:
        return _DOMAIN.fullmatch(domain_to_ascii(text)) is not None
    except ValueError:
        return False


class Mark(Struct, frozen=True):
    """What a token names: a message, and one of its recipients."""

    id: str
    recipient: bytes  # a digest of the address

    def names(self, address: str) -> bool:
        """Whether it is this recipient."""
        return hmac.compare_digest(self.recipient, _digest(self.id, address))


class Verp:
    """
    Makes and reads tokens under a secret. A token consists of lower-case letters and digits, so
    that it survives a server that changes the case of an address. Without the secret nobody can
    make one.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def address(self, path: str, id: str, recipient: str) -> str:
        """
        The return path for one recipient of a message; unchanged if it has no star. Raises
        ValueError if the id is not notifier's.
        """
        return path.replace(STAR, self.token(id, recipient)) if STAR in path else path

    def token(self, id: str, recipient: str) -> str:
        """The token of one recipient of a message. Raises ValueError as `address` does."""
        raw = bytes.fromhex(id)
        if len(raw) != _ID_OCTETS:
            raise ValueError(f"{id!r} is not the id of a message")
        named = raw + _digest(id, recipient)
        return base64.b32encode(named + self._seal(named)).decode().rstrip("=").lower()

    def read(self, token: str) -> Mark | None:
        """What a token names. None: it does not come from this service."""
        token = token.lower()
        if not _TOKEN.fullmatch(token):
            return None
        octets = base64.b32decode(token.upper() + "=" * (-TOKEN_LENGTH % 8))
        named, seal = octets[:-_SEAL_OCTETS], octets[-_SEAL_OCTETS:]
        if not hmac.compare_digest(seal, self._seal(named)):
            return None
        return Mark(named[:_ID_OCTETS].hex(), named[_ID_OCTETS:])

    def read_address(self, path: str, address: str) -> Mark | None:
        """What the token in an address names that was made of this path. None: it was not."""
        before, star, after = path.lower().partition(STAR)
        address = address.lower()
        if not star or not (address.startswith(before) and address.endswith(after)):
            return None
        return self.read(address[len(before) : len(address) - len(after)])

    def _seal(self, named: bytes) -> bytes:
        # Not `hmac.digest`, which lets go of the interpreter even for so little, and then waits for
        # it while other threads work.
        return hmac.new(self._secret, b"return path" + named, sha256).digest()[:_SEAL_OCTETS]


def _digest(id: str, address: str) -> bytes:
    return sha256(f"{id} {address}".encode(errors="surrogatepass")).digest()[:_RECIPIENT_OCTETS]
