"""
Every place where something can go wrong, one after the other, as SQLite's own tests do it: the
scenario is run with the first of them failing, then the second, until one run is untouched.

    python -m tests.every_place FOLDER PORTS SCENARIO N    die by SIGKILL at the N-th place

What is counted: each commit of the journal, before and after; each call of the journal; each piece
that a relay or the provider gets from us, and each that we get from it; each await of whoever
hands a message in, and of the workers.
"""

import asyncio
import contextlib
import inspect
import os
import signal
import sqlite3
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from unittest import mock

import structlog
from msgspec.structs import replace

from notifier.deliveries import Delivery, Status
from notifier.dispatch.dispatcher import Dispatcher
from notifier.errors import JournalUnavailable, Unavailable
from notifier.journal import Journal
from notifier.messages import Sms
from notifier.relayspec import RelaySpec
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.smtp import Rests
from notifier.smtp.session import Session
from tests import relay as scripted
from tests.paths import ROOT
from tests.provider import ScriptedProvider
from tests.relay import CUT
from tests.service import email, ended

REFUSED = "bob"  # by each relay
FAR = ("far", "further")  # to whom the first of two relays does not relay
TEXTS = ("+12025550123", "+12025550124")
SCENARIOS = {
    "one message": [("ann",)],
    "three recipients, one of them refused": [("ann", "bob", "eve")],
    "twenty messages": [(f"n{number}",) for number in range(20)],
    "two relays": [("ann", "bob", "far"), ("further",), ("eve",)],
    "a failing provider": [("ann",), TEXTS[:1], TEXTS[1:], ("eve",)],
}
TWO_RELAYS = {"two relays"}
WITH_PROVIDER = {"a failing provider"}
PROCESS_SECONDS = 60


class Unfinished(Exception):
    """A message has not ended, for the service was stopped before."""


class Places:
    """Counts the places that are passed, and says when it is the n-th."""

    def __init__(self, n):
        self.n = n
        self.passed = 0

    def here(self):
        self.passed += 1
        return self.passed == self.n

    @property
    def reached(self):
        return self.passed >= self.n


class Sets:
    """The four sets of Jepsen's queue tests, by recipient."""

    def __init__(self):
        self.attempted = set()
        self.acknowledged = {}  # id -> recipients

    async def submit(self, service, scenario):
        """Hand in all messages of a scenario at once, as so many clients would."""
        await asyncio.gather(*(self._submit(service, each) for each in SCENARIOS[scenario]))

    async def _submit(self, service, names):
        with contextlib.suppress(Unavailable, asyncio.CancelledError):
            await self.hand_in(service, names)

    async def hand_in(self, service, names):
        self.attempted.update(names)
        if names[0] in TEXTS:
            message = Sms(to=names[0], text="Hi.")
        else:
            message = email(*(f"{name}@example.org" for name in names))
        receipt = await service.submit([message])
        (delivery,) = receipt.deliveries
        self.acknowledged[delivery.id] = names
        return delivery.id

    async def check(self, service, world):
        """Nothing lost, nothing unexpected, nothing sent again without a flag."""
        doubt = {}
        for id, names in self.acknowledged.items():
            delivery = await service.outcome(id, timeout=PROCESS_SECONDS)
            if not delivery.status.final and service.draining:
                raise Unfinished
            assert delivery.status == "sent", (delivery.status, delivery.reason)
            doubt.update(dict.fromkeys(names, delivery.uncertain))
        copies = world.copies()
        for name in doubt:
            assert (copies[name] == 0) == (name == REFUSED), f"lost: {name}"
        assert copies.keys() <= self.attempted, "unexpected"
        recovered = copies.keys() - doubt.keys()
        for name, count in copies.items():
            if name not in recovered:
                assert count <= 1 + doubt[name], f"{name} came {count} times, unflagged"
        return recovered


