"""What a client that submits mail is answered, as smtplib and swaks hear it."""

import asyncio
import base64
import shutil
import smtplib
import ssl

import pytest
import structlog
import trustme

from notifier.audit import Which
from notifier.relayspec import Tls
from notifier.smtp_server import ListenAddress
from notifier.submission_agent import agent as agents
from tests.submission_agent.conftest import HOST, made_key, submitting
from tests.waiting import LIMIT, until

MAIL = b"From: us@example.org\r\nTo: ann@example.org\r\nSubject: Hi\r\n\r\nHello.\r\n"


@pytest.fixture
def quick(monkeypatch):
    """The answer to a wrong login is not kept back."""
    monkeypatch.setattr(agents, "FAILED_LOGIN_SECONDS", 0.0)


def logged_in(secret, user="shop"):
    """Has smtplib log in; returns what comes of it."""

    def talk(client):
        try:
            return client.login(user, secret)
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code, error.smtp_error
        except smtplib.SMTPNotSupportedError:
            return 0, b"AUTH is not offered"

    return talk


def sending(secret, source=MAIL, *, sender="us@example.org", to=("ann@example.org",)):
    """Has smtplib log in and send; the last reply."""

    def talk(client):
        assert client.login("shop", secret)[0] == 235
        for code, said in (client.mail(sender), *map(client.rcpt, to)):
            if code != 250:
                return code, said.decode()
        code, said = client.data(source)
        return code, said.decode()

    return talk


async def test_clients_of_this_machine_send_while_there_is_no_key(submission):
    """As over HTTP."""
    code, said = await submission.send(MAIL)
    assert (code, said[:17]) == (250, "2.0.0 queued as 0")


async def test_a_client_logs_in_by_a_keys_name_and_the_key(tmp_path, quick):
    """535 for what is wrong; without a login nothing is taken."""
    key, secret = made_key()
    async with submitting(tmp_path, keys=[key]) as submission:
        assert (await submission.call(logged_in(secret)))[0] == 235
        assert await submission.call(logged_in(secret, user="other")) == (
            535,
            b"5.7.8 the user must be the name of the API key",
        )
        code, said = await submission.call(logged_in("ntf_abc_wrong"))
        assert (code, said) == (535, b"5.7.8 this service has no such key")
        code, said = await submission.send(MAIL)
        assert (code, said[:5]) == (530, "5.7.0")
        code, said = await submission.call(sending(secret))
        assert code == 250
        delivery = await submission.service.message(said.split()[-1])
        assert delivery.key == "shop"
        # smtplib tries each wrong login by PLAIN and by LOGIN.
        assert dict(submission.service.tally.smtp_replies) == {"250": 1, "530": 1, "535": 4}


async def test_the_audit_records_who_sends_and_who_fails_to_log_in(tmp_path, quick):
    """Messages in the sums of the key; logins in vain by address, without what was given."""
    key, secret = made_key()
    async with submitting(tmp_path, keys=[key]) as submission:
        for _ in range(2):
            assert (await submission.call(sending(secret)))[0] == 250
        assert (await submission.call(logged_in("ntf_abc_wrong")))[0] == 535
        audit = submission.service.audit
        await audit.write_sums()
        records = (await audit.page(Which())).items
        sent = [each for each in records if each.what == "send"]
        assert [each.by for each in sent] == ["key:shop"] * len(sent)
        assert sum(each.count for each in sent) == 2
        (refused, _) = (each for each in records if each.what == "sign-in-refused")
        assert (refused.by, refused.on) == ("anonymous", HOST)
        assert refused.detail == "SMTP: this service has no such key"


