"""A server that takes mail by SMTP, from its start to its end."""

import asyncio
import smtplib
import socket

import httpx2
import pytest

from notifier.errors import ConfigurationError
from notifier.server.process import prepared
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.submission_agent import Agent
from tests.process import Server, free_port
from tests.relay import ScriptedRelay
from tests.submission_agent.conftest import HOST, Submission, made_key, submitting
from tests.waiting import LIMIT

MAIL = b"From: us@example.org\r\nTo: ann@example.org\r\nSubject: Hi\r\n\r\nHello.\r\n"


def faults_of(folder, **variables):
    environ = {f"NOTIFIER_{name.upper()}": value for name, value in variables.items()}
    with pytest.raises(ConfigurationError) as raised:
        prepared(Settings.read({"NOTIFIER_DATA_DIR": str(folder), **environ}))
    return raised.value.faults


def test_a_process_accepts_mail_until_sigterm(tmp_path):
    """`/metrics` counts the replies; after SIGTERM an open connection hears 421 and is closed."""

    def submitted(client):
        client.ehlo("me")
        client.mail("us@example.org")
        client.rcpt("ann@example.org")
        return client.data(MAIL)[0]

    async def live():
        port = free_port()
        async with Server(tmp_path, smtp_listen=f"{HOST}:{port}", grace="2s") as server:
            client = await asyncio.to_thread(smtplib.SMTP, HOST, port, timeout=LIMIT)
            assert await asyncio.to_thread(submitted, client) == 250
            async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
                told = (await http.get(f"{server.url}/metrics")).text
            assert 'notifier_smtp_submissions_total{reply="250"} 1.0' in told
            server.terminate()
            code, _ = await asyncio.to_thread(client.getreply)
            client.close()
            assert code == 421
            assert await server.stop() == 0
            assert any(each["event"] == "smtp_listening" for each in server.log)

    asyncio.run(live())


def test_faults_of_the_setting_are_reported_before_anything_listens(tmp_path):
    """Addresses, certificates, and listening where nobody could log in."""
    assert faults_of(tmp_path, smtp_listen="2525")[0].startswith("NOTIFIER_SMTP_LISTEN: ")
    open_to_all = faults_of(tmp_path, smtp_listen="0.0.0.0:2525")
    assert len(open_to_all) == 2
    assert "so it needs TLS: add ?tls=starttls" in open_to_all[0]
    assert "there is no key" in open_to_all[1]
    (missing,) = faults_of(
        tmp_path, smtp_listen=f"127.0.0.1:2525?tls=starttls&certificate={tmp_path}/none.pem"
    )
    assert missing.startswith("NOTIFIER_SMTP_LISTEN: 127.0.0.1:2525: ")
    assert "No such file" in missing


async def test_a_port_in_use_stops_the_start(tmp_path):
    """The error names the setting and the address."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.read(
            {"NOTIFIER_DATA_DIR": str(tmp_path), "NOTIFIER_SMTP_LISTEN": f"{HOST}:{port}"}
        )
        async with Notifier(settings) as service:
            with pytest.raises(ConfigurationError, match=rf"NOTIFIER_SMTP_LISTEN: .*:{port}"):
                await Agent(service).__aenter__()


async def test_a_key_that_is_made_meanwhile_closes_the_door(tmp_path):
    """From the first key on, clients of this machine log in, too."""
    async with submitting(tmp_path) as submission:
        assert (await submission.send(MAIL))[0] == 250
        key, _ = made_key()
        submission.service.keys.add(key)
        assert (await submission.send(MAIL))[0] == 530


async def test_a_mail_for_which_there_is_no_relay_is_refused(tmp_path):
    """As over HTTP: the reply names the recipient's fault."""
    async with ScriptedRelay() as relay:
        settings = Settings.read(
            {
                "NOTIFIER_DATA_DIR": str(tmp_path),
                "NOTIFIER_RELAYS": f"smtp://{relay.host}:{relay.port}?recipients=@example.org",
                "NOTIFIER_SMTP_LISTEN": f"{HOST}:0",
            }
        )
        async with Notifier(settings) as service, Agent(service) as agent:
            submission = Submission(service, agent, relay)
            code, said = await submission.send(MAIL, to=("ann@example.net",))
            assert (code, said[:5]) == (550, "5.1.3"), said
            assert (await submission.send(MAIL))[0] == 250
