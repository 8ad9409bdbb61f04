"""Who looks at a page, as its template needs to know it."""

from msgspec import Struct

from notifier.keys import Key, KeyScope
from notifier.web.logins import Login


class Visitor(Struct, frozen=True):
    """Who looks at a page: whether a key is needed, and the caller's key or login if valid."""

    needs_key: bool
    key: Key | None = None

    @property
    def name(self) -> str:
        """As the pages show it: the name of the key or of the person; empty: a stranger."""
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