@pytest.mark.parametrize("mechanism", ["plain", "LOGIN"])
async def test_mechanisms_may_be_written_in_lower_case(tmp_path, mechanism):
    """PLAIN, and LOGIN with the words that printers wait for."""
    key, secret = made_key()

    def talk(client):
        client.ehlo("me")
        if mechanism == "plain":
            blob = base64.b64encode(f"\0shop\0{secret}".encode()).decode()
            return [client.docmd("AUTH", f"plain {blob}")[0]]
        code, asked = client.docmd("auth", "login")
        assert (code, base64.b64decode(asked)) == (334, b"Username:")
        code, asked = client.docmd(base64.b64encode(b"shop").decode())
        assert (code, base64.b64decode(asked)) == (334, b"Password:")
        return [client.docmd(base64.b64encode(secret.encode()).decode())[0]]

    async with submitting(tmp_path, keys=[key]) as submission:
        assert await submission.call(talk) == [235]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_login_that_is_too_long_is_the_client_s_fault(tmp_path, mechanism):
    """It is told so, its connection ends, and the log has no error."""

    def talk(client):
        client.ehlo("me")
        assert client.docmd("AUTH", mechanism)[0] == 334
        return client.docmd("x" * 100_000)

    with structlog.testing.capture_logs() as logged:
        async with submitting(tmp_path, keys=[made_key()[0]]) as submission:
            assert await submission.call(talk) == (500, b"5.5.6 the line is too long")
            await until(lambda: not submission.agent.clients)
    assert "smtp_submission_failed" not in [each["event"] for each in logged]


async def test_three_wrong_logins_end_the_connection(tmp_path, quick):
    """The fourth needs a new one."""
    key, _ = made_key()

    def talk(client):
        client.ehlo("me")
        blob = base64.b64encode(b"\0shop\0wrong").decode()
        codes = [client.docmd("AUTH", f"PLAIN {blob}")[0] for _ in range(3)]
        return [*codes, client.getreply()[0]]

    async with submitting(tmp_path, keys=[key]) as submission:
        assert await submission.call(talk) == [535, 535, 535, 421]


async def test_the_rules_of_the_key_hold(tmp_path):
    """Its scopes, senders (of the envelope, and those readers see), recipients and rate."""
    key, secret = made_key(senders=("us@example.org",), recipient_domains=("example.org",), rate=3)
    async with submitting(tmp_path, keys=[key]) as submission:
        forged = MAIL.replace(b"From: us@", b"From: boss@")
        beside = MAIL.replace(b"From: us@", b"Sender: boss@example.org\r\nFrom: us@")
        for refused in (
            sending(secret, sender="boss@example.org"),
            sending(secret, forged),
            sending(secret, beside),
            sending(secret, b"X-SES-Configuration-Set: other\r\n" + MAIL, sender="us@example.org"),
            sending(secret, to=("ann@example.net",)),
            sending(
                secret, to=("a@example.org", "b@example.org", "c@example.org", "d@example.org")
            ),
        ):
            code, said = await submission.call(refused)
            assert code == 550, said
        assert (await submission.call(sending(secret)))[0] == 250
        three = ("a@example.org", "b@example.org", "c@example.org")
        code, said = await submission.call(sending(secret, to=three))
        assert (code, said[:5]) == (452, "4.3.1"), said


async def test_a_key_without_send_sends_nothing(tmp_path):
    """`sms` is for text messages alone."""
    key, secret = made_key(scopes=("read",))
    async with submitting(tmp_path, keys=[key]) as submission:
        code, said = await submission.call(sending(secret))
        assert (code, said[:5]) == (550, "5.7.1")
        assert "'send'" in said


async def test_a_key_that_was_revoked_meanwhile_sends_nothing(tmp_path):
    """A connection that stays open does not outlive its key."""
    key, secret = made_key()
    async with submitting(tmp_path, keys=[key]) as submission:
        loop = asyncio.get_running_loop()

        def talk(client):
            client.login("shop", secret)
            asyncio.run_coroutine_threadsafe(revoke(), loop).result()
            return client.mail("us@example.org")

        async def revoke():
            submission.service.keys.revoke("shop", key.created)

        code, said = await submission.call(talk)
        assert (code, said[:5]) == (535, b"5.7.8")


