"""What clients that submit mail may take of time, memory and connections."""

import asyncio
import contextlib

import pytest

from notifier.submission_agent import agent as agents
from notifier.submission_agent import connection, memory
from tests.submission_agent.conftest import HOST, submitting
from tests.waiting import LIMIT, until

MAIL = b"From: us@example.org\r\nTo: ann@example.org\r\n\r\nHello.\r\n"
LARGE = MAIL + (b"x" * 900 + b"\r\n") * 1000


@contextlib.asynccontextmanager
async def clients(port, count, say=b""):
    """So many connections that have said this."""
    opened = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(say)
            opened.append((reader, writer))
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def said(reader):
    """All until the server closes the connection, or resets it because more was on its way."""
    heard = b""
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                heard += piece
    return heard


async def test_f53_idle_and_trickling_clients_shut_out_no_other(tmp_path, monkeypatch):
    """However many there are: each new client is let in, and one that got nothing done goes."""
    monkeypatch.setattr(agents, "CONNECTIONS", 20)
    begun = b"EHLO me\r\nMAIL FROM:<us@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nFrom:"
    async with (
        submitting(tmp_path) as submission,
        clients(submission.port, 30) as idle,
        clients(submission.port, 15, begun),
    ):
        code, _ = await submission.send(MAIL)
        assert code == 250
        assert submission.agent.clients <= 20
        assert b"421 4.3.2 too many connections" in await said(idle[0][0])


async def test_a_stranger_has_a_minute(tmp_path, monkeypatch):
    """Also one that says NOOP all the time; who has begun a mail has more."""
    monkeypatch.setattr(connection, "STRANGER_SECONDS", 0.3)
    async with submitting(tmp_path) as submission:
        async with clients(submission.port, 1, b"EHLO me\r\nNOOP\r\n") as ((reader, writer),):
            telling = asyncio.create_task(said(reader))
            with contextlib.suppress(ConnectionError):
                while not telling.done():
                    writer.write(b"NOOP\r\n")
                    await asyncio.sleep(0.01)
            await telling
        known = b"EHLO me\r\nMAIL FROM:<us@example.org>\r\n"
        async with (
            clients(submission.port, 1, known) as ((_, stays),),
            clients(submission.port, 1) as ((reader, _),),
        ):
            await until(lambda: submission.agent.clients == 2)
            await said(reader)  # the later one is gone
            assert submission.agent.clients == 1
            assert not stays.is_closing()


async def test_f53_few_large_mails_arrive_at_a_time(tmp_path, monkeypatch):
    """The others are not read from; a slow one gives way, and small ones go past."""
    monkeypatch.setattr(memory, "PLACES", 1)
    monkeypatch.setattr(memory, "GIVE_WAY_SECONDS", 0.3)
    begun = b"EHLO me\r\nMAIL FROM:<us@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"
    part = begun + LARGE[: memory.SMALL + 50_000]
    monkeypatch.setattr(memory, "SLOW", 10_000_000)
    async with (
        submitting(tmp_path) as submission,
        clients(submission.port, 1, part) as ((slow, _),),
    ):
        await until(lambda: submission.agent._memory._held)
        waiting = asyncio.create_task(submission.send(LARGE))
        await until(lambda: submission.agent._memory._waiting)
        assert (await submission.send(MAIL))[0] == 250
        assert (await said(slow)).endswith(b"waits for the memory\r\n")
        assert (await waiting)[0] == 250
        await until(lambda: not submission.agent._memory._held)


async def test_a_mail_that_is_too_large_leaves_the_connection_as_it_was(tmp_path):
    """552, and the next mail on it is taken."""
    async with submitting(tmp_path, max_body=500_000) as submission:

        def talk(client):
            client.ehlo("me")
            codes = []
            for mail in (LARGE, MAIL):
                client.mail("us@example.org")
                client.rcpt("ann@example.org")
                codes.append(client.data(mail)[0])
            return codes

        assert await submission.call(talk) == [552, 250]
        assert not submission.agent._memory._held


@pytest.mark.parametrize(
    ("noise", "answers"), [(b"NOOP\r\n" * 10_000, 10_000), (b"NOOP " + b"x" * 500_000 + b"\r\n", 1)]
)
async def test_f53_a_flood_of_commands_stalls_no_other_client(submission, noise, answers):
    """Commands that come in one piece are answered in turns, and a line without end is one."""
    async with clients(submission.port, 1, noise) as ((reader, writer),):
        hearing = asyncio.create_task(said(reader))
        assert (await submission.send(MAIL))[0] == 250
        writer.write(b"QUIT\r\n")
        assert (await hearing).count(b"\r\n") == 1 + answers + 1


async def test_f52_a_client_that_goes_has_its_mail_sent(submission):
    """The dot has come, so the mail is taken, whether the client hears of it or not."""
    everything = (
        b"EHLO me\r\nMAIL FROM:<us@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"
        + MAIL
        + b".\r\n"
    )

    def taken():  # or delivered already
        names = (task.get_name() for task in asyncio.all_tasks())
        return submission.relay.received or "smtp-mail" in names

    async with clients(submission.port, 1, everything) as ((_, writer),):
        await until(taken)
        writer.write_eof()
        assert (await submission.delivered())[0].endswith(b"\r\n\r\nHello.\r\n")
