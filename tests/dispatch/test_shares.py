"""Ways out share the workers, and none of them starves another."""

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.deliveries import Priority, Route, Status
from notifier.dispatch.shares import LARGE_AT_ONCE, Shares
from notifier.journal import Claim
from notifier.journal.fairness import AHEAD_BYTES
from notifier.messages import Sms
from tests.dispatching import Transport, dispatching, entry
from tests.provider import ACCEPTED, HANG, Site
from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying, submit, submit_one
from tests.waiting import LIMIT, until

WORKERS = 4
ROUTES = tuple(Route)


def of(route, number, **changes):
    return entry(f"{route}-{number}", route=route, **changes)


def large(one):
    return replace(one, content=b"x" * (AHEAD_BYTES + 1))


@contextlib.asynccontextmanager
async def four_ways(journal, **options):
    """A dispatcher with a transport for each route, all of which hang."""
    ways = {route: Transport(places=64) for route in ROUTES}
    for way in ways.values():
        way.gate.clear()
    first, *rest = ROUTES
    more = {route: ways[route] for route in rest}
    async with dispatching(
        journal, ways[first], more=more, workers=WORKERS, grace=0.1, **options
    ) as dispatcher:
        yield dispatcher, ways


def busy(dispatcher):
    return sum(each is not None for each in dispatcher.doing)


async def add(dispatcher, journal, route, *entries):
    await journal.add(entries)
    dispatcher.wake([route])


@pytest.mark.parametrize("hangs", ROUTES)
async def test_a_route_that_hangs_does_not_stop_the_others(journal, hangs):
    """It has all the workers that it can get; each of the others sends all it has."""
    async with four_ways(journal) as (dispatcher, ways):
        await add(dispatcher, journal, hangs, *(of(hangs, n) for n in range(30)))
        await until(lambda: ways[hangs].busy == WORKERS)
        for route in set(ROUTES) - {hangs}:
            ways[route].gate.set()
            await add(dispatcher, journal, route, *(of(route, n) for n in range(10)))
            await until(lambda route=route: len(ways[route].sent) == 10)
        assert ways[hangs].busy == WORKERS
        assert not ways[hangs].sent


async def test_though_all_others_hang_each_has_a_worker(journal):
    """One after the other takes what it can get, and the last one still has one of its own."""
    *hanging, last = ROUTES
    async with four_ways(journal) as (dispatcher, ways):
        for route in hanging:
            await add(dispatcher, journal, route, *(of(route, n) for n in range(30)))
            await until(lambda route=route: ways[route].busy > 0)
        await until(lambda: busy(dispatcher) == WORKERS + len(hanging) - 1)
        ways[last].gate.set()
        await add(dispatcher, journal, last, *(of(last, n) for n in range(10)))
        await until(lambda: len(ways[last].sent) == 10)
        assert sum(way.busy for way in ways.values()) == WORKERS + len(hanging) - 1


async def test_large_messages_that_hang_leave_a_place_to_each_other_way(journal):
    """Large messages in memory are bounded, and each route keeps a place of its own."""
    hangs, *others = ROUTES
    ways = {route: Transport(places=64) for route in ROUTES}
    ways[hangs].gate.clear()
    async with dispatching(
        journal,
        ways[hangs],
        more={route: ways[route] for route in others},
        workers=16,
        window=32,
        grace=0.1,
    ) as dispatcher:
        await add(dispatcher, journal, hangs, *(large(of(hangs, n)) for n in range(20)))
        await until(lambda: ways[hangs].busy == LARGE_AT_ONCE)
        for route in others:
            await add(dispatcher, journal, route, *(large(of(route, n)) for n in range(5)))
            await until(lambda route=route: len(ways[route].sent) == 5)
        await add(dispatcher, journal, hangs, of(hangs, "small"))
        await until(lambda: ways[hangs].busy == LARGE_AT_ONCE + 1)


