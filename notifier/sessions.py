"""Sessions of people who have signed in with an API key in a browser."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct

from notifier.clock import Clock
from notifier.journal import Journal
from notifier.journal.statements import Statement
from notifier.keys import Key, Keys

SESSION = "session:"  # before the token's hash, in the names of the values that the journal keeps
LIFETIME = timedelta(hours=12)
MOST = 50  # sessions of one key; another one ends the oldest
LONGEST = 64  # longest token that is compared


class Session(Struct, frozen=True):
    """The key of a session, as it was at sign-in, and the session's end."""

    key: str  # its id
    terms: str  # a digest of the key and of what it opens
    ends: datetime


_session = msgspec.json.Decoder(Session)


class Sessions:
    """
    A session allows what its key allows, until it ends, the key is revoked or expires, or the key's
    rules change.

    The journal keeps the hash of its token. So a session outlives a restart, is known to all
    replicas, and cannot be read from a backup. All sessions are in memory, too, so that streams can
    be checked without a query.
    """

    def __init__(self, journal: Journal, keys: Keys, *, clock: Clock) -> None:
        self._journal = journal
        self._keys = keys
        self._clock = clock
        self._open: dict[str, Session] = {}  # by the value's name, the oldest first
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the sessions of the journal: at the start, and when another replica changed them."""
        async with self._changing:
            values = await self._journal.values()
            found = {
                name: _session.decode(value)
                for name, value in values.items()
                if name.startswith(SESSION)
            }
            self._open = dict(sorted(found.items(), key=lambda item: item[1].ends))

    async def begin(self, key: Key, *also: Statement) -> str:
        """The token of a new session. It is stored nowhere. `also` is written with it."""
        token = secrets.token_urlsafe(32)
        name, now = _name(token), self._clock()
        session = Session(key.id, _terms(key), now + LIFETIME)
        async with self._changing:
            await self._journal.put(name, msgspec.json.encode(session).decode(), *also)
            self._open[name] = session
            await self._forget(*self._lapsed(now), *self._surplus(key))
        return token

    async def end(self, token: str, *also: Statement) -> None:
        async with self._changing:
            await self._forget(_name(token), also=also)

    async def known(self, token: str) -> Key | None:
        """The key of this session if it is valid, also of one that another replica has begun."""
        if not token or len(token) > LONGEST:
            return None
        name = _name(token)
        if name not in self._open and (value := await self._journal.value(name)):
            self._open[name] = _session.decode(value)
        return self.key_of(token)

    def key_of(self, token: str) -> Key | None:
        """The key of this session, from memory alone."""
        session = self._open.get(_name(token))
        return None if session is None else self._key(session, self._clock())

    def _key(self, session: Session, now: datetime) -> Key | None:
        key = self._keys.find(session.key)
        if key is None or now >= session.ends or key.lapsed(now) or _terms(key) != session.terms:
            return None
        return key

    def _lapsed(self, now: datetime) -> list[str]:
        return [name for name, each in self._open.items() if self._key(each, now) is None]

    def _surplus(self, key: Key) -> list[str]:
        names = [name for name, each in self._open.items() if each.key == key.id]
        return names[:-MOST]

    async def _forget(self, *names: str, also: Sequence[Statement] = ()) -> None:
        if names:
            await self._journal.forget(names, *also)
            for name in names:
                self._open.pop(name, None)


def _name(token: str) -> str:
    return SESSION + sha256(token.encode(errors="replace")).hexdigest()


def _terms(key: Key) -> str:
    said = " ".join((key.name, key.sha256, *sorted(key.scopes)))
    return sha256(said.encode()).hexdigest()
