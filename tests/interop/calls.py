"""What the cases share: the service with one relay, and what is asked of it."""

import contextlib
import itertools

from notifier.settings.relays import read_relays
from tests.service import email, ended, notifying, submit
from tests.waiting import until

_numbers = itertools.count(1)


def unique(word="mail"):
    """A subject that no other mail of this session has."""
    return f"{word} {next(_numbers)}"


@contextlib.asynccontextmanager
async def relaying(folder, url, **changes):
    """The service with the relay of this URL."""
    async with notifying(folder, **({"relays": read_relays(url)} | changes)) as service:
        yield service


async def sent_as(service, *to, **changes):
    """What became of one message to these recipients, with its conversations."""
    (id,) = await submit(service, email(*to, **({"subject": unique()} | changes)))
    await ended(service, id)
    return await service.journal.get(id, conversations=True)


async def arrived(server, subject):
    """All copies of it that the server has sent on, at least one."""

    def copies():
        return [mail for mail in server.sink.mails if mail.subject == subject]

    return await until(copies)


async def arrived_at(server, subject, *recipients):
    """Wait until each of them has got it; that anybody gets it twice is a failure."""

    def reached():
        return sorted(
            each
            for mail in server.sink.mails
            if mail.subject == subject
            for each in mail.recipients
        )

    await until(lambda: len(reached()) >= len(recipients))
    assert reached() == sorted(recipients)


async def idle(service, *, connections):
    """Wait until the relay keeps so many connections."""
    await until(lambda: service.transports.relays.states()[0].idle == connections)
