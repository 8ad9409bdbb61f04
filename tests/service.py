"""What tests of the whole service share: one that is opened in the test, without its web."""

import asyncio
import contextlib
from datetime import UTC, datetime

from msgspec.structs import replace

from notifier.messages import Email
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.api.message_json import render
from tests.waiting import LIMIT

SENDER = "us@example.org"


def now():
    return datetime.now(UTC)


def specs_of(*relays):
    """How to reach scripted relays, each by a name of its own: first, second, third."""
    names = ("first", "second", "third")
    return tuple(replace(relay.spec, name=name) for name, relay in zip(names, relays, strict=False))


@contextlib.asynccontextmanager
async def notifying(folder, *relays, clock=now, **changes):
    """The service on this folder, with scripted relays in order of fail-over."""
    given = {"retry_schedule": (0.05,), "grace": 1.0, "workers": 4, "relays": specs_of(*relays)}
    settings = Settings(data_dir=str(folder), **(given | changes))
    async with Notifier(settings, clock=clock, show=render) as service:
        yield service


def email(*to, **changes):
    to = to or ("ann@example.org",)
    return Email(**({"to": to, "sender": SENDER, "subject": "Hello", "text": "Hi."} | changes))


async def submit(service, *messages):
    """The ids under which messages were accepted."""
    receipt = await service.submit(messages)
    return [delivery.id for delivery in receipt.deliveries]


async def submit_one(service, message=None):
    (id,) = await submit(service, message or email())
    return id


async def ended(service, id):
    """The delivery once it is final or held; that it never is is a failure."""
    delivery = await service.outcome(id, timeout=LIMIT)
    assert delivery.status.final or delivery.status == "held", delivery.status
    return delivery


async def until_status(service, id, *statuses):
    """The delivery once it has one of these states."""
    async with asyncio.timeout(LIMIT):
        while True:
            delivery = await service.journal.get(id)
            if delivery.status in statuses:
                return delivery
            await asyncio.sleep(0.005)


def subjects(relay):
    """Of what a scripted relay has received, in order."""
    return [
        line.removeprefix(b"Subject: ").decode()
        for _, _, content in relay.received
        for line in content.split(b"\r\n\r\n")[0].split(b"\r\n")
        if line.startswith(b"Subject: ")
    ]
