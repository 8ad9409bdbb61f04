"""Carries out erasures in portions, until nothing of the person is found any more."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from msgspec import Struct

from notifier.audit import Audit
from notifier.capture import Mailbox
from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.erasure.in_messages import InMessages
from notifier.erasure.in_tables import InTables
from notifier.erasure.local_places import CapturedMails, LogFiles, Memory
from notifier.erasure.person import Person, person_of
from notifier.erasure.requests import RUNNING, WAITING, Progress, Request, Requests, seal
from notifier.erasure.wiping import Outcome
from notifier.errors import NotifierError
from notifier.intake.storms import Brake
from notifier.journal import Journal
from notifier.journal.shared_secret import shared_secret
from notifier.pseudonyms import SECRET, Pseudonyms
from notifier.settings import Settings
from notifier.supervisor import Background, Supervisor, wait_at_most
from notifier.threads import FairThreads

WHAT = "erase-recipient"  # as the audit calls it
NEWS = "erasure"  # the value that tells other replicas of a request, and of what it has hidden
AGAIN_SECONDS = (
    0.5  # seconds between two looks at messages that are waited for, in the first minute
)
SELDOM_SECONDS = 5.0  # later
SOON = timedelta(minutes=1)
PRUNE_SECONDS = 3600.0  # seconds between two looks for old erasures
LOOK_SECONDS = 30.0  # seconds between two looks for work that a dead replica has left
# What no erasure reaches, whatever the journal.
NOT_REACHED = (
    "backups of the journal, such as those of `notifier backup`",
    "copies that relays and SMS providers keep, and the mailboxes of the recipients",
    "data of the applications that sent messages or received callbacks",
    "log lines that were written to a stream, and traces that were exported to a collector",
    "the keys file, the TOML file and the templates",
    "replicas that were not running: erase again when they run",
    "blocks that the file system or the disk has freed but not overwritten",
)

log = structlog.get_logger()


class State(Struct, frozen=True, kw_only=True):
    """The progress of an erasure."""

    request: Request
    counts: dict[str, int]  # what was wiped, by place
    waiting_for: int  # messages that a worker sends now or that others wait for
    not_reached: Sequence[str]


class Erasure(Background):
    """
    Erases persons. A request is on disk before anything is wiped, and continues after a crash. One
    replica wipes the journal; each replica wipes its own memory and files.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        audit: Audit,
        *,
        mailbox: Callable[[], Mailbox],
        brake: Brake,
        changed: Callable[[Delivery], None],
        hidden: Callable[[], Awaitable[None]],
        threads: FairThreads,
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        """
        `changed` is called with each message that was ended or goes on to fewer recipients;
        `hidden` when the list of suppressions may have pseudonyms.
        """
        self._region = settings.sms_region
        self._retention = timedelta(seconds=settings.audit_retention)
        self._process = f"{socket.gethostname()}:{settings.port} {secrets.token_hex(4)}"
        self._journal = journal
        self._audit = audit
        self._places = (
            CapturedMails(mailbox),
            LogFiles(settings.log_dir),
            Memory(brake),
        )
        self._hidden = hidden
        self._messages = InMessages(journal, threads, changed=changed, clock=clock)
        self._tables = InTables(journal, threads)
        self._requests = Requests(journal)
        super().__init__(supervisor, {"erasure": self._keep_erasing})
        self._clock = clock
        self._news = asyncio.Event()
        self._failed: dict[str, str] = {}  # by request: what this process could not wipe, and why

    async def erase(self, written: str, *, by: str) -> str:
        """
        Ask for an erasure, and return its id. Raises InvalidMessage, which names `/address`;
        JournalUnavailable.
        """
        secret = await self._secret()
        person = person_of(written, Pseudonyms(secret), region=self._region)
        id = secrets.token_hex(12)
        request = Request(
            id=id,
            erased=person.erased,
            sealed=seal(person.address.encode(), secret, id),
            at=self._clock(),
            by=person.struck(by),
            state=RUNNING,
            progress=Progress(),
            ended_at=None,
        )
        record = self._audit.statement(request.by, WHAT, on=person.erased)
        await self._requests.add(request, record)
        await self._journal.put(NEWS, id)
        log.info("erasure_asked_for", id=id, person=person.erased, by=request.by)
        self.heed()
        return id

    async def state(self, id: str, *, wait: float = 0.0) -> State | None:
        """
        The progress of an erasure. With `wait`, once the search is over or after so many seconds.
        None: there is no erasure with this id.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait or None):
                while wait and (found := await self._requests.one(id)) and found.state == RUNNING:  # noqa: ASYNC110  another replica may do it
                    await asyncio.sleep(AGAIN_SECONDS / 10)
        request = await self._requests.one(id)
        if request is None:
            return None
        counts = Counter(request.progress.counts)
        for share in (await self._requests.shares(id)).values():
            counts.update(share)
        left = filter(None, (self._failed.get(id), request.progress.left))
        return State(
            request=request,
            counts=dict(counts),
            waiting_for=await self._requests.rests(id),
            not_reached=(*left, *NOT_REACHED),
        )

    def heed(self) -> None:
        """Note that an erasure was asked for, here or at another replica."""
        self._news.set()

    async def _secret(self) -> bytes:
        return await shared_secret(self._journal, SECRET)

    async def _keep_erasing(self) -> None:
        pruned = -PRUNE_SECONDS
        while True:
            self._news.clear()
            pause = SELDOM_SECONDS
            with contextlib.suppress(NotifierError):
                pause = await self._all_open()
                if time.monotonic() - pruned >= PRUNE_SECONDS:
                    await self._requests.prune(self._clock() - self._retention)
                    pruned = time.monotonic()
            await wait_at_most(self._news, pause)

    async def _all_open(self) -> float:
        """Continue all erasures that have not ended. Returns the seconds until the next look."""
        requests = await self._requests.open()
        if not requests:
            return LOOK_SECONDS
        secret = await self._secret()
        for request in requests:
            if request.sealed is None:
                continue
            sealed = seal(request.sealed, secret, request.id)
            person = person_of(sealed.decode(), Pseudonyms(secret))
            with contextlib.suppress(NotifierError):  # the next look goes on with this one
                await self._share(request, person)
                async with self._journal.try_lock("erasure") as locked:
                    current = await self._requests.one(request.id)
                    if locked and current is not None and current.sealed is not None:
                        await self._one(current, person)
        async with self._journal.try_lock("erasure") as locked:
            if locked:
                await self._end_all()
        soon = requests[-1].at + SOON > self._clock()
        return AGAIN_SECONDS if soon else SELDOM_SECONDS

    async def _end_all(self) -> None:
        """Overwrite what was deleted, once for all erasures whose search is over."""
        over = [each for each in await self._requests.open() if each.sealed is None]
        if not over:
            return
        left = await self._journal.overwrite()
        for each in over:
            each.progress.left = left
            await self._requests.end(each, self._clock())
            log.info("erased", id=each.id, person=each.erased, **each.progress.counts)

    async def _share(self, request: Request, person: Person) -> None:
        """Wipe this process's own memory and files, once."""
        if self._process in await self._requests.shares(request.id):
            return
        counts: Counter[str] = Counter()
        failed = ""
        for place in self._places:
            try:
                await place.wipe(person, lambda name, more: counts.update({name: more}))
            except OSError as error:
                if request.id not in self._failed:
                    log.error("erasure_failed", place=place.name, reason=str(error))  # noqa: TRY400  the reason is all there is to know
                failed = f"{place.name} of {self._process}: {error}; it will be tried again"
        if failed:
            self._failed[request.id] = failed
            return
        self._failed.pop(request.id, None)
        await self._requests.share(request.id, self._process, counts)

    async def _one(self, request: Request, person: Person) -> None:
        """The journal's part of one erasure."""
        progress = request.progress
        more = Counter[str]()

        def count(name: str, found: int) -> None:
            if name != Outcome.NONE and found:
                progress.counts[name] = progress.counts.get(name, 0) + found
                more[name] += found

        if not progress.searched:
            async for _ in self._messages.wipe(request.id, person, request.by, count):
                if more:  # a crash loses the figures of one portion at most
                    await self._requests.save(request, RUNNING)
                    more.clear()
            await self._tables.wipe(person, count)
            await self._hidden()
            await self._journal.put(NEWS, f"{request.id} searched")
            progress.searched = True
            await self._requests.save(request, RUNNING)
        waits = await self._messages.wipe_rests(request.id, person, request.by, count)
        shares = await self._requests.shares(request.id)
        # A process that was started again is the same replica.
        others = len({each.partition(" ")[0] for each in shares}) < await self._journal.replicas()
        if waits or others:
            if request.state == RUNNING:
                progress.left = await self._journal.overwrite()
            if request.state == RUNNING or more:
                await self._requests.save(request, WAITING)
            return
        if not progress.shared_again:
            # Mailbox and log have messages that were sent after a process had wiped its own.
            progress.counts = dict(sum(map(Counter, shares.values()), Counter(progress.counts)))
            progress.shared_again = True
            await self._requests.share_again(request)
            await self._journal.put(NEWS, f"{request.id} again")
            self.heed()
            return
        await self._requests.forget(request)
