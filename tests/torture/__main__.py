"""
Random load, random faults of relays and provider, random deaths of the server, for so many rounds.

    python -m tests.torture [--rounds N] [--seed S] [--kill-only]     deaths, and the four sets
    python -m tests.torture --callbacks ROUNDS [--seed S]             deaths while it tells
    python -m tests.torture --systematic                              each place of each scenario
    python -m tests.torture --fuzz CASES [--seed S]                   requests, composer, replies
    python -m tests.torture --conversations N [--seed S]              two relays, one of them odd
    python -m tests.torture --submissions DEATHS [--seed S]           clients of SMTP that repeat

What is done follows from the seed; how it falls in time does not. Exits with 1 where a promise
was broken, and says by which seed.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.every_place import FAULTS, SCENARIOS, go_through
from tests.process import Server, client_of
from tests.relay import CUT, FIN
from tests.torture.callbacks import repeat
from tests.torture.conversations import converse
from tests.torture.fuzz import fuzz
from tests.torture.load import NOBODY, PartialRelay, Sets, UnsteadyProvider, received
from tests.torture.submissions import submit_while_it_dies
from tests.waiting import LIMIT

WORKERS = 4
CLIENTS = 16
# Those after which a message is tried again: what a relay refuses for good is no loss of ours.
FAULTS_OF_RELAY = [
    *((verb, how) for verb in ("GREETING", "MAIL", "RCPT", "DATA", "DOT") for how in (CUT, FIN)),
    *(("GREETING", "421 busy"), ("MAIL", "451 later"), ("RCPT", "450 later"), ("DOT", "452 full")),
    *(("DOT", "421 closing"), ("MAIL", b"what is this\r\n"), ("DOT", b"250-never ended\r\n")),
    *(
        ("MAIL", "451 4.4.2 idle"),
        ("MAIL", "452 4.5.3 Too many messages"),
        ("RCPT", "450 4.3.2 no"),
    ),
    *(("RCPT", "452 4.5.3 Too many recipients"), ("DOT", "554 5.2.252 SendAsDenied")),
]


class Torture:
    """
    One seed's story. Of two relays the first does not relay to all, and each recipient of a
    kind is refused; with `kill_only` both do as they should, and so does the provider.
    """

    def __init__(self, folder, relays, provider, seed, *, kill_only):
        self.random = random.Random(seed)
        self.relays = relays
        self.provider = provider
        self.kill_only = kill_only
        self.sets = Sets(texts=not kill_only)
        self.numbers = iter(range(10**6))
        self.kills = self.stops = 0
        self.server = Server(
            folder,
            relays=",".join(f"smtp://{relay.host}:{relay.port}" for relay in relays),
            sms_provider=f"http://127.0.0.1:{provider.port}/send",
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
            self._set_no_faults()
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

    def _set_no_faults(self):
        self.provider.steady = True
        for relay in self.relays:
            relay._rules.clear()

    def _set_faults(self):
        self._set_no_faults()
        if not self.kill_only:
            self.provider.steady = self.random.random() < 0.5
            for verb, how in self.random.sample(FAULTS_OF_RELAY, 3):
                times, after = self.random.randint(1, 5), self.random.randint(0, 30)
                relay = self.random.choice(self.relays)
                relay.answer(verb, how, times=times, after=after)

    async def _verdict(self):
        found = await self._ended()
        copies = received(self.relays, self.provider)
        acknowledged = {each for names in self.sets.acknowledged.values() for each in names}
        refused = {name for name in acknowledged if name.startswith(NOBODY)}
        uncertain = {name: each["uncertain"] for name, each in found.items()}
        held = {name for name, each in found.items() if each["status"] == "held"}
        lost = acknowledged - copies.keys() - held - refused
        unexpected = copies.keys() - (self.sets.attempted - refused)
        unflagged = {name for name, n in copies.items() if n > 1 and not uncertain.get(name)}
        # One message in the hands of each worker; it may be for several.
        extra = sum(n - 1 for name, n in copies.items() if name.startswith("n"))
        print(
            f"attempted {len(self.sets.attempted)}, acknowledged {len(acknowledged)},"
            f" received {len(copies)}, recovered {len(copies.keys() - acknowledged)},"
            f" refused {len(refused)}"
        )
        print(
            f"received by relays {' and '.join(str(len(each.received)) for each in self.relays)},"
            f" by the provider {len(self.provider.received)}"
        )
        print(
            f"{self.kills} x SIGKILL, {self.stops} x SIGTERM: lost {len(lost)},"
            f" unexpected {len(unexpected)}, extra copies {copies.total() - len(copies)},"
            f" flagged {sum(map(bool, uncertain.values()))}, held {len(held)}"
        )
        faults = {
            "lost": lost,
            "unexpected": unexpected,
            "repeated without a flag": unflagged,
            "more copies than workers x kills": self.kill_only and extra > WORKERS * self.kills,
        }
        return [name for name, found in faults.items() if found]

    async def _ended(self):
        """Every message, by recipient, once none is on its way any more."""
        async with client_of(self.server) as client:
            async with asyncio.timeout(120):
                while (await _listed(client, status="queued,sending,deferred", limit=1))["items"]:
                    await _resume(client)
                    await asyncio.sleep(0.5)
            found, more = {}, {}
            while more is not None:
                page = await _listed(client, limit=200, **more)
                for each in page["items"]:
                    found |= {recipient["address"]: each for recipient in each["recipients"]}
                more = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        return found


async def _listed(client, **query):
    return (await client.get("/v1/messages", params=query)).json()


async def _resume(client):
    """Whatever rests may be tried again: what made it rest is over."""
    for each in (await client.get("/v1/relays")).json()["items"]:
        if each["state"] == "open":
            await client.post(f"/v1/relays/{each['name']}/resume")


async def torture(rounds, seed, *, kill_only):
    async with contextlib.AsyncExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory())
        relays = [PartialRelay(relays_to_all=all) for all in (kill_only, True)]
        provider = UnsteadyProvider(seed)
        for each in (*relays, provider):
            await parts.enter_async_context(each)
        tortured = Torture(Path(folder), relays, provider, seed, kill_only=kill_only)
        return await tortured.run(rounds)


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
    parser.add_argument("--callbacks", type=int, metavar="ROUNDS")
    parser.add_argument("--conversations", type=int, metavar="N")
    parser.add_argument("--submissions", type=int, metavar="DEATHS")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    if given.systematic:
        faults = asyncio.run(systematic())
    elif given.callbacks is not None:
        faults = asyncio.run(repeat(given.callbacks, given.seed))
    elif given.conversations is not None:
        faults = asyncio.run(converse(given.conversations, given.seed))
    elif given.submissions is not None:
        faults = asyncio.run(submit_while_it_dies(given.submissions, given.seed))
    elif given.fuzz is not None:
        faults = asyncio.run(fuzz(given.fuzz, given.seed))
    else:
        faults = asyncio.run(torture(given.rounds, given.seed, kill_only=given.kill_only))
    for fault in faults:
        print(f"BROKEN: {fault} (--seed {given.seed})")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