class World:
    """
    What is around the service: a relay; in front of it another one that does not relay to
    all, or beside it a provider that answers each text by 503 first. Refuses one recipient for
    good; cuts connections at the places that it is told, whoever's it is.
    """

    def __init__(self, scenario):
        self.relays = [Relay(self) for _ in range(1 + (scenario in TWO_RELAYS))]
        for name in FAR if len(self.relays) > 1 else ():
            self.relays[0].answer("RCPT", "530 5.7.0 log in first", to=f"{name}@example.org")
        self.provider = Provider(self) if scenario in WITH_PROVIDER else None
        self.got = self.gives = Places(0)
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self):
        for each in (*self.relays, self.provider):
            if each is not None:
                await self._open.enter_async_context(each)
        return self

    async def __aexit__(self, *exc_info):
        await self._open.aclose()

    @property
    def ports(self):
        """Those of the relays, and behind a slash that of the provider."""
        relays = ",".join(str(relay.port) for relay in self.relays)
        return f"{relays}/{self.provider.port if self.provider else ''}"

    def copies(self):
        """How often each recipient got something."""
        mails = (recipients for relay in self.relays for _, recipients, _ in relay.received)
        names = Counter(each.partition("@")[0] for recipients in mails for each in recipients)
        return names + Counter(self.provider.received if self.provider else ())


class Relay(scripted.ScriptedRelay):
    """One of a world's relays."""

    def __init__(self, world):
        super().__init__()
        self.world = world
        self.answer("RCPT", "550 5.1.1 no such user", to=f"{REFUSED}@example.org")


class Connection(scripted.Connection):
    def data_received(self, data):
        if self.relay.world.got.here():
            return self.end(scripted.CUT)
        return super().data_received(data)

    def flush(self):
        if self.out and self.relay.world.gives.here():
            self.out.clear()
            return self.end(scripted.CUT)
        return super().flush()


class Provider(ScriptedProvider):
    """Of SMS: 503 to a number's first request."""

    def __init__(self, world):
        super().__init__(self._decide)
        self.world = world
        self._put_off = set()

    def _decide(self, number):
        if self.world.got.here():
            return False, CUT
        sent = number in self._put_off
        self._put_off.add(number)
        return sent, CUT if self.world.gives.here() else 200 if sent else 503


@contextlib.contextmanager
def hasty():
    """Waits that a person would not notice are cut short."""
    with (
        mock.patch("notifier.dispatch.dispatcher.JOURNAL_SECONDS", 0.02),
        mock.patch("notifier.dispatch.sending.JOURNAL_SECONDS", 0.02),
        mock.patch.object(Rests, "after", return_value=0.02),
        mock.patch.object(Delivery, "relay_backoff", 0.02),
        mock.patch.object(scripted, "Connection", Connection),
    ):
        yield


def settings(folder, ports):
    """For the relays and the provider at these ports (see `World.ports`)."""
    relays, _, provider = ports.partition("/")
    specs = [
        # Half as many connections as workers: commands go ahead, behind another message's dot.
        RelaySpec(name=name, host="127.0.0.1", port=int(port), connections=2)
        for name, port in zip(("first", "second"), relays.split(","), strict=False)
    ]
    return Settings(
        data_dir=str(folder),
        relays=tuple(specs),
        sms_provider=f"http://127.0.0.1:{provider}/send" if provider else None,
        workers=4,
        retry_schedule=(0.02,),
        grace=2.0,
    )


def commits(service, places, *, error=None, act=None):
    """At the n-th commit (the places before and after it count as two) fail, or act."""
    writer = service.journal._writer
    usual = writer._commit

    def commit(db):
        if places.here():
            if error is not None:
                raise error
            act()
        usual(db)
        if act is not None and places.here():
            act()

    writer._commit = commit


