"""
People whom a trusted proxy has signed in with the company's login: who they are and what they may
do.
"""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from notifier.keys import Key, KeyScope
from notifier.settings import Settings, variable
from notifier.web.forwarded import TrustedProxies

LONGEST = 255  # octets of a name
_UNKNOWN = datetime.fromtimestamp(0, UTC)


class Login(Key, frozen=True, kw_only=True):
    """
    A person. To the service it is a key without rules, named `login:ann`, which no key in the file
    can be named. It lasts for one request.
    """

    @property
    def person(self) -> str:
        return self.name.removeprefix("login:")

    def _lack(self, scope: KeyScope) -> str:
        has = ", ".join(sorted(self.scopes))
        return f"the login {self.person!r} lacks the scope {scope.value!r}; it has {has}"


class NotBelieved(ValueError):
    """Why the header is not trusted."""


class Logins:
    """
    Reads the person from the header that the settings name. Only the address of the connection
    decides whether the header is trusted. A header that is not trusted is ignored.
    """

    def __init__(self, settings: Settings, proxies: TrustedProxies) -> None:
        self._proxies = proxies
        self._name = settings.sign_in_header.lower().encode()
        self._groups_name = settings.sign_in_groups_header.lower().encode()
        self._groups = dict(settings.sign_in_groups)

    def of(self, scope: Any) -> Login | None:
        """The person who makes this request. None: no trusted proxy names one."""
        try:
            return self._read(scope)
        except NotBelieved:
            return None

    def objection(self, scope: Any) -> str:
        """Why the request's header is not trusted, for the log; empty: it is trusted, or absent."""
        try:
            self._read(scope)
        except NotBelieved as error:
            return str(error)
        return ""

    def _read(self, scope: Any) -> Login | None:
        name, groups = self._value(scope, self._name), self._value(scope, self._groups_name)
        if not name:
            return None
        if not self._proxies.forward(scope):
            raise NotBelieved(
                f"the header {self._name.decode()} came from an address that is not among"
                f" {variable('trusted_proxies')}"
            )
        if len(name) > LONGEST or not (person := _text(name)).isprintable():
            raise NotBelieved(
                f"the header {self._name.decode()} has control characters, or more than"
                f" {LONGEST} octets"
            )
        scopes = {KeyScope.READ}
        for group in _text(groups).split(","):
            scopes |= self._groups.get(group.strip(), frozenset())
        return Login(
            name=f"login:{person}",
            id="",
            sha256="",
            scopes=frozenset(scopes),
            created=_UNKNOWN,
        )

    def _value(self, scope: Any, header: bytes) -> bytes:
        """
        Raises NotBelieved if the header is there twice: the caller may have sent one of them
        through a proxy that does not remove it.
        """
        values = [value for name, value in scope["headers"] if name == header]
        if len(values) > 1:
            raise NotBelieved(f"the header {header.decode()} was sent {len(values)} times")
        return values[0].strip() if values else b""


def _text(octets: bytes) -> str:
    """The value as UTF-8, else as Latin-1, which HTTP once had. RFC 9110, section 5.5."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


class Visitor(Struct, frozen=True):
    """Who looks at a page: whether a key is needed, and the caller's key or login if valid."""

    needs_key: bool
    key: Key | None = None

    @property
    def name(self) -> str:
        """The name that pages show: of the key or of the person; empty: not signed in."""
        if isinstance(self.key, Login):
            return self.key.person
        return self.key.name if self.key else ""

    @property
    def by_login(self) -> bool:
        return isinstance(self.key, Login)

    def may(self, scope: KeyScope) -> bool:
        return self.key.may(scope) if self.key else not self.needs_key

    @property
    def manages(self) -> bool:
        return self.may(KeyScope.MANAGE)

    @property
    def sends(self) -> bool:
        return self.may(KeyScope.SEND)

    @property
    def reads(self) -> bool:
        return self.may(KeyScope.READ)
