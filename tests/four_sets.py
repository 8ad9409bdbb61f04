"""What clients were told, and what the relay received: the sets of Jepsen's queue tests."""

import contextlib
import re
from collections import Counter

import httpx2

from tests.process import message


class Sets:
    """What was acknowledged, attempted and received, by message number."""

    def __init__(self):
        self.attempted = set()
        self.acknowledged = {}  # number -> id

    async def send(self, client, number, **changes):
        self.attempted.add(number)
        with contextlib.suppress(httpx2.TransportError):
            answer = await client.post("/v1/messages", json=message(number, **changes))
            if answer.status_code == 202:
                self.acknowledged[number] = answer.json()["id"]

    def received(self, relay):
        """How often each number came, and each Message-ID with its distinct contents."""
        return Counter(number_of(recipients[0]) for _, recipients, _ in relay.received)


def number_of(address):
    return int(re.match(r"n(\d+)@", address)[1])
