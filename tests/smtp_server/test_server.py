"""The SMTP server that all listeners share: real sockets, real TLS, smtplib as the client."""

import asyncio
import smtplib
import ssl

import pytest
import uvloop
from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import ConfigurationError
from notifier.relayspec import Tls
from notifier.smtp_server import (
    Bounds,
    ListenAddress,
    Server,
    read_addresses,
    write_addresses,
)
from notifier.smtp_server import connection as connections
from notifier.smtp_server import server as servers
from notifier.smtp_server.connection import _USUAL_PATH, Connection
from tests.waiting import LIMIT, until

HOST = "127.0.0.1"
MAIL = b"Subject: Hello\r\n\r\nGood day.\r\n"


class Handler:
    """Keeps what it gets, once it may."""

    def __init__(self):
        self.got = []
        self.may = asyncio.Event()
        self.may.set()

    async def handle_DATA(self, _server, session, envelope):  # noqa: N802  aiosmtpd's name
        await self.may.wait()
        self.got.append((session.ssl is not None, bytes(envelope.content)))
        return "250 2.0.0 kept"


def serving(handler, *addresses, **bounds):
    """A server on these addresses, by default on one without TLS."""

    def make(server, context):
        return Connection(server, handler, tls_context=context)

    where = addresses or (ListenAddress(host=HOST, port=0),)
    return Server(where, make, bounds=Bounds(**bounds))


class Client:
    """A raw conversation, line by line."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def line(self):
        """The next line; empty: the connection is gone."""
        async with asyncio.timeout(LIMIT):
            return (await self.reader.readline()).decode().rstrip()

    async def ask(self, command):
        self.writer.write(command.encode() + b"\r\n")
        return await self.line()

    async def send(self, content=MAIL):
        """The answer to the dot."""
        for command in ("HELO me", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>"):
            assert (await self.ask(command)).startswith("250")
        assert (await self.ask("DATA")).startswith("354")
        self.writer.write(content)
        return await self.ask(".")


@pytest.fixture
async def connect():
    """Connects clients, which are closed after the test."""
    clients = []

    async def connect(server, *, greeted=True):
        client = Client(*await asyncio.open_connection(HOST, server.ports[0]))
        clients.append(client)
        assert not greeted or (await client.line()).startswith("220")
        return client

    yield connect
    for each in clients:
        each.writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("tls")
    made = authority.issue_cert(HOST, "localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for each in made.cert_chain_pems:
        each.write_to_path(folder / "cert.pem", append=True)
    return folder


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_mail_comes_over_tls(certificate, authority, loop, tls):
    """By STARTTLS and from the start, under asyncio's loop and under uvloop, twice each."""
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def send(port):
        if tls is Tls.IMPLICIT:
            client = smtplib.SMTP_SSL(HOST, port, context=context)
        else:
            client = smtplib.SMTP(HOST, port)
            assert client.has_extn("starttls") or client.ehlo()
            client.starttls(context=context)
            client.ehlo()
            assert not client.has_extn("starttls")
        client.sendmail("a@example.org", ["b@example.org"], MAIL)
        client.sendmail("a@example.org", ["b@example.org"], MAIL * 100)
        client.quit()

    async def scenario():
        handler = Handler()
        address = ListenAddress(
            host=HOST,
            port=0,
            tls=tls,
            certificate=str(certificate / "cert.pem"),
            key=str(certificate / "key.pem"),
        )
        async with serving(handler, address) as server:
            await asyncio.to_thread(send, server.ports[0])
        assert handler.got == [(True, MAIL), (True, MAIL * 100)]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


