"""What the torture sends, and to whom it arrives: mails to one, to some of three, and texts."""

import contextlib
import random
from collections import Counter

import httpx2

from tests.process import message
from tests.provider import ScriptedProvider
from tests.relay import CUT, ScriptedRelay

FAR = "far"  # to whom the first relay does not relay
NOBODY = "nobody"  # whom each relay refuses


class Numbered:
    """Message number N: its recipients follow from N, and N from each of them."""

    def __init__(self, number, *, texts):
        self.number = number
        if texts and number % 5 == 4:
            self.recipients = (f"+12025{number:06d}",)
            self.request = {"channel": "sms", "to": self.recipients[0], "text": f"Number {number}."}
            return
        names = ("n", FAR, NOBODY) if number % 5 == 3 else ("n",)
        self.recipients = tuple(f"{name}{number}@example.org" for name in names)
        self.request = message(number) | {"to": list(self.recipients)}


class Sets:
    """The four sets of Jepsen's queue tests, by recipient."""

    def __init__(self, *, texts):
        self.texts = texts
        self.attempted = set()
        self.acknowledged = {}  # id -> recipients

    async def send(self, client, number):
        made = Numbered(number, texts=self.texts)
        self.attempted.update(made.recipients)
        with contextlib.suppress(httpx2.TransportError):
            answer = await client.post("/v1/messages", json=made.request)
            if answer.status_code == 202:
                self.acknowledged[answer.json()["id"]] = made.recipients


class PartialRelay(ScriptedRelay):
    """Refuses one kind of recipients for good; on demand it does not relay to another."""

    def __init__(self, *, relays_to_all):
        super().__init__()
        self.relays_to_all = relays_to_all

    def answer_to(self, verb, argument, connection):
        if verb == "RCPT" and f"<{NOBODY}" in argument:
            return "550 5.1.1 no such user"
        if verb == "RCPT" and f"<{FAR}" in argument and not self.relays_to_all:
            return "554 5.7.1 Relay access denied"
        return super().answer_to(verb, argument, connection)


class UnsteadyProvider(ScriptedProvider):
    """Works, or is busy, or broken, or cut off before or after it has sent the text."""

    def __init__(self, seed):
        super().__init__(self._decide)
        self.random = random.Random(seed)
        self.steady = False

    def _decide(self, number):
        if self.steady or self.random.random() < 0.7:
            return True, 200
        return self.random.choice(
            [(False, 503), (True, 500), (False, 500), (False, CUT), (True, CUT)]
        )


def received(relays, provider):
    """How often each recipient got something."""
    mails = (recipients for relay in relays for _, recipients, _ in relay.received)
    return Counter(each for recipients in mails for each in recipients) + Counter(provider.received)
