"""Log in by the mechanisms that relays offer. RFC 4954, 4616 and 2195; LOGIN is in no RFC."""

import base64
import binascii
import hmac
from collections.abc import Container

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # in the order in which we want them
STRUCK_OUT = "********"


def mechanism(offered: Container[str]) -> str | None:
    """The one to be used, of those that a relay offers; None: it offers none that we know."""
    return next((name for name in MECHANISMS if name in offered), None)


class Login:
    """
    One login by one mechanism. What a relay asks for is what it gets: the password never goes
    out as the name, and each of them goes out once.
    """

    def __init__(self, mechanism: str, username: str, password: str) -> None:
        self._mechanism = mechanism
        self._secrets = {"name": username, "password": password}
        self._response = _encoded(f"\0{username}\0{password}")  # RFC 4616
        # What must not be kept, wherever a relay repeats it.
        self.secrets = [each for each in (self._response, _encoded(password), password) if each]

    @property
    def command(self) -> str:
        """
        PLAIN brings its response along, RFC 4954, section 4. LOGIN does not: there the relay
        speaks first, and a response where none is allowed is answered by 501.
        """
        if self._mechanism == "PLAIN":
            return f"AUTH PLAIN {self._response}"
        return f"AUTH {self._mechanism}"

    @property
    def shown(self) -> str:
        """The command, fit to be kept."""
        return self.command if self._mechanism != "PLAIN" else f"AUTH PLAIN {STRUCK_OUT}"

    def answer(self, challenge: str) -> str | None:
        """The line that answers a 334; None: it asks for what it has been given, or for more."""
        if self._mechanism == "PLAIN" or not self._secrets:
            return None
        octets = _decoded(challenge)
        if self._mechanism == "CRAM-MD5":
            digest = hmac.new(self._secrets["password"].encode(), octets, "md5").hexdigest()
            username = self._secrets["name"]
            self._secrets.clear()
            return _encoded(f"{username} {digest}")
        secret = self._secrets.pop(self._wanted(octets.lower()), None)
        return None if secret is None else _encoded(secret)

    def _wanted(self, prompt: bytes) -> str:
        """What a prompt of LOGIN asks for; in an unknown language, the name and then the rest."""
        if b"pass" in prompt:
            return "password"
        if b"user" in prompt or b"name" in prompt:
            return "name"
        return next(iter(self._secrets))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(challenge: str) -> bytes:
    try:
        return base64.b64decode(challenge)
    except (binascii.Error, ValueError):  # said in clear, which some do
        return challenge.encode()
