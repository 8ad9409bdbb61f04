"""Connections that real mail servers limit, close, or lose."""

import asyncio

import pytest

from notifier.deliveries import OnUncertain
from tests.interop.calls import arrived, arrived_at, idle, relaying, sent_as, unique
from tests.interop.conftest import each_of
from tests.interop.exim import Exim
from tests.interop.haraka import Haraka
from tests.interop.opensmtpd import OpenSmtpd
from tests.interop.postfix import Postfix
from tests.interop.proxy import Proxy
from tests.service import email, ended, submit, submit_one, until_status
from tests.waiting import until


async def all_sent(server, service, count):
    """So many messages at once, once each of them has arrived once."""
    messages = [email(subject=unique()) for _ in range(count)]
    ids = await submit(service, *messages)
    sent = [await ended(service, id) for id in ids]
    assert {each.status for each in sent} == {"sent"}
    for each in sent:
        await arrived_at(server, each.subject, "ann@example.org")
    return sent


# OpenSMTPD waits for five minutes, and cannot be told otherwise.
@pytest.mark.parametrize("kind", each_of(Postfix, Exim, Haraka))
async def test_an_idle_connection_is_closed_by_the_server(made, kind, tmp_path):
    """The next message goes over a new one, at its first try."""
    server = made(kind, idle=3).start()
    async with relaying(tmp_path, server.url()) as service:
        first = await sent_as(service)
        await idle(service, connections=1)
        await idle(service, connections=0)
        second = await sent_as(service)
    server.kill()
    assert [len(each.attempts) for each in (first, second)] == [1, 1]
    assert any("EHLO" in line for line in second.attempts[0].conversation)


# Postfix has no such limit.
@pytest.mark.parametrize("kind", each_of(Exim, OpenSmtpd, Haraka))
async def test_the_server_takes_few_messages_on_a_connection(made, kind, tmp_path):
    """However it refuses the next one, that costs no message a try."""
    server = made(kind, messages=3).start()
    async with relaying(tmp_path, server.url(connections=2)) as service:
        sent = await all_sent(server, service, 20)
    server.kill()
    assert {each.tries for each in sent} == {1}


# OpenSMTPD has no limit that a test could reach.
@pytest.mark.parametrize("kind", each_of(Postfix, Exim, Haraka))
async def test_the_server_takes_few_connections(made, kind, tmp_path):
    """Those that are one too many cost no message a try."""
    server = made(kind, connections=2).start()
    async with relaying(tmp_path, server.url(connections=8), workers=8) as service:
        sent = await all_sent(server, service, 40)
    server.kill()
    assert {each.tries for each in sent} == {1}


async def test_the_server_restarts_between_messages(made, kind, tmp_path):
    """A kept connection has ended with it: the next message is sent all the same, at once."""
    server = made(kind).start()
    async with relaying(tmp_path, server.url()) as service:
        first = await sent_as(service)
        await idle(service, connections=1)
        server.stop()
        server.start()
        second = await sent_as(service)
    server.kill()
    assert [each.status for each in (first, second)] == ["sent", "sent"]
    assert second.tries == 1


async def test_the_server_is_down_for_a_while(made, kind, tmp_path):
    """Messages sent meanwhile wait without a charge, and arrive once."""
    server = made(kind).start()
    async with relaying(tmp_path, server.url()) as service:
        await sent_as(service)
        await asyncio.to_thread(server.stop)
        ids = await submit(service, *[email(subject=unique()) for _ in range(20)])
        states = service.transports.relays.states
        await until(lambda: states()[0].state == "open")
        await asyncio.to_thread(server.start)
        sent = [await ended(service, id) for id in ids]
        for each in sent:
            await arrived_at(server, each.subject, "ann@example.org")
    server.kill()
    assert {each.status for each in sent} == {"sent"}
    assert {each.tries for each in sent} == {1}


async def test_a_kill_before_the_end_of_the_content(made, kind, tmp_path):
    """A part of it had not left: nothing is uncertain, and it costs no try."""
    server = made(kind).start()
    async with (
        Proxy(server, octets=100_000) as proxy,
        relaying(tmp_path, f"smtp://127.0.0.1:{proxy.port}") as service,
    ):
        id = await submit_one(
            service, email(subject=unique(), text="twenty characters.\n" * 70_000)
        )
        await proxy.holding.wait()
        server.kill()
        server.start()
        sent = await ended(service, id)
        await arrived_at(server, sent.subject, "ann@example.org")
    server.kill()
    assert (sent.status, sent.uncertain, sent.tries) == ("sent", 0, 1)


async def test_a_kill_before_the_reply_to_the_content(made, kind, tmp_path):
    """Nobody can know what became of it: it is flagged, and sent again with the same octets."""
    server = made(kind).start()
    async with (
        Proxy(server) as proxy,
        relaying(tmp_path, f"smtp://127.0.0.1:{proxy.port}") as service,
    ):
        id = await submit_one(service, email(subject=unique()))
        await proxy.holding.wait()
        server.kill()
        server.start()
        sent = await ended(service, id)
        (mail,) = await arrived(server, sent.subject)
        source = await service.journal.content(id)
    server.kill()
    assert (sent.status, sent.uncertain) == ("sent", 1)
    assert message_id(mail.content) == message_id(source)


async def test_a_message_that_is_uncertain_may_be_held(made, kind, tmp_path):
    """Where it says so, it waits for a person."""
    server = made(kind).start()
    async with (
        Proxy(server) as proxy,
        relaying(tmp_path, f"smtp://127.0.0.1:{proxy.port}") as service,
    ):
        id = await submit_one(service, email(on_uncertain=OnUncertain.HOLD))
        await proxy.holding.wait()
        server.kill()
        held = await until_status(service, id, "held")
    assert held.uncertain == 1
    assert server.sink.mails == []


def message_id(source):
    """The line of this name."""
    return next(line for line in source.split(b"\r\n") if line.startswith(b"Message-ID:"))