@pytest.mark.parametrize(
    ("source", "reply"),
    [
        (MAIL.replace(b"From: us@example.org", b"From: nobody"), "550 5.1.7 from: "),
        (MAIL.replace(b"From:", b"From: a@example.org\r\nFrom:"), "550 5.1.7 from: "),
        (MAIL.replace(b"From: us@", b"From: a@example.org, us@"), "550 5.1.7 from: "),
        (MAIL.replace(b"From: us@", b"From: boss@example.org <us@") , "550 5.1.7 from: "),
        (b"no field\r\n" + MAIL, "550 5.6.0 source: line 1 of the header"),
        (b"X-SMTPAPI: {}\r\n" + MAIL, "550 5.6.0 source: x-smtpapi"),
        (b"X-Notifier-Tags: a\r\n" + MAIL, "550 5.6.0 X-Notifier-Tags: there is no such field"),
        (b"X-Notifier-Priority: high\r\n" + MAIL, "550 5.6.0 X-Notifier-Priority: "),
        (b"X-Notifier-Send-At: soon\r\n" + MAIL, "550 5.6.0 X-Notifier-Send-At: "),
        (b"X-Notifier-Send-At: 2999-01-01T00:00:00Z\r\n" + MAIL, "550 5.6.0 send_at: "),
        (MAIL + b"x" * 999 + b"\r\n", "550 5.6.11 source: a line has more than 998"),
        (MAIL + b"\0\r\n", "550 5.6.11 source: it contains NUL"),
        (MAIL + b"x" * 100_000, "552 5.3.4 "),
    ],
)  # fmt: skip
async def test_a_wrong_mail_is_refused_with_its_field(tmp_path, source, reply):
    """The reply is one line with the words of the 422."""
    async with submitting(tmp_path, max_body=90_000) as submission:
        code, said = await submission.send(source)
        assert f"{code} {said}".startswith(reply), said
        assert "\n" not in said


async def test_a_wrong_address_is_refused_by_its_command(submission):
    """553 for what is no address, and for one that needs SMTPUTF8; 452 for one too many."""

    def talk(client):
        client.ehlo("me")
        replies = [
            client.docmd("MAIL", "FROM:<no address>"),
            client.docmd("MAIL", "FROM:<nobody>"),
            client.docmd("MAIL", "FROM:<us@example.org> SIZE=99999999"),
            client.docmd("MAIL", "FROM:<us@example.org> FOO=1"),
            client.docmd("MAIL", "FROM:<us@example.org> RET=HDRS ENVID=1 AUTH=<>"),
            client.docmd("RCPT", "TO:<nobody>"),
            client.docmd("RCPT", "TO:<ann@example.org> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;ann"),
            client.docmd("DATA", "now"),
        ]
        replies += [client.rcpt(f"n{number}@example.org") for number in range(100)][-2:]
        return [f"{code} {said.decode()}"[:9] for code, said in replies]

    assert await submission.call(talk) == [
        "553 5.1.3",
        "553 5.1.7",
        "552 5.3.4",
        "555 5.5.4",
        "250 2.1.0",
        "553 5.1.3",
        "250 2.1.5",
        "501 5.5.4",
        "250 2.1.5",
        "452 4.5.3",
    ]


async def test_the_notify_of_the_recipients_is_kept(submission):
    """NOTIFY of the recipients becomes the message's `notify`."""

    def talk(client):
        client.ehlo("me")
        client.mail("us@example.org")
        client.docmd("RCPT", "TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE")
        return client.data(MAIL)

    _, said = await submission.call(talk)
    delivery = await submission.service.message(said.decode().split()[-1])
    assert delivery.notify == ("failure", "success")


async def test_while_it_stops_it_says_so(tmp_path):
    """421, and the connection is closed; a client tries again later."""
    async with submitting(tmp_path) as submission:
        loop = asyncio.get_running_loop()

        def talk(client):
            client.ehlo("me")
            client.mail("us@example.org")
            client.rcpt("ann@example.org")
            loop.call_soon_threadsafe(submission.service.drain)
            return client.data(MAIL)

        code, said = await submission.call(talk)
        assert (code, said[:5]) == (421, b"4.3.2")
        submission.agent.stop()
        with pytest.raises(OSError, match=r"."):
            await submission.send(MAIL)


