"""
Random load, random faults of the relay, random deaths of the server, for so many rounds.

    python -m tests.torture [--rounds N] [--seed S] [--kill-only]     deaths, and the four sets
    python -m tests.torture --systematic                              each place of each scenario
    python -m tests.torture --fuzz CASES [--seed S]                   requests, composer, replies

What is done follows from the seed; how it falls in time does not. Exits with 1 where a promise
was broken, and says by which seed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.process import Server
from tests.relay import CUT, FIN, ScriptedRelay
from tests.systematic import FAULTS, SCENARIOS, go_through
from tests.test_crash import LIMIT, WORKERS, Sets, client_of, number_of
from tests.torture.fuzz import fuzz

CLIENTS = 16
# Those after which a message is tried again: what a relay refuses for good is no loss of ours.
FAULTS_OF_RELAY = [
    *((verb, how) for verb in ("GREETING", "MAIL", "RCPT", "DATA", "DOT") for how in (CUT, FIN)),
    *(("GREETING", "421 busy"), ("MAIL", "451 later"), ("RCPT", "450 later"), ("DOT", "452 full")),
    *(("DOT", "421 closing"), ("MAIL", b"what is this\r\n"), ("DOT", b"250-never ended\r\n")),
]


class Torture:
    """One seed's story."""

    def __init__(self, folder, relay, seed, *, kill_only):
        self.random = random.Random(seed)
        self.relay = relay
        self.kill_only = kill_only
        self.sets = Sets()
        self.numbers = iter(range(10**9))
        self.kills = self.stops = 0
        self.server = Server(
            folder,
            relays=f"smtp://{relay.host}:{relay.port}",
            workers=WORKERS,
            queue_size=WORKERS,
            retry_schedule="200ms",
            grace="5s",
        )

    async def run(self, rounds):
        await self.server.start()
        try:
            for _ in range(rounds):
                await self._round()
            self.relay._rules.clear()
            return await self._verdict()
        finally:
            await self.server.kill()

    async def _round(self):
        self._set_faults()
        goal = len(self.sets.acknowledged) + self.random.randint(20, 200)
        kill = self.kill_only or self.random.random() < 0.7
        wait = self.random.uniform(0, 0.3)
        async with client_of(self.server) as client, asyncio.TaskGroup() as load:
            for _ in range(CLIENTS):
                load.create_task(self._post(client))
            async with asyncio.timeout(LIMIT):
                while len(self.sets.acknowledged) < goal:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(wait)
            if kill:
                self.kills += 1
                await self.server.kill()
            else:
                self.stops += 1
                assert await self.server.stop() == 0, "SIGTERM does not end in 0"
        await self.server.start()

    async def _post(self, client):
        while self.server.process.returncode is None:
            await self.sets.send(client, next(self.numbers))
            await asyncio.sleep(0)

    def _set_faults(self):
        self.relay._rules.clear()
        if not self.kill_only:
            for verb, how in self.random.sample(FAULTS_OF_RELAY, 2):
                times, after = self.random.randint(1, 5), self.random.randint(0, 30)
                self.relay.answer(verb, how, times=times, after=after)

    async def _verdict(self):
        found = await self._ended()
        received = self.sets.received(self.relay)
        acknowledged = set(self.sets.acknowledged)
        flagged = {number for number, each in found.items() if each["uncertain"]}
        held = {number for number, each in found.items() if each["status"] == "held"}
        lost = acknowledged - received.keys() - held
        unexpected = received.keys() - self.sets.attempted
        repeated = {number for number, times in received.items() if times > 1}
        extra = received.total() - len(received)
        print(
            f"attempted {len(self.sets.attempted)}, acknowledged {len(acknowledged)},"
            f" received {len(received)}, recovered {len(received.keys() - acknowledged)}"
        )
        print(
            f"{self.kills} x SIGKILL, {self.stops} x SIGTERM: lost {len(lost)},"
            f" unexpected {len(unexpected)}, extra copies {extra}, flagged {len(flagged)},"
            f" held {len(held)}"
        )
        faults = {
            "lost": lost,
            "unexpected": unexpected,
            "repeated without a flag": repeated - flagged,
            "more copies than workers x kills": self.kill_only and extra > WORKERS * self.kills,
        }
        return [name for name, found in faults.items() if found]

    async def _ended(self):
        """Every message, by number, once none is on its way any more."""
        async with client_of(self.server) as client:
            async with asyncio.timeout(120):
                while (await _listed(client, status="queued,sending,deferred", limit=1))["items"]:
                    await asyncio.sleep(0.1)
            found, more = {}, {}
            while more is not None:
                page = await _listed(client, limit=200, **more)
                for each in page["items"]:
                    found[number_of(each["recipients"][0]["address"])] = each
                more = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        return found


async def _listed(client, **query):
    return (await client.get("/v1/messages", params=query)).json()


async def torture(rounds, seed, *, kill_only):
    with tempfile.TemporaryDirectory() as folder:
        async with ScriptedRelay() as relay:
            return await Torture(Path(folder), relay, seed, kill_only=kill_only).run(rounds)


async def systematic():
    for fault in FAULTS:
        for scenario in SCENARIOS:
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                runs = await go_through(fault, scenario, Path(folder))
            print(
                f"{fault.__name__}, {scenario}: {runs} runs, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return []


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--kill-only", action="store_true", help="SIGKILL, and a relay that works")
    parser.add_argument("--systematic", action="store_true")
    parser.add_argument("--fuzz", type=int, metavar="CASES")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    if given.systematic:
        faults = asyncio.run(systematic())
    elif given.fuzz is not None:
        faults = asyncio.run(fuzz(given.fuzz, given.seed))
    else:
        faults = asyncio.run(torture(given.rounds, given.seed, kill_only=given.kill_only))
    for fault in faults:
        print(f"BROKEN: {fault} (--seed {given.seed})")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
