"""Our lease, what we have claimed under it, and the notifications of the other replicas."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from notifier.deliveries import WAITING, Delivery, Event, Route
from notifier.journal import Claim, News
from notifier.journal.postgres.connection import (
    CONNECT_SECONDS,
    TROUBLE,
    Connection,
    Pool,
    connect,
)
from notifier.supervisor import Supervisor

CHANNEL = "notifier"
AGAIN_SECONDS = 0.5  # between two attempts to reach the database
NEWS_KEPT = 1_000  # ids; a reader who comes later than that has missed some
NEWS_IDS = 150  # a notification of PostgreSQL has less than 8,000 bytes

OPEN = "INSERT INTO leases (expires_at) VALUES (clock_timestamp() + $1) RETURNING id"
RENEW = """
    WITH mine AS (UPDATE leases SET expires_at = clock_timestamp() + $2 WHERE id = $1 RETURNING id)
    SELECT (SELECT count(*) FROM mine) AS mine,
        (SELECT count(*) FROM leases WHERE id <> $1 AND expires_at > clock_timestamp()) AS others
"""
NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"

EVERYTHING = News(routes=tuple(Route), values=True, missed=True)

log = structlog.get_logger()


class Notification(Struct):
    """What one replica sends to the others."""

    by: int
    news: News


class Token(Struct, frozen=True):
    """The claim under which a delivery is sent. A record with another token is refused."""

    lease: int
    claim: int


class Claimed:
    """
    The deliveries that we have claimed. Tells an old claim of a delivery from a newer one of
    ours: if another replica took the delivery and we claimed it again, its events differ,
    because recovery adds one. If the answer to a record was lost, the record may be on disk and
    the delivery claimed again before we retry: so such a record is kept with its token.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[Token, tuple[Event, ...]]] = {}
        self._unanswered: dict[str, tuple[Delivery, Token]] = {}  # records

    def add(self, claims: Sequence[Claim], token: Token) -> None:
        for claim in claims:
            self._tokens[claim.delivery.id] = token, claim.delivery.events

    def token(self, delivery: Delivery) -> Token | None:
        """The token of a claim. None: the delivery is not claimed here."""
        token, events = self._tokens.get(delivery.id, (None, ()))
        return token if delivery.events == events else None

    def take(self, delivery: Delivery) -> Token | None:
        """The token to record the delivery with; the claim ends here. None: it is not claimed."""
        record, token = self._unanswered.pop(delivery.id, (None, None))
        if record == delivery:
            return token
        if (token := self.token(delivery)) is not None:
            del self._tokens[delivery.id]
        return token

    def put_back(self, delivery: Delivery, token: Token) -> None:
        """The database refused the record: the claim stands, and another record may follow."""
        self._tokens[delivery.id] = token, delivery.events

    def unanswered(self, delivery: Delivery, token: Token) -> None:
        """Whether the record was stored is unknown: the caller will record the delivery again."""
        self._unanswered[delivery.id] = delivery, token


class Heard:
    """What the other replicas have sent since the last call."""

    def __init__(self) -> None:
        self._news = News()
        self._stir = asyncio.Event()

    async def next(self) -> News:
        """Wait until there is something, and return all of it."""
        await self._stir.wait()
        self._stir.clear()
        news, self._news = self._news, News()
        return news

    def add(self, news: News) -> None:
        before = self._news
        changed = (*before.changed, *news.changed)
        self._news = News(
            routes=tuple({*before.routes, *news.routes}),
            changed=changed[:NEWS_KEPT],
            values=before.values or news.values,
            missed=before.missed or news.missed or len(changed) > NEWS_KEPT,
        )
        self._stir.set()


class Lease:
    """
    A row in the database that this replica renews four times before it runs out. Each claim names
    it.

    Once it has run out, the other replicas may delete it and take over its claims. This replica
    then takes a new one.
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
        self._until = 0.0  # the earliest time at which it runs out, by the local clock
        self._over = False
        self.id = 0
        self.others = 0  # replicas that are alive beside us
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._open(self._pool)
        self._keeping = self._supervisor.start("journal-lease", self._keep)

    async def close(self) -> None:
        """Delete the lease, so that the other replicas need not wait for its end."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        with contextlib.suppress(*TROUBLE):
            await self._pool.execute("DELETE FROM leases WHERE id = $1", self.id)

    @property
    def fresh(self) -> bool:
        """Whether the lease has certainly not run out, so that the claims stand."""
        return time.monotonic() < self._until

    async def renew(self, db: Any = None) -> None:
        """Raises what the driver raises."""
        begun = time.monotonic()
        mine, self.others = await (db or self._pool).fetchrow(RENEW, self.id, self._interval)
        if mine:
            self._until = begun + self._seconds
            return
        log.warning(
            "lease_lost",
            lease=self.id,
            why="the other replicas have taken over what this one had claimed",
        )
        await self._open(db or self._pool)

    async def tell(self, db: Any, changed: Sequence[Delivery], *, values: bool = False) -> None:
        """Notify the other replicas, if there are any, when the transaction is committed."""
        if not values and not (changed and self.others):
            return
        routes = tuple({each.route for each in changed if each.status in WAITING})
        news = [
            News(changed=tuple(each.id for each in changed[start : start + NEWS_IDS]))
            for start in range(0, len(changed), NEWS_IDS)
        ]
        news.append(News(routes=routes, values=values))
        await self._notify(db, news)

    async def _notify(self, db: Any, news: Sequence[News]) -> None:
        payloads = [msgspec.json.encode(Notification(self.id, each)).decode() for each in news]
        await db.execute(NOTIFY, CHANNEL, payloads)

    async def _open(self, db: Any) -> None:
        begun = time.monotonic()
        self.id = await db.fetchval(OPEN, self._interval)
        self._until = begun + self._seconds

    @property
    def _interval(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    async def _keep(self) -> None:
        """Renew the lease on a connection of its own, so that it never waits for a free one."""
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
            self._hear(EVERYTHING)  # notifications may have been missed meanwhile
            await self._notify(self._db, [News()])  # so that the other replicas know of this one
        return self._db

    async def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(TimeoutError, *TROUBLE):
                await self._db.close(timeout=CONNECT_SECONDS)

    def _heard(self, _db: Any, _pid: int, _channel: str, payload: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            notification = msgspec.json.decode(payload, type=Notification)
            if notification.by != self.id:
                self.others = max(self.others, 1)
                self._hear(notification.news)