def full():
    error = sqlite3.OperationalError("disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    return error


async def commit_fails(folder, scenario, n):
    """The n-th commit finds the disk full."""
    places, sets = Places(n), Sets()
    async with World(scenario) as world, Notifier(settings(folder, world.ports)) as service:
        commits(service, places, error=full())
        await sets.submit(service, scenario)
        await sets.check(service, world)
    return places.reached


async def write_fails(folder, scenario, n):
    """The relay is gone when we write for the n-th time."""
    return await _link_fails(folder, scenario, Places(n), Places(0))


async def read_fails(folder, scenario, n):
    """The relay is gone when we would read for the n-th time."""
    return await _link_fails(folder, scenario, Places(0), Places(n))


async def _link_fails(folder, scenario, got, gives):
    sets = Sets()
    async with World(scenario) as world:
        world.got, world.gives = got, gives
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.submit(service, scenario)
            await sets.check(service, world)
    return max(got, gives, key=lambda places: places.n).reached


async def journal_fails(folder, scenario, n):
    """The n-th call of the journal, whatever it asks for, finds it unavailable."""
    places, sets = Places(n), Sets()
    async with World(scenario) as world:
        service = Notifier(settings(folder, world.ports))
        calls(service.journal, places)
        with contextlib.suppress(JournalUnavailable):  # it does not start; the next one does
            async with service:
                await sets.submit(service, scenario)
                await sets.check(service, world)
                return places.reached
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.submit(service, scenario)
            await sets.check(service, world)
    return places.reached


CALLS = [
    name
    for name, call in vars(Journal).items()
    if inspect.iscoroutinefunction(call) and name not in ("open", "close", "failed", "news")
]


def calls(journal, places):
    """At the n-th call it is unavailable, but not for this test's own looking."""
    us = asyncio.current_task()

    def failing(usual):
        async def call(*args, **options):
            if asyncio.current_task() is not us and places.here():
                raise JournalUnavailable("not now")
            return await usual(*args, **options)

        return call

    for name in CALLS:
        setattr(journal, name, failing(getattr(journal, name)))


async def caller_cancelled(folder, scenario, n):
    """Whoever hands a message in is cancelled at its n-th await."""
    sets, reached = Sets(), False
    async with World(scenario) as world, Notifier(settings(folder, world.ports)) as service:
        for names in SCENARIOS[scenario]:
            places = Places(n)
            handing_in = asyncio.ensure_future(_await(Steps(sets.hand_in(service, names), places)))
            await asyncio.wait([handing_in])
            assert handing_in.cancelled() or handing_in.result()
            reached = reached or places.reached
        # Whether a cancelled one was kept nobody was told; kept, it is sent like any other.
        await sets.hand_in(service, ("last",))
        await sets.check(service, world)
    return reached


async def worker_cancelled(folder, scenario, n):
    """A worker is cancelled at the n-th await of any; the others go on, and the next process."""
    places, sets, work = Places(n), Sets(), Dispatcher._work
    async with World(scenario) as world:
        with mock.patch.object(
            Dispatcher, "_work", lambda *args: _await(Steps(work(*args), places))
        ):
            async with Notifier(settings(folder, world.ports)) as service:
                await sets.submit(service, scenario)
                await _until_idle(service, places)
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.check(service, world)
    return places.reached


async def _until_idle(service, places):
    """Nothing waits, no worker has anything, and only who was cancelled has left something."""
    dispatcher = service.dispatcher
    while True:
        backlog = await service.journal.backlog()
        done = places.reached or not backlog.counts[Status.SENDING]
        claimed = any(dispatcher.doing) or any(lane.ahead for lane in dispatcher._shares)
        if done and not (backlog.waiting or claimed):
            return
        await asyncio.sleep(0.002)


async def _await(steps):
    return await steps


class Steps:
    """A coroutine whose task is cancelled at the n-th await, as Task.cancel does it."""

    def __init__(self, coroutine, places):
        self._coroutine = coroutine
        self._places = places

    def __await__(self):
        go_on = partial(self._coroutine.send, None)
        while True:
            try:
                waits = go_on()
            except StopIteration as end:
                return end.value
            if self._places.here():
                asyncio.current_task().cancel()
            try:
                go_on = partial(self._coroutine.send, (yield waits))
            except BaseException as error:  # noqa: BLE001 - it goes on where it belongs
                go_on = partial(self._coroutine.throw, error)


async def stopped(folder, scenario, n):
    """The service is told to stop at the n-th commit; another one goes on where it was."""
    places, sets = Places(n), Sets()
    async with World(scenario) as world:
        async with Notifier(settings(folder, world.ports)) as service:
            loop = asyncio.get_running_loop()
            commits(service, places, act=lambda: loop.call_soon_threadsafe(service.drain))
            await sets.submit(service, scenario)
            await _until_stopped(service, sets.check(service, world))
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.check(service, world)
    return places.reached


async def aborted(folder, scenario, n):
    """Past its grace the service breaks off all sends, at the n-th reply of the relay."""
    sets = Sets()
    async with World(scenario) as world:
        world.gives = places = Stopper(n)
        short = replace(settings(folder, world.ports), grace=0.0)
        async with Notifier(short) as service:
            places.stop = service.drain
            await sets.submit(service, scenario)
            await _until_stopped(service, sets.check(service, world))
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.check(service, world)
    return places.reached


async def _until_stopped(service, check):
    """Carry out a check, unless the service is stopped before it has come to its end."""
    checking = asyncio.ensure_future(check)
    while not (checking.done() or service.draining):
        await asyncio.sleep(0.002)
    if not service.draining:
        return await checking
    checking.cancel()
    with contextlib.suppress(asyncio.CancelledError, Unfinished):
        await checking
    return None


class Stopper(Places):
    """Does not fail, but stops somebody."""

    def here(self):
        if super().here():
            self.stop()
        return False


async def killed(folder, scenario, n):
    """The process dies by SIGKILL at the n-th place; another one goes on where it was."""
    sets = Sets()
    async with World(scenario) as world:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.every_place", folder, world.ports, scenario, str(n)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        async with asyncio.timeout(PROCESS_SECONDS):
            said, _ = await child.communicate()
        assert child.returncode in (0, -signal.SIGKILL)
        for line in said.decode().split("\n")[:-1]:
            id, _, names = line.partition(" ")
            sets.acknowledged[id] = tuple(names.split(","))
        sets.attempted = {name for names in SCENARIOS[scenario] for name in names}
        async with Notifier(settings(folder, world.ports)) as service:
            await sets.check(service, world)
    return child.returncode != 0


FAULTS = (
    *(commit_fails, journal_fails, write_fails, read_fails),
    *(caller_cancelled, worker_cancelled, stopped, aborted, killed),
)


async def go_through(fault, scenario, folder, *, begin=1, stride=1):
    """Run a scenario with each n-th place failing, until a run is untouched; how many that were."""
    runs = 0
    n = begin
    with hasty():
        while True:
            runs += 1
            place = folder / f"{fault.__name__}-{n}"
            async with asyncio.timeout(PROCESS_SECONDS):
                try:
                    reached = await fault(place, scenario, n)
                except BaseException as error:
                    error.add_note(f"{fault.__name__} at place {n} of {scenario!r}")
                    raise
            if not reached:
                return runs
            n += stride


async def _live(folder, ports, scenario, n):
    """Hand in a scenario, say what was acknowledged, and die at the n-th place."""
    places, sets = Places(n), Sets()

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    received = Session.data_received

    def data_received(self, data):
        if places.here():
            die()
        received(self, data)

    def dying_before(write):
        async def written(self, *args, **options):
            if places.here():
                die()
            return await write(self, *args, **options)

        return written

    Session.data_received = data_received
    Session.ask, Session.upload = dying_before(Session.ask), dying_before(Session.upload)
    async with Notifier(settings(folder, ports)) as service:
        commits(service, places, act=die)

        async def hand_in(names):
            id = await sets.hand_in(service, names)
            os.write(1, f"{id} {','.join(names)}\n".encode())
            if places.here():
                die()
            return id

        ids = await asyncio.gather(*(hand_in(names) for names in SCENARIOS[scenario]))
        for id in ids:
            await ended(service, id)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with hasty():
        asyncio.run(_live(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
