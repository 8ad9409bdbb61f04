"""Sessions of people who have signed in with an API key, in a browser."""

import asyncio
import secrets
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct

from notifier.clock import Clock
from notifier.journal import Journal
from notifier.keys import Key, Keys

SESSION = "session:"  # before the token's hash, in the names of the values that the journal keeps
LIFETIME = timedelta(hours=12)
MOST = 50  # of one key; the next one ends the oldest
LONGEST = 64  # characters of a token: more is not looked at


class Session(Struct, frozen=True):
    """Of which key, as it was when somebody signed in, and until when."""

    key: str  # its id
    terms: str  # a digest of the key and of what it opens
    ends: datetime


_session = msgspec.json.Decoder(Session)


class Sessions:
    """
    A session opens what its key opens, and nothing more once it has ended, or the key is
    revoked, has expired, or opens other things than it did. The journal keeps the hash of its
    token: so it outlives a restart, is known to all replicas, and cannot be read out of a backup.

    All of them are held in memory too, so that streams can be looked after without asking.
    """

    def __init__(self, journal: Journal, keys: Keys, *, clock: Clock) -> None:
        self._journal = journal
        self._keys = keys
        self._clock = clock
        self._open: dict[str, Session] = {}  # by the value's name, the oldest first
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Hold what the journal has: at the start, and when another replica has changed it."""
        async with self._changing:
            values = await self._journal.values()
            found = {
                name: _session.decode(value)
                for name, value in values.items()
                if name.startswith(SESSION)
            }
            self._open = dict(sorted(found.items(), key=lambda item: item[1].ends))

    async def begin(self, key: Key) -> str:
        """The token of a new session. It is nowhere else."""
        token = secrets.token_urlsafe(32)
        name, now = _name(token), self._clock()
        session = Session(key.id, _terms(key), now + LIFETIME)
        async with self._changing:
            await self._journal.put(name, msgspec.json.encode(session).decode())
            self._open[name] = session
            await self._forget(*self._lapsed(now), *self._surplus(key))
        return token

    async def end(self, token: str) -> None:
        async with self._changing:
            await self._forget(_name(token))

    async def known(self, token: str) -> Key | None:
        """The key of this session, if it goes on; one that another replica has just begun, too."""
        if not token or len(token) > LONGEST:
            return None
        name = _name(token)
        if name not in self._open and (value := await self._journal.value(name)):
            self._open[name] = _session.decode(value)
        return self.key_of(token)

    def key_of(self, token: str) -> Key | None:
        """The same, of the sessions that are held."""
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

    async def _forget(self, *names: str) -> None:
        if names:
            await self._journal.forget(names)
            for name in names:
                self._open.pop(name, None)


def _name(token: str) -> str:
    return SESSION + sha256(token.encode(errors="replace")).hexdigest()


def _terms(key: Key) -> str:
    said = " ".join((key.name, key.sha256, *sorted(key.scopes)))
    return sha256(said.encode()).hexdigest()
