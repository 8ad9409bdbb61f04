"""
Log in by the mechanisms that relays offer: with a password (RFC 4954, 4616 and 2195; LOGIN is in
no RFC), or with an access token (RFC 7628; XOAUTH2 is Google's and Microsoft's).
"""

import base64
import binascii
from collections.abc import Container
from typing import Protocol

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import SMTPAuthenticationError

from notifier.relayspec import RelaySpec
from notifier.smtp.replies import text
from notifier.tokens import Token

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # in the order in which we want them
# The first is the older one, and the one that both Microsoft and Google have tried most.
OF_TOKENS = ("XOAUTH2", "OAUTHBEARER")
STRUCK_OUT = "********"
LONGEST_COMMAND = 510  # octets without CRLF, RFC 5321, section 4.5.3.1.4


def mechanism(offered: Container[str], wanted: tuple[str, ...] = MECHANISMS) -> str | None:
    """The best mechanism that a relay offers. None: it offers no known one."""
    return next((name for name in wanted if name in offered), None)


class Login(Protocol):
    """One login by one mechanism. Each secret goes out once."""

    secrets: list[str]  # what must not be kept, wherever a relay repeats it

    @property
    def command(self) -> str: ...

    @property
    def shown(self) -> str:
        """The command without secrets, for the conversation."""
        ...

    def answer(self, challenge: str) -> str | None:
        """The line that answers a 334; None: it asks for what it has been given, or for more."""
        ...

    def error_in(self, challenge: str) -> str:
        """The error that a 334 carries, RFC 7628, section 3.2.2; empty: none."""
        ...


def login_with(way: str, spec: RelaySpec, token: Token | None) -> Login:
    """A login by this mechanism, of a relay that has a user."""
    username = spec.username or ""
    if token is not None:
        return TokenLogin(way, username, token.value, host=spec.host, port=spec.port)
    return PasswordLogin(way, username, spec.password or "")


class PasswordLogin:
    """
    Answers each prompt with what it asks for: the password never goes out as the name, and each of
    them goes out once.
    """

    def __init__(self, mechanism: str, username: str, password: str) -> None:
        self._mechanism = mechanism
        self._username = username
        self._password = password
        self._response = auth_plain_encode(username, password).decode()  # RFC 4616
        name, secret = (each.decode() for each in auth_login_encode(username, password))
        self._left = {"name": name, "password": secret}  # each goes out once
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

    def error_in(self, challenge: str) -> str:  # noqa: ARG002 - prompts carry no error
        """The error that a 334 carries, RFC 7628, section 3.2.2; empty: none."""
        return ""

    def _wanted(self, prompt: bytes) -> str:
        """What a prompt of LOGIN asks for; in an unknown language, the name and then the rest."""
        if b"pass" in prompt:
            return "password"
        if b"user" in prompt or b"name" in prompt:
            return "name"
        return next(iter(self._left))


class TokenLogin:
    """
    The token goes out once. A relay that does not like it says why in a 334, and its 535 comes
    after an answer that says nothing. RFC 7628, section 3.2.3.
    """

    def __init__(self, mechanism: str, username: str, token: str, *, host: str, port: int) -> None:
        self._mechanism = mechanism
        bearer = f"auth=Bearer {token}\x01\x01"
        if mechanism == "XOAUTH2":
            said = f"user={username}\x01{bearer}"
            self._nothing = ""
        else:
            name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, section 4
            said = f"n,a={name},\x01host={host}\x01port={port}\x01{bearer}"
            self._nothing = "AQ=="
        self._response = base64.b64encode(said.encode()).decode()
        self._brought = len(f"AUTH {mechanism} {self._response}") <= LONGEST_COMMAND
        self._answered = self._brought
        self._refused = False
        self.secrets = [self._response, token]

    @property
    def command(self) -> str:
        """It brings the token along where it is short enough: RFC 4954, section 4."""
        brought = f" {self._response}" if self._brought else ""
        return f"AUTH {self._mechanism}{brought}"

    @property
    def shown(self) -> str:
        """The command, fit to be kept."""
        return f"AUTH {self._mechanism}{f' {STRUCK_OUT}' if self._brought else ''}"

    def answer(self, challenge: str) -> str | None:  # noqa: ARG002 - it decides nothing
        """The line that answers a 334; None: it asks for more."""
        if not self._answered:
            self._answered = True
            return self._response
        if self._refused:
            return None
        self._refused = True
        return self._nothing

    def error_in(self, challenge: str) -> str:
        """The error that a 334 carries, RFC 7628, section 3.2.2; empty: none."""
        return text(_decoded(challenge)) if self._answered else ""


def _decoded(challenge: str) -> bytes:
    try:
        return base64.b64decode(challenge)
    except (binascii.Error, ValueError):  # some relays send it without encoding
        return challenge.encode()