async def test_octets_from_before_tls_are_dropped(certificate, connect):
    """A command that was smuggled behind STARTTLS is not carried out. CVE-2011-0411."""
    address = ListenAddress(
        host=HOST,
        port=0,
        tls=Tls.STARTTLS,
        certificate=str(certificate / "cert.pem"),
        key=str(certificate / "key.pem"),
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with serving(Handler(), address) as server:
        client = await connect(server)
        client.writer.write(b"STARTTLS\r\nHELO smuggled\r\n")
        assert (await client.line()).startswith("220")
        await client.writer.start_tls(context)
        # HELO would be forgotten by STARTTLS, too: an answer to it would be the first line.
        assert (await client.ask("MAIL FROM:<a@example.org>")).startswith("503")


async def test_f58_idle_clients_shut_out_no_other(connect):
    """Where all places are taken, the one that got least done gives way, with a reason."""
    handler = Handler()
    async with serving(handler, connections=3) as server:
        idle = [await connect(server) for _ in range(3)]
        assert (await idle[0].send()).startswith("250")
        another = await connect(server)
        assert (await idle[1].line()).startswith("421")
        assert (await another.send()).startswith("250")
        assert (await idle[0].send()).startswith("250")


async def test_a_client_that_reads_nothing_is_closed(connect, monkeypatch):
    """It cannot be told why, and its socket is free soon."""
    monkeypatch.setattr(connections, "CLOSING_SECONDS", 0.05)
    async with serving(Handler(), connections=1) as server:
        await connect(server)
        (deaf,) = server.connections
        deaf.transport.write(b"x" * 16_000_000)  # more than the kernel takes for a client
        await connect(server)
        assert deaf not in server.connections
        assert deaf.transport.get_write_buffer_size()
        await until(lambda: deaf.transport is None)


async def test_a_mail_after_an_error_has_its_own_recipients(connect):
    """The one that failed leaves nothing on the connection."""

    class Failing(Handler):
        async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  aiosmtpd's name
            self.got.append(list(envelope.rcpt_tos))
            if len(self.got) == 1:
                raise RuntimeError
            return "250 2.0.0 kept"

        async def handle_exception(self, _error):
            return "451 4.3.0 failed"

    handler = Failing()
    async with serving(handler) as server:
        client = await connect(server)
        assert (await client.send()).startswith("451")
        assert (await client.ask("MAIL FROM:<a@example.org>")).startswith("250")
        assert (await client.ask("RCPT TO:<c@example.org>")).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        client.writer.write(MAIL)
        assert (await client.ask(".")).startswith("250")
    assert handler.got == [["b@example.org"], ["c@example.org"]]


async def test_a_handshake_that_does_not_come_ends(certificate, connect, monkeypatch):
    """A client of implicit TLS that says nothing has little time."""
    monkeypatch.setattr(servers, "HANDSHAKE_SECONDS", 0.05)
    address = ListenAddress(
        host=HOST,
        port=0,
        tls=Tls.IMPLICIT,
        certificate=str(certificate / "cert.pem"),
        key=str(certificate / "key.pem"),
    )
    async with serving(Handler(), address) as server:
        silent = await connect(server, greeted=False)
        assert not await silent.line()


async def test_a_client_that_waits_for_an_answer_is_not_cut_off(connect):
    """Whoever sent a mail that is being kept stays, although others come."""
    handler = Handler()
    handler.may.clear()
    async with serving(handler, connections=1) as server:
        first = await connect(server)
        sending = asyncio.create_task(first.send())
        await until(lambda: any(each.busy for each in server.connections))
        another = await connect(server, greeted=False)
        assert (await another.line()).startswith("421")
        handler.may.set()
        assert (await sending).startswith("250")


async def test_an_outstanding_answer_is_sent_when_the_server_closes(connect):
    """A mail that is kept is confirmed, so that its sender does not send it again."""
    handler = Handler()
    handler.may.clear()
    server = serving(handler)
    await server.open()
    client = await connect(server)
    sending = asyncio.create_task(client.send())
    await until(lambda: any(each.busy for each in server.connections))
    closing = asyncio.create_task(server.close())
    handler.may.set()
    assert (await sending).startswith("250")
    await closing


async def test_f58_a_content_that_does_not_come_ends(connect):
    """The client is told, and its place is free."""
    async with serving(Handler(), content_seconds=0.05) as server:
        client = await connect(server)
        for command in ("HELO me", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"):
            await client.ask(command)
        assert (await client.line()).startswith("421")
        await until(lambda: not server.connections)


async def test_a_mail_that_is_too_large_is_refused(connect):
    """The answer is 552, and the next mail is taken."""
    handler = Handler()
    async with serving(handler, octets=1000) as server:
        client = await connect(server)
        assert (await client.send(b"x" * 998 + b"\r\n" + b"y\r\n")).startswith("552")
        assert (await client.send()).startswith("250")
    assert handler.got == [(False, MAIL)]


async def test_an_address_that_is_in_use_is_a_fault():
    """It names the address."""
    async with serving(Handler()) as server:
        taken = ListenAddress(host=HOST, port=server.ports[0])
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{server.ports[0]}"):
            await serving(Handler(), taken).open()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2526", "HOST:PORT"),
        (":2526", "HOST:PORT"),
        ("::1:2526", "brackets"),
        ("127.0.0.1:66000", "port"),
        ("127.0.0.1:25,127.0.0.1:25", "twice"),
        ("127.0.0.1:25?tls=starttls", "certificate"),
        ("127.0.0.1:25?certificate=a", "tls"),
        ("127.0.0.1:25?tls=yes&certificate=a", "none, starttls, implicit"),
        ("127.0.0.1:25?cert=a", "certificate"),
        ("127.0.0.1:25?", "name=value"),
    ],
)
def test_an_address_that_is_wrong_says_what_is_right(text, fault):
    """Each fault names what to write."""
    with pytest.raises(ValueError, match=fault):
        read_addresses(text)


def test_addresses_are_read_and_written():
    """Several, also of IPv6, and with TLS."""
    text = "127.0.0.1:2526,[::1]:2526?tls=starttls&certificate=/etc/a.pem&key=/etc/k.pem"
    first, second = read_addresses(text)
    assert first == ListenAddress(host=HOST, port=2526)
    assert (second.host, second.tls, second.key) == ("::1", Tls.STARTTLS, "/etc/k.pem")
    assert write_addresses((first, second)) == text


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_says_why_not(text):
    """What can be read can be written and read again."""
    try:
        found = read_addresses(text)
    except ValueError:
        return
    assert read_addresses(write_addresses(found)) == found


def test_a_certificate_that_is_missing_is_a_fault():
    """It names the file."""
    address = ListenAddress(host=HOST, port=0, tls=Tls.STARTTLS, certificate="/nowhere/cert.pem")
    with pytest.raises(ConfigurationError, match="/nowhere/cert"):
        address.context()


@given(st.one_of(st.text(max_size=30), st.from_regex(_USUAL_PATH, fullmatch=True)))
def test_addresses_are_read_as_aiosmtpd_reads_them(arg):
    """What is read by a shorter way is the same."""

    async def scenario():
        connection = Connection(serving(Handler()), Handler())
        try:
            right = SMTP._getaddr(connection, arg)
        except (IndexError, AttributeError):  # of a fault in it
            return
        found = connection._getaddr(arg)
        assert found[0] == right[0]
        assert (found[1] or "").split() == (right[1] or "").split()

    asyncio.run(scenario())