async def test_a_browser_is_turned_away(submission):
    """A web page can make one speak to any port of this machine."""
    reader, writer = await asyncio.open_connection(HOST, submission.port)
    writer.write(b"POST / HTTP/1.1\r\n\r\nEHLO me\r\nMAIL FROM:<us@example.org>\r\n")
    async with asyncio.timeout(LIMIT):
        said = await reader.read()
    writer.close()
    assert said.split(b"\r\n")[1] == b"554 5.5.0 this port speaks SMTP only"
    assert said.count(b"\r\n") == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, and a context that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        folder / "server.pem"
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return folder / "server.pem", context


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_tls_from_the_start_or_later(tmp_path, certificate, tls):
    """A login and a mail under TLS; from other machines a login needs it."""
    file, context = certificate
    key, secret = made_key()
    address = ListenAddress(host=HOST, port=0, tls=tls, certificate=str(file))

    def talk(port):
        if tls is Tls.IMPLICIT:
            client = smtplib.SMTP_SSL("localhost", port, context=context, timeout=LIMIT)
        else:
            client = smtplib.SMTP("localhost", port, timeout=LIMIT)
            client.starttls(context=context)
        with client:
            return sending(secret)(client)

    async with submitting(tmp_path, keys=[key], addresses=(address,)) as submission:
        code, _ = await asyncio.to_thread(talk, submission.port)
        assert code == 250


async def test_a_login_from_elsewhere_needs_tls(tmp_path, monkeypatch):
    """It is not offered, and refused."""
    monkeypatch.setattr("notifier.submission_agent.connection.is_loopback", lambda _: False)
    key, secret = made_key()

    def talk(client):
        offered = client.ehlo("me")[1]
        blob = base64.b64encode(f"\0shop\0{secret}".encode()).decode()
        return b"AUTH" in offered, client.docmd("AUTH", f"PLAIN {blob}"), client.mail("a@x.org")

    async with submitting(tmp_path, keys=[key]) as submission:
        offered, (auth, said), (mail, why) = await submission.call(talk)
    assert (offered, auth, said[:6], mail, why[:5]) == (False, 538, b"5.7.11", 530, b"5.7.0")


async def test_strangers_send_nothing_while_there_is_no_key(tmp_path, monkeypatch):
    """Only clients of this machine do."""
    monkeypatch.setattr(agents, "is_loopback", lambda _: False)
    async with submitting(tmp_path) as submission:
        code, said = await submission.send(MAIL)
    assert (code, said[:5]) == (550, "5.7.1")


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_swaks_sends(tmp_path):
    """With a login, an attachment and pipelining."""
    key, secret = made_key()
    (tmp_path / "file.txt").write_text("attached")
    async with submitting(tmp_path, keys=[key]) as submission:
        process = await asyncio.create_subprocess_exec(
            "swaks", "--server", f"{HOST}:{submission.port}", "--pipeline",
            "--auth", "PLAIN", "--auth-user", "shop", "--auth-password", secret,
            "--from", "us@example.org", "--to", "ann@example.org",
            "--attach", f"@{tmp_path / 'file.txt'}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert b"250 2.0.0 queued as " in said
        (content,) = await submission.delivered()
    assert b"\r\nFrom: us@example.org\r\n" in b"\r\n" + content


async def test_addresses_beyond_ascii_need_smtputf8(submission):
    """Without the parameter they are refused; with it they go on to the relay."""
    mail = MAIL.replace(b"us@", "jörg@".encode())

    def talk(client):
        client.ehlo("me")
        refused = [
            client.docmd("MAIL", "FROM:<us@example.org>"),
            client.docmd("RCPT", "TO:<a b@example.org>"),
        ]
        client.rset()
        client.command_encoding = "utf-8"
        refused += [
            client.docmd("MAIL", "FROM:<jörg@example.org>"),
            client.docmd("MAIL", "FROM:<jörg@example.org> SMTPUTF8"),
            client.docmd("RCPT", "TO:<änn@example.org>"),
        ]
        return [code for code, _ in (*refused, client.data(mail))]

    assert await submission.call(talk) == [250, 553, 553, 250, 250, 250]
    await submission.delivered()
    assert submission.relay.received[0][:2] == ("jörg@example.org", ("änn@example.org",))
