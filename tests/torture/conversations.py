"""
Random conversations with two relays, of which one answers anything at any stage, drops, falls
silent, hangs up. What counts is what the relays have in the end: no second copy that is not
flagged, nothing that was recorded as accepted and is not there, no mail under another's sender.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from notifier.deliveries import Delivery, Status
from notifier.recipients import Recipient, RecipientStatus
from notifier.relayspec import Pipelining
from notifier.smtp import Relay, Relays, Rests, Timeouts
from tests.relay import CUT, FEATURES, FIN, SILENCE, ScriptedRelay

PAIRS = 8  # of relays, side by side
ATTEMPTS = 8  # of a message, and then it is left as it is
LIFE = timedelta(days=1)
RESUMED = 0.3  # how often a person resumes a relay, whose pipelining is tried again then
HASTY = Timeouts(
    **dict.fromkeys(("mail", "rcpt", "data", "block", "dot", "rset", "quit"), 0.1),
    **dict.fromkeys(("connect", "greeting", "tls", "ehlo", "auth"), 0.3),
)
ENHANCED = [
    *("4.2.0", "4.2.1", "4.3.0", "4.3.2", "4.4.2", "4.5.3", "4.7.1", "4.7.28"),
    *("5.1.1", "5.1.90", "5.2.2", "5.2.252", "5.3.4", "5.4.5", "5.5.1", "5.5.3", "5.6.7"),
    *("5.7.1", "5.7.54", "5.7.57", "5.7.60", "5.7.64", "5.7.705"),
]
WORDS = [
    *("no", "ok", "later", "Relay access denied", "Too many recipients", "Too many messages"),
    *("daily sending quota exceeded", "SendAsDenied", "Client host rejected: no", "size"),
    *("Administrative prohibition", "authentication required", "mailbox full; STOREDRV.Submission"),
]
CODES = [
    *(220, 221, 235, 250, 250, 250, 251, 252, 299, 300, 334, 354, 354, 399),
    *(400, 421, 421, 432, 450, 450, 451, 452, 454, 471, 499),
    *(500, 501, 503, 503, 504, 521, 530, 535, 550, 550, 552, 553, 554, 554, 555, 599),
]
NO_REPLIES = [
    *(b"what is this\r\n", b"250-never ended\r\n", b"250 ok\r\n250 ok\r\n", b"250 ok\n", b"\r\n"),
    *(b"354 go on\r\n250 taken\r\n", b"550-no\r\n551 no\r\n", b"999 what?\r\n", b"\xff\xfe\0\r\n"),
    *(b"250-a\r\n250 b\r\n", b"421 bye\r\n250 ok\r\n", b"25", b"250 " + b"x" * 9000 + b"\r\n"),
]
EXTENSIONS = [(), ("SIZE 60",), ("SMTPUTF8",), ("PIPELINING",), ("PIPELINING", "SIZE 60"), FEATURES]


class OddRelay(ScriptedRelay):
    """Answers as it should, mostly; else anything."""

    def __init__(self, rng, oddness):
        super().__init__(features=rng.choice([FEATURES, FEATURES, *EXTENSIONS]))
        self.rng = rng
        self.oddness = oddness

    def answer_to(self, verb, argument, connection):
        if self.rng.random() >= self.oddness:
            return super().answer_to(verb, argument, connection)
        kind = self.rng.random()
        if kind < 0.2:
            return self.rng.choice([CUT, CUT, FIN, FIN, SILENCE])
        if kind < 0.35:
            return self.rng.choice(NO_REPLIES)
        code = self.rng.choice(CODES)
        enhanced = self.rng.choice(ENHANCED) if self.rng.random() < 0.5 else ""
        return " ".join(filter(None, (str(code), enhanced, self.rng.choice(WORDS))))


class Pair:
    """Two relays, and some messages at a time over them, which wait for each other's places."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seed = seed
        self.attempts = 0
        self.counts = Counter()

    async def converse(self, numbers, broken):
        """Stops by itself once there are no more numbers."""
        rng = self.rng
        odd, other = rng.uniform(0.02, 0.6), rng.choice([0.0, 0.0, 0.0, 0.2])
        at_a_time = rng.choice((1, 3, 6))
        oddness = [odd, other] if rng.random() < 0.7 else [other, odd]
        async with OddRelay(rng, oddness[0]) as first, OddRelay(rng, oddness[1]) as second:
            self.scripted = (first, second)
            relays = Relays(
                [
                    Relay(
                        replace(
                            each.spec,
                            name=name,
                            messages_per_connection=rng.randint(2, 20),
                            connections=rng.choice((1, 2)),
                            pipelining=rng.choice([*Pipelining, Pipelining.FULL]),
                        ),
                        timeouts=HASTY,
                        rests=Rests(first=0.001, first_after_login=0.001, longest=0.002),
                    )
                    for name, each in zip(("first", "second"), self.scripted, strict=True)
                ]
            )
            try:
                while some := [*itertools.islice(numbers, at_a_time)]:
                    if rng.random() < RESUMED:
                        relays.resume(rng.choice(("first", "second")))
                    broken += await self._some(relays, some)
                self._count_commands_ahead()
            finally:
                await relays.close()

    async def _some(self, relays, numbers):
        """What is broken by these messages."""
        before = [len(each.received) for each in self.scripted]
        deliveries = await asyncio.gather(*(self._deliver(relays, each) for each in numbers))
        mails = [
            mail
            for each, begin in zip(self.scripted, before, strict=True)
            for mail in each.received[begin:]
        ]
        said = [
            f"to nobody that we know: {mail}" for mail in mails if not _is_for(mail, *deliveries)
        ]
        for delivery in deliveries:
            got = [mail for mail in mails if _is_for(mail, delivery)]
            self.counts[delivery.status] += 1
            self.counts["uncertain"] += delivery.uncertain > 0
            self.counts["extra copies"] += _extra(got)
            said += _wrong(delivery, got)
        return [f"{numbers} of {self.seed}: {each}" for each in said]

    def _count_commands_ahead(self):
        for each in self.scripted:
            self.counts["commands ahead"] += sum(it.ahead for it in each.connections)

    async def _deliver(self, relays, number):
        names = ("ann", "bob", "eve", "joe")[: self.rng.choice((1, 1, 2, 3, 4))]
        now = datetime(2026, 1, 1, tzinfo=UTC)
        delivery = Delivery(
            id=str(number),
            channel="email",
            subject="",
            sender=f"s{number}@example.org",
            recipients=tuple(Recipient(f"{name}{number}@example.org") for name in names),
            size=0,
            created_at=now,
            due_at=now,
            expires_at=now + LIFE,
            status=Status.SENDING,
            smtputf8=self.rng.random() < 0.1,
        )
        content = f"Subject: {number}\r\n\r\n{'Hi.' * self.rng.choice((1, 30))}\r\n".encode()
        for _ in range(ATTEMPTS):
            self.attempts += 1
            attempt = await relays.send(delivery.pending, content)
            delivery = delivery.after(attempt, retry_at=now, now=now)
            if delivery.status is not Status.DEFERRED:
                break
            if relays.room() <= 0:
                await relays.wait_for_room()
        return delivery


