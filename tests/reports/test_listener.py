"""The SMTP listener for reports, in front of the whole service."""

import asyncio
import contextlib
import smtplib
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.errors import JournalUnavailable
from notifier.relayspec import Tls
from notifier.reports import mails
from notifier.reports.listener import BOUNDS, report_listener
from notifier.smtp_server import ListenAddress
from notifier.smtp_server.content import Content
from tests.bounces import PATH, dsn, out_of_office
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, submit_one
from tests.waiting import until

ANN = "ann@example.org"
HERE = (ListenAddress(host="127.0.0.1", port=0),)


@contextlib.asynccontextmanager
async def listening(folder, **changes):
    """The service with a listener, and a relay that took one message."""
    async with (
        ScriptedRelay() as relay,
        notifying(folder, relay, report_listen=HERE, return_path=PATH, **changes) as service,
    ):
        id = await submit_one(service)
        assert (await ended(service, id)).status == "sent"
        yield service, id, relay.received[0][0]


def send(service, mail, *to, sender=""):
    """Hand a mail in as a mail server does. Raises SMTPException where it is refused."""
    with smtplib.SMTP("127.0.0.1", service.report_sources.listener.ports[0]) as client:
        return client.sendmail(sender, to, mail)


async def later(service, id):
    (recipient,) = (await service.message(id)).recipients
    return recipient.later


async def test_a_bounce_to_a_token_is_taken(tmp_path):
    """250 means that the recipient has it. It is told by which road it came; the status stays."""
    async with listening(tmp_path) as (service, id, path):
        await asyncio.to_thread(send, service, dsn(ANN), path)
        found = await later(service, id)
        assert (found.state, found.code, found.road) == ("bounced", "5.1.1", "smtp")
        assert (await service.message(id)).status == "sent"


@pytest.mark.parametrize("to", [ANN, "bounces@example.org", "postmaster@example.org", PATH])
async def test_other_addresses_are_refused(tmp_path, to):
    """It is no relay: 550 5.1.1 at RCPT for an address without a token."""
    async with listening(tmp_path) as (service, id, _):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            await asyncio.to_thread(send, service, dsn(ANN), to)
        assert refused.value.recipients[to][0] == 550
        assert await later(service, id) is None


async def test_f57_a_token_of_another_service_is_refused(tmp_path):
    """Its seal was made with another secret."""
    async with (
        listening(tmp_path / "one") as (service, id, _),
        listening(tmp_path / "two") as (_, _, foreign),
    ):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await asyncio.to_thread(send, service, dsn(ANN), foreign)
        assert await later(service, id) is None


async def test_f58_a_client_that_guesses_is_cut_off(tmp_path):
    """After twenty addresses without a token."""
    async with listening(tmp_path) as (service, _, _):
        guesses = [f"bounces+{number}@example.org" for number in range(30)]
        with pytest.raises(smtplib.SMTPException):
            await asyncio.to_thread(send, service, dsn(ANN), *guesses)
        await until(lambda: not service.report_sources.listener.connections)


async def test_a_mail_is_read_once_for_all_its_recipients(tmp_path, monkeypatch):
    """Each message that a token names gets the report once, in whatever case it is named again."""
    async with listening(tmp_path) as (service, first, path):
        second = await submit_one(service)
        assert (await ended(service, second)).status == "sent"
        verp = await service.reports._tokens()
        other = verp.address(PATH, second, ANN)
        read, taken = [], []
        parse, take = mails.parse, service.reports._take

        def counted(mail):
            read.append(mail)
            return parse(mail)

        async def counted_take(report):
            taken.append(report)
            return await take(report)

        monkeypatch.setattr(mails, "parse", counted)
        monkeypatch.setattr(service.reports, "_take", counted_take)
        await asyncio.to_thread(send, service, dsn(ANN), path, path.upper(), other, path)
        assert (len(read), len(taken)) == (1, 2)
        assert (await later(service, first)).state == "bounced"
        assert (await later(service, second)).state == "bounced"


async def test_mail_without_a_report_changes_nothing(tmp_path):
    """An automatic reply gets its 250: it would come again and again."""
    async with listening(tmp_path) as (service, id, path):
        await asyncio.to_thread(send, service, out_of_office(path), path, sender=ANN)
        assert await later(service, id) is None


