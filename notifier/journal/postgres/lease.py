"""Who we are to the other replicas, as long as we say so in time; and what they have to say."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from notifier.deliveries import Delivery, Route
from notifier.journal import News
from notifier.journal.postgres.faults import TROUBLE
from notifier.journal.postgres.opening import CONNECT_SECONDS, Connection, Pool, connect
from notifier.supervisor import Supervisor

CHANNEL = "notifier"
AGAIN_SECONDS = 0.5  # between two tries to reach the database
NEWS_IDS = 150  # PostgreSQL carries less than 8,000 bytes in one notification

OPEN = "INSERT INTO leases (expires_at) VALUES (clock_timestamp() + $1) RETURNING id"
RENEW = """
    WITH mine AS (UPDATE leases SET expires_at = clock_timestamp() + $2 WHERE id = $1 RETURNING id)
    SELECT (SELECT count(*) FROM mine) AS mine,
        (SELECT count(*) FROM leases WHERE id <> $1 AND expires_at > clock_timestamp()) AS others
"""
SAY = "SELECT pg_notify($1, said) FROM unnest($2::text[]) AS said"

EVERYTHING = News(routes=tuple(Route), words=True, missed=True)

log = structlog.get_logger()


class Said(Struct):
    """What one replica tells the others."""

    by: int
    news: News


class Lease:
    """
    One row, renewed four times before it runs out; whatever we have claimed names it. Once it
    has run out the others may drop it, and what we claimed under it is ours no more: we go on
    under a new one.
    """

    def __init__(
        self,
        url: str,
        pool: Pool,
        *,
        seconds: float,
        hear: Callable[[News], None],
        supervisor: Supervisor,
    ) -> None:
        self._url = url
        self._pool = pool
        self._seconds = seconds
        self._hear = hear
        self._supervisor = supervisor
        self._db: Connection | None = None
        self._until = 0.0  # as far as we know, by our own clock
        self._over = False
        self.id = 0
        self.others = 0  # replicas that are alive beside us
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._open(self._pool)
        self._keeping = self._supervisor.start("journal-lease", self._keep)

    async def close(self) -> None:
        """Whoever finds something that is ours need not wait."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        with contextlib.suppress(*TROUBLE):
            await self._pool.execute("DELETE FROM leases WHERE id = $1", self.id)

    @property
    def fresh(self) -> bool:
        """Whether nobody can have taken from us what we hold."""
        return time.monotonic() < self._until

    async def renew(self, db: Any = None) -> None:
        """Raises what the driver raises."""
        begun = time.monotonic()
        mine, self.others = await (db or self._pool).fetchrow(RENEW, self.id, self._interval)
        if mine:
            self._until = begun + self._seconds
            return
        log.warning("lease_lost", lease=self.id, why="the others have taken over what we had")
        await self._open(db or self._pool)

    async def tell(self, db: Any, changed: Sequence[Delivery], *, words: bool = False) -> None:
        """Tell the others, where there are any, once the transaction is committed."""
        if not words and not (changed and self.others):
            return
        routes = tuple({each.route for each in changed if each.status.waiting})
        news = [
            News(changed=tuple(each.id for each in changed[start : start + NEWS_IDS]))
            for start in range(0, len(changed), NEWS_IDS)
        ]
        news.append(News(routes=routes, words=words))
        await self._say(db, news)

    async def _say(self, db: Any, news: Sequence[News]) -> None:
        said = [msgspec.json.encode(Said(self.id, each)).decode() for each in news]
        await db.execute(SAY, CHANNEL, said)

    async def _open(self, db: Any) -> None:
        begun = time.monotonic()
        self.id = await db.fetchval(OPEN, self._interval)
        self._until = begun + self._seconds

    @property
    def _interval(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    async def _keep(self) -> None:
        """On a connection of its own: it must not wait for one of the others."""
        while True:
            try:
                db = await self._connected()
                await self.renew(db)
                await asyncio.sleep(self._seconds / 4)
            except TROUBLE as error:
                log.warning("journal_unreachable", reason=str(error) or type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
            except asyncio.CancelledError:
                await self._disconnect()
                raise

    async def _connected(self) -> Connection:
        if self._db is None or self._db.is_closed():
            self._db = await connect(self._url)
            await self._db.add_listener(CHANNEL, self._heard)
            self._hear(EVERYTHING)  # whatever was said meanwhile we have missed
            await self._say(self._db, [News()])  # so that the others know of us
        return self._db

    async def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(TimeoutError, *TROUBLE):
                await self._db.close(timeout=CONNECT_SECONDS)

    def _heard(self, _db: Any, _pid: int, _channel: str, payload: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            said = msgspec.json.decode(payload, type=Said)
            if said.by != self.id:
                self.others = max(self.others, 1)
                self._hear(said.news)