async def test_the_window_holds_as_many_as_configured(journal):
    """However few places its relay has: so many are claimed ahead of the workers."""
    way = Transport(places=3)
    way.gate.clear()
    await journal.add([entry(n) for n in range(150)])
    async with dispatching(journal, way, workers=2, window=100, grace=0.1):

        async def claimed():
            return (await journal.backlog()).counts[Status.SENDING]

        async with asyncio.timeout(LIMIT):
            while await claimed() < 50:
                await asyncio.sleep(0.005)
        assert await claimed() <= 102


# --- any sequence -------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["arrives", "ends"]),
        st.integers(0, 3),
        st.sampled_from(list(Priority)),
        st.booleans(),
    ),
    max_size=80,
)


@given(EVENTS, st.integers(1, 6), st.integers(1, 4))
def test_shares_hold_for_any_order_of_arrivals_and_ends(events, workers, ways):
    """
    With every worker as busy as it may be after each step: no share that has something to do is
    without a worker; what is under way keeps to its bounds; and bulk leaves one worker.
    """

    async def play():
        shares = Shares(dict.fromkeys(range(ways), Transport()), workers=workers, window=99)
        under_way = []
        for number, (what, way, priority, is_large) in enumerate(events):
            share = shares.by_queue[way % ways]
            if what == "arrives":
                claim = entry(number, priority=priority).delivery
                shares.take_in(share, [Claim(claim, None if is_large else b"x")])
            elif under_way:
                shares.done(*under_way.pop(way % len(under_way)))
            while shares._ready() is not None:
                share, claim = await shares.next()
                under_way.append((share, claim))
                if claim.delivery.priority is Priority.BULK and share.busy > 1:
                    assert shared_left(shares, under_way) > 0
            check(shares, under_way, workers)

    asyncio.run(play())


def check(shares, under_way, workers):
    by_share = Counter(id(share) for share, _ in under_way)
    for share in shares:
        assert share.busy == by_share[id(share)] <= workers
        assert share.busy or not share.ahead
    assert len(under_way) <= shares.workers
    waits = [window[0][0] < Priority.BULK for share in shares if (window := share.small)]
    assert not any(waits) or shared_left(shares, under_way) == 0


def shared_left(shares, under_way):
    """Workers that whichever share may have."""
    return shares.workers - len(under_way) - sum(not share.busy for share in shares)


# --- the whole service --------------------------------------------------------------------------


async def hang_the_relay(service, relay, site):
    relay.hold("DOT")
    await submit(service, *[email() for _ in range(20)])
    await relay.until_held(WORKERS)


async def hang_the_simulator(service, relay, site):
    await submit(service, *[email("slow@simulator.notifier") for _ in range(20)])
    await until(lambda: busy(service.dispatcher) == WORKERS)


async def hang_the_provider(service, relay, site):
    site.answers = [HANG]
    await submit(service, *[Sms(to="+12025550123", text="Hi") for _ in range(20)])
    await until(lambda: len(site.requests) == WORKERS)


MESSAGES = {
    "relay": email(),
    "simulator": email("success@simulator.notifier"),
    "provider": Sms(to="+12025550123", text="Hi"),
}
HANGS = {
    "relay": hang_the_relay,
    "simulator": hang_the_simulator,
    "provider": hang_the_provider,
}


@pytest.mark.parametrize("hangs", HANGS)
async def test_a_relay_provider_or_simulator_that_hangs_stops_no_other(hangs, tmp_path):
    """The real ones: a dot that is swallowed, a request never answered, a slow recipient."""
    async with ScriptedRelay() as relay, Site(ACCEPTED) as site:
        provider = f"twilio://AC0123456789:secret-token@127.0.0.1:{site.port}?from=+15005550006"
        async with notifying(
            tmp_path, relay, workers=WORKERS, grace=0.1, sms_provider=provider
        ) as service:
            await HANGS[hangs](service, relay, site)
            for name in set(MESSAGES) - {hangs}:
                found = await ended(service, await submit_one(service, MESSAGES[name]))
                assert found.status is Status.SENT, name
            relay.release()
            site.let_go()
