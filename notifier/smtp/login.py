"""Log in by the mechanisms that relays offer. RFC 4954, 4616 and 2195; LOGIN is in no RFC."""

import base64
import binascii
from collections.abc import Container

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import SMTPAuthenticationError

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
        self._username = username
        self._password = password
        self._response = auth_plain_encode(username, password).decode()  # RFC 4616
        name, secret = (each.decode() for each in auth_login_encode(username, password))
        self._left = {"name": name, "password": secret}  # each goes out once
        # What must not be kept, wherever a relay repeats it.
        self.secrets = [each for each in (self._response, secret, password) if each]

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
        if self._mechanism == "PLAIN" or not self._left:
            return None
        if self._mechanism == "CRAM-MD5":
            self._left.clear()
            try:
                return auth_crammd5_verify(self._username, self._password, challenge).decode()
            except SMTPAuthenticationError:  # the challenge is not base64
                return None
        return self._left.pop(self._wanted(_decoded(challenge).lower()), None)

    def _wanted(self, prompt: bytes) -> str:
        """What a prompt of LOGIN asks for; in an unknown language, the name and then the rest."""
        if b"pass" in prompt:
            return "password"
        if b"user" in prompt or b"name" in prompt:
            return "name"
        return next(iter(self._left))


def _decoded(challenge: str) -> bytes:
    try:
        return base64.b64decode(challenge)
    except (binascii.Error, ValueError):  # said in clear, which some do
        return challenge.encode()
