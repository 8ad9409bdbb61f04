"""Reports are read from a mailbox, which a real Dovecot serves, by the whole service."""

import asyncio
import base64
import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.cli.check import CheckFailed, check
from notifier.errors import ConfigurationError
from notifier.mailboxspec import MailboxSpec, read_mailbox, write_mailbox
from notifier.reports import mailbox as reading
from notifier.reports.imap import ImapConnection, ImapError
from notifier.reports.mailbox import Mailbox
from notifier.settings import Settings
from notifier.supervisor import Supervisor
from notifier.tokens import Token
from tests.bounces import PATH, dsn, out_of_office
from tests.dovecot import PASSWORD, PROGRAM, USER, Dovecot
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, now, submit_one
from tests.waiting import until

ANN = "ann@example.org"
SUBJECT = "Undelivered Mail Returned to Sender"
needs_dovecot = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Dovecot here; apt-get install dovecot-imapd"
)


@contextlib.contextmanager
def dovecot(**options):
    """A running server whose folder its user may enter, which pytest's are not for."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)
    server = Dovecot(folder, **options)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared():
    with dovecot() as server:
        yield server


@pytest.fixture
def server(shared):
    """The running server, whose mailbox is empty."""
    shared.clear()
    return shared


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What happens after a while happens at once."""
    monkeypatch.setattr(reading, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(reading, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(reading, "POLL_SECONDS", 0.05)


def spec(server, **changes):
    return MailboxSpec(
        **{"host": "127.0.0.1", "port": server.port, "username": USER, "password": PASSWORD}
        | {"tls": False}
        | changes
    )


@contextlib.asynccontextmanager
async def reading_from(server, folder, **changes):
    """The service that reads this mailbox, and a message that it sent."""
    async with (
        ScriptedRelay() as relay,
        notifying(
            folder, relay, return_path=PATH, report_mailbox=spec(server, **changes)
        ) as service,
    ):
        id = await submit_one(service)
        await ended(service, id)
        yield service, id, relay.received[0][0]


async def later(service, id):
    (recipient,) = (await service.message(id)).recipients
    return recipient.later


async def subjects(server, *folder, **which):
    return await asyncio.to_thread(server.subjects, *folder, **which)


async def until_subjects(expected, server, *folder):
    async def there():
        return await subjects(server, *folder) == expected

    await until(there)


@needs_dovecot
async def test_a_report_that_arrives_is_taken_and_moved(server, tmp_path):
    """At once, by IDLE; the folder is made."""
    async with reading_from(server, tmp_path) as (service, id, path):
        await asyncio.to_thread(server.put, dsn(ANN, to=path))
        found = await until(lambda: later(service, id))
        assert (found.state, found.code, found.road) == ("bounced", "5.1.1", "imap")
        await until_subjects([SUBJECT], server, "notifier-read")
        await until_subjects([], server)


@needs_dovecot
async def test_mail_without_a_report_stays_flagged(server, tmp_path):
    """A person finds it. It is not read again, also by the next process."""
    for _ in range(2):
        async with reading_from(server, tmp_path) as (service, id, path):
            if not await subjects(server):
                await asyncio.to_thread(server.put, out_of_office(path))
            await asyncio.to_thread(server.put, dsn(ANN, to=path))
            await until(lambda: later(service, id))
            await until_subjects(["Automatic reply: Hello"], server)
        assert len(await subjects(server, which="FLAGGED")) == 1


@needs_dovecot
async def test_mails_from_before_the_start_are_read(server, tmp_path):
    """Many mails, in the order of their arrival."""
    async with reading_from(server, tmp_path) as (service, id, path):
        pass
    mails = [dsn(ANN, to=path, action="delayed", status="4.4.1") for _ in range(9)]
    await asyncio.to_thread(server.put, *mails, dsn(ANN, to=path))
    async with reading_from(server, tmp_path) as (service, _, _):
        await until_subjects([], server)
        assert (await later(service, id)).state == "bounced"


@needs_dovecot
async def test_f55_a_report_that_was_not_moved_counts_once(server, tmp_path, monkeypatch):
    """The connection breaks between taking and moving: it is read again."""
    told = []
    move, breaks = ImapConnection.move, iter([True, True])

    async def breaking(self, uid, folder):
        if next(breaks, False):
            raise ImapError("the connection was lost")
        await move(self, uid, folder)

    monkeypatch.setattr(ImapConnection, "move", breaking)
    async with reading_from(server, tmp_path) as (service, _, path):
        service.reports.listen(lambda *what: told.append(what))
        await asyncio.to_thread(server.put, dsn(ANN, to=path))
        await until_subjects([SUBJECT], server, "notifier-read")
    assert len(told) == 1


@needs_dovecot
async def test_a_server_without_idle_and_move_is_asked_again_and_again(tmp_path):
    """A mail is copied, and deleted from where it was."""
    with dovecot(capability="IMAP4rev1 UIDPLUS") as server:
        async with reading_from(server, tmp_path) as (service, id, path):
            await asyncio.to_thread(server.put, dsn(ANN, to=path))
            await until(lambda: later(service, id))
            await until_subjects([SUBJECT], server, "notifier-read")
            await until_subjects([], server)


@needs_dovecot
async def test_f56_a_server_that_was_away_is_found_again(tmp_path):
    """While it is away the health says so."""
    with dovecot() as server:
        async with reading_from(server, tmp_path) as (service, _, path):
            await asyncio.to_thread(server.put, dsn(ANN, to=path))
            await until_subjects([SUBJECT], server, "notifier-read")
            await asyncio.to_thread(server.stop)
            (warning,) = await until(lambda: service.health().warnings)
            assert "mailbox of reports" in warning
            again = await submit_one(service)
            await ended(service, again)
            await asyncio.to_thread(server.start)
            message_id = f"<{again}@example.org>"
            await asyncio.to_thread(server.put, dsn(ANN, message_id=message_id))
            await until(lambda: later(service, again))
            await until(lambda: not service.health().warnings)
            assert service.supervisor.counts()["report-mailbox"].deaths == 0


@needs_dovecot
async def test_f56_a_refused_login_is_reported_without_the_password(server, tmp_path):
    """The warning names the user and what the server said."""
    async with reading_from(server, tmp_path, password="wrong-word") as (service, _, _):
        (warning,) = await until(lambda: service.health().warnings)
    assert "AUTHENTICATIONFAILED" in warning
    assert USER in warning
    assert "wrong-word" not in warning


@needs_dovecot
async def test_the_mailbox_is_read_over_tls(tmp_path, authority):
    """With the certificates that `ca=` names; without them the connection fails."""
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for each in made.cert_chain_pems:
        each.write_to_path(tmp_path / "cert.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with dovecot(certificate=tmp_path) as server:
        secure = spec(server, tls=True, port=server.secure, ca=str(tmp_path / "ca.pem"))
        async with ImapConnection(secure, None) as connection:
            assert await connection.unread() == []
        with pytest.raises(ImapError, match="certificate"):
            await ImapConnection(replace(secure, ca=None), None).__aenter__()


@needs_dovecot
async def test_check_tries_the_login(server):
    """What works is told, and what does not with what it usually means."""
    said = []
    for password in (PASSWORD, "wrong"):
        chosen = Settings(report_mailbox=spec(server, password=password))
        with contextlib.suppress(CheckFailed):
            await asyncio.to_thread(check, chosen, say=said.append)
    text = "\n".join(said)
    assert "INBOX has 0 mails to read; IDLE announces new mail" in text
    assert "AUTHENTICATIONFAILED" in text
    assert "The user or the password is wrong" in text


def test_check_needs_the_section_that_the_mailbox_names():
    """It is a fault like those of relays."""
    chosen = MailboxSpec(host="127.0.0.1", port=9, username=USER, oauth="m365")
    with pytest.raises(ConfigurationError, match="oauth=m365 is not a section"):
        check(Settings(report_mailbox=chosen), say=print)


# ---------------------------------------------------------------------- a server that is scripted


class Scripted:
    """Answers each line with what the script says for its first words, and knows no more."""

    def __init__(self, answers, greeting=b"* OK ready\r\n"):
        self.answers = answers
        self.greeting = greeting
        self.heard = []
        self._serving = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        await until(lambda: not self._serving)

    async def _serve(self, reader, writer):
        self._serving.add(writer)
        with contextlib.suppress(ConnectionError):
            writer.write(self.greeting)
            while line := await reader.readline():
                tag, _, command = line.decode("latin-1").strip().partition(" ")
                self.heard.append(command)
                found = (a for words, a in self.answers.items() if command.startswith(words))
                answer = next(found, b"%b BAD what\r\n")
                writer.write(answer.replace(b"%b", tag.encode()))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._serving.discard(writer)


class Issued:
    """Tokens, of which none is newer."""

    def __init__(self):
        self.renewed = 0

    async def get(self):
        return Token("secret-token", "a test", now())

    async def renew(self, refused):
        self.renewed += 1
        return refused


CAPABILITY = b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n%b OK\r\n"
TOKEN = base64.b64encode(f"user={USER}\1auth=Bearer secret-token\1\1".encode()).decode()


async def test_a_token_is_shown_as_xoauth2():
    """In one line with the user."""
    answers = {
        "CAPABILITY": CAPABILITY,
        "AUTHENTICATE": b"%b OK welcome\r\n",
        "SELECT": b"* 0 EXISTS\r\n%b OK\r\n",
        "LOGOUT": b"* BYE\r\n%b OK\r\n",
    }
    async with (
        Scripted(answers) as server,
        ImapConnection(spec(server, password=None, oauth="m365"), Issued()),
    ):
        pass
    assert f"AUTHENTICATE XOAUTH2 {TOKEN}" in server.heard


async def test_a_refused_token_is_renewed():
    """The server's challenge is answered, so that it says why."""
    answers = {
        "CAPABILITY": CAPABILITY,
        "AUTHENTICATE": b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n%b NO AUTHENTICATE failed.\r\n",
    }
    tokens = Issued()
    async with Scripted(answers) as server:
        connection = ImapConnection(spec(server, password=None, oauth="m365"), tokens)
        with pytest.raises(ImapError, match="AUTHENTICATE failed") as refused:
            await connection.__aenter__()
    assert "secret-token" not in str(refused.value)
    assert tokens.renewed == 1
    assert "" in server.heard


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_f56_a_server_that_talks_nonsense_is_an_error(greeting, capability, login):
    """And nothing is left of the connection."""

    async def scenario():
        answers = {"CAPABILITY": capability, "LOGIN": login}
        async with Scripted(answers, greeting + b"\r\n") as server:
            with pytest.raises(ImapError):
                async with asyncio.timeout(20):
                    await ImapConnection(spec(server), None, seconds=0.02).__aenter__()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(scenario())


async def test_another_replica_does_not_read(tmp_path):
    """The one that has the lock does. The other tries again later."""
    waits = []

    class Locked:
        @contextlib.asynccontextmanager
        async def try_lock(self, _name):
            yield False

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)

    supervisor = Supervisor()
    nowhere = MailboxSpec(host="127.0.0.1", port=9, username="a", password="b", tls=False)
    async with Mailbox(nowhere, None, None, Locked(), supervisor, sleep=sleep) as mailbox:
        await until(lambda: len(waits) > 2)
        assert mailbox.trouble == ""
    await supervisor.close()
    assert set(waits) == {reading.OTHER_SECONDS}


# ---------------------------------------------------------------------- the setting


def test_a_mailbox_is_read_and_written():
    """Its password is struck out."""
    text = "imaps://bounces%40example.org:p%2Fw@mail.example.org/INBOX?read=Archive/seen"
    found = read_mailbox(text)
    assert (found.username, found.password) == (USER, "p/w")
    assert (found.host, found.port, found.folder) == ("mail.example.org", 993, "INBOX")
    assert "p/w" not in repr(found)
    assert "p%2Fw" not in write_mailbox(found)
    assert read_mailbox(write_mailbox(found).replace("***", "p%2Fw")) == found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("imaps://mail.example.org", "no user"),
        ("imaps://a@mail.example.org", "neither a password"),
        ("imaps://a:secret@mail.example.org?oauth=x", "both a password"),
        ("imap://a:secret@mail.example.org", "in clear"),
        ("pop3://a:secret@mail.example.org", "imaps://"),
        ("imaps://a:secret@mail.example.org/INBOX?read=inbox", "a different folder"),
        ("imaps://a:secret@mail.example.org?folder=x", "oauth, read, ca"),
        ("imaps://a:secret@mail.example.org/a%22b", "ASCII"),
        ("imaps://a:sec/ret@mail.example.org", "percent|%2F"),
        ("imaps://a:secret@mail.example.org:99999", "URL"),
    ],
)
def test_a_mailbox_that_is_wrong_says_what_is_right(text, fault):
    """Without the password."""
    with pytest.raises(ValueError, match=fault) as wrong:
        read_mailbox(text)
    assert "secret" not in str(wrong.value)


@given(st.text(max_size=80))
def test_any_text_is_a_mailbox_or_says_why_not(text):
    """Nothing else is raised."""
    for url in (text, f"imaps://{text}"):
        with contextlib.suppress(ValueError):
            read_mailbox(url)