def _is_for(mail, *deliveries):
    """Whether one of its recipients is one of these; a mail to nobody is everybody's."""
    known = {each.address for delivery in deliveries for each in delivery.recipients}
    return not mail[1] or not known.isdisjoint(mail[1])


def _extra(got):
    copies = Counter(address for _, recipients, _ in got for address in recipients)
    return copies.total() - len(copies)


def _wrong(delivery, got):
    copies = Counter(address for _, recipients, _ in got for address in recipients)
    for recipient in delivery.recipients:
        count = copies.pop(recipient.address, 0)
        if count > 1 + delivery.uncertain:
            yield f"{recipient.address} came {count} times, flagged {delivery.uncertain}"
        if recipient.status is RecipientStatus.ACCEPTED and not count:
            yield f"{recipient.address} is recorded as accepted, and did not come"
        if recipient.status is not RecipientStatus.ACCEPTED and count > delivery.uncertain:
            yield f"{recipient.address} came and is recorded as {recipient.status}"
    if copies:
        yield f"somebody else's: {dict(copies)}"
    for sender, recipients, content in got:
        if recipients and sender not in (delivery.sender, ""):
            yield f"sent by {sender}"
        if recipients and not content.startswith(f"Subject: {delivery.id}\r\n".encode()):
            yield f"other content: {content[:60]}"


async def converse(count, seed):
    """Carry out so many; what is broken."""
    begun, broken = time.monotonic(), []
    numbers = iter(range(count))
    pairs = []

    async def go_on(place):
        # A pair is one story: after some messages it is over, and there is another one.
        while (first := next(numbers, None)) is not None:
            pair = Pair(f"{seed}-{place}-{len(pairs)}")
            pairs.append(pair)
            await pair.converse(iter([first, *itertools.islice(numbers, 49)]), broken)

    await asyncio.gather(*(go_on(place) for place in range(PAIRS)))
    counts = sum((pair.counts for pair in pairs), Counter())
    attempts = sum(pair.attempts for pair in pairs)
    print(
        f"{count} conversations, {attempts} attempts over {len(pairs)} pairs of relays"
        f" in {time.monotonic() - begun:.0f} s:"
        f" {', '.join(f'{what} {times}' for what, times in sorted(counts.items()))}"
    )
    return broken
