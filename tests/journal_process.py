"""
A process that has a journal, and dies at a given place in it.

    python -m tests.journal_process PATH {hold|flood|before|after}

hold: have it until killed. flood: add without end, print each id once it is acknowledged.
before, after: be killed before or after the commit of the one delivery `d1`.
"""

import asyncio
import itertools
import os
import signal
import sys

from notifier.deliveries import Route
from notifier.journal.sqlite import SqliteJournal
from notifier.journal.sqlite.writer import commit
from tests.deliveries import called_off, entry, idempotency, noon


def say(line):
    os.write(1, f"{line}\n".encode())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_before(db):
    die()


def die_after(db):
    commit(db)
    die()


async def flood(journal):
    numbers = itertools.count()

    async def add():
        for number in numbers:
            await journal.add([entry(f"d{number}")])
            say(f"d{number}")
            if number % 3 == 0:
                for claim in await journal.claim(Route.RELAY, 2, now=noon):
                    await journal.record(called_off(claim.delivery))

    await asyncio.gather(*(add() for _ in range(32)))


async def main(path, what):
    commits = {"before": die_before, "after": die_after}
    journal = SqliteJournal(path, commit=commits.get(what, commit))
    await journal.open()
    say("open")
    if what == "flood":
        await flood(journal)
    elif what == "hold":
        await asyncio.Event().wait()
    else:
        await journal.add([entry("d1")], idempotency())
    say("acknowledged")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