async def test_f55_a_report_that_cannot_be_kept_comes_again(tmp_path, monkeypatch):
    """451 while the journal cannot be written; the next try is taken."""

    async def full(*_, **__):
        raise JournalUnavailable("the disk is full")

    async with listening(tmp_path) as (service, id, path):
        with monkeypatch.context() as patched:
            patched.setattr(service.journal, "amend", full)
            with pytest.raises(smtplib.SMTPDataError) as refused:
                await asyncio.to_thread(send, service, dsn(ANN), path)
            assert refused.value.smtp_code == 451
        assert await later(service, id) is None
        await asyncio.to_thread(send, service, dsn(ANN), path)
        assert (await later(service, id)).state == "bounced"


async def test_the_end_of_a_long_report_is_not_needed(tmp_path):
    """A server that returns the whole mail is answered with 250, too."""
    async with listening(tmp_path) as (service, id, path):
        long = dsn(ANN) + b"x" * 70 + b"\r\n" + b"Zm9v" * 18 + b"\r\n" * 200_000
        assert len(long) < BOUNDS.octets
        await asyncio.to_thread(send, service, long, path)
        assert (await later(service, id)).state == "bounced"


async def test_the_listener_takes_reports_over_tls(tmp_path, authority):
    """With STARTTLS, and it offers no login."""
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    address = ListenAddress(
        host="127.0.0.1", port=0, tls=Tls.STARTTLS, certificate=str(tmp_path / "cert.pem")
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def sent(port, path):
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.starttls(context=context)
            client.ehlo()
            assert not client.has_extn("auth")
            client.sendmail("", [path], dsn(ANN))

    async with listening(tmp_path / "data") as (service, id, path):
        async with report_listener((address,), service.reports) as listener:
            await asyncio.to_thread(sent, listener.ports[0], path)
        assert (await later(service, id)).state == "bounced"


@given(
    st.lists(st.sampled_from([b".", b"..", b"\r\n", b"a", b"x" * 40, b"\r", b"\n", b"\0"])),
    st.lists(st.integers(1, 9), min_size=1),
    st.one_of(st.none(), st.integers(5, 60)),
)
def test_a_content_in_any_pieces_is_the_same(parts, sizes, kept):
    """Its dots are unstuffed; of a longer one than is kept only the beginning is there."""

    async def scenario():
        lines = b"".join(parts).split(b"\r\n")
        whole = b"\r\n".join(lines) + b"\r\n"
        stuffed = b"\r\n".join(b"." + each if each[:1] == b"." else each for each in lines)
        sent = stuffed + b"\r\n.\r\nQUIT\r\n"
        content = Content(10_000, kept)
        behind, at, turn = None, 0, 0
        while behind is None:
            size = sizes[turn % len(sizes)]
            behind = content.feed(sent[at : at + size])
            at, turn = at + size, turn + 1
        found = bytes(await content.complete)
        assert behind + sent[at:] == b"QUIT\r\n"
        assert whole.startswith(found.removesuffix(b"."))
        assert kept is not None or found == whole
        assert len(found) >= min(len(whole), (kept or 10_000) // 2)

    asyncio.run(scenario())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_octets_leave_the_listener_whole(serving, data):
    """Whatever a client says, the next one can hand in a report."""
    service, run, id, path = serving
    word = st.sampled_from(
        [
            "EHLO x",
            "MAIL FROM:<>",
            f"RCPT TO:<{path}>",
            "RCPT TO:<a@b>",
            "DATA",
            ".",
            "RSET",
            "QUIT",
        ]
    )
    line = st.one_of(word.map(str.encode), st.binary(max_size=60))
    said = b"\r\n".join(data.draw(st.lists(line, max_size=12))) + b"\r\n"

    async def scenario():
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", service.report_sources.listener.ports[0]
        )
        writer.write(said)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await asyncio.to_thread(send, service, dsn(ANN), path)

    run(scenario())
    assert run(later(service, id)).state == "bounced"


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """One service for all examples, in a loop of its own."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        folder = tmp_path_factory.mktemp("serving")
        service, id, path = runner.run(stack.enter_async_context(listening(folder)))
        yield service, runner.run, id, path
        runner.run(stack.aclose())
