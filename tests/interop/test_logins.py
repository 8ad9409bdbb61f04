"""Logins and TLS at real mail servers."""

import pytest

from tests.interop.calls import arrived, relaying, sent_as
from tests.interop.server import PASSWORD, USER
from tests.process import run_async
from tests.service import email, submit_one
from tests.waiting import until

TLS = ("smtp+starttls", "smtps")


def said(delivery):
    """All that was said in its attempts."""
    return [line for attempt in delivery.attempts for line in attempt.conversation]


@pytest.mark.parametrize("scheme", TLS)
async def test_mail_leaves_under_tls_with_a_login(server, tmp_path, scheme):
    """By STARTTLS as by implicit TLS, and no word of the password is kept."""
    async with relaying(tmp_path, server.url(scheme)) as service:
        sent = await sent_as(service)
    assert sent.status == "sent"
    (mail,) = await arrived(server, sent.subject)
    assert mail.recipients == ("ann@example.org",)
    assert "C: AUTH PLAIN ********" in said(sent)


@pytest.mark.parametrize("mechanism", ["LOGIN", "CRAM-MD5"])
async def test_each_mechanism_logs_in(made, kind, tmp_path, mechanism):
    """Where it is the only one that the server offers."""
    if mechanism not in kind.mechanisms or not hasattr(kind, "offer"):
        pytest.skip(f"{kind.name} cannot be made to offer {mechanism} alone")
    server = made(kind)
    server.offer(mechanism)
    server.start()
    async with relaying(tmp_path, server.url("smtp+starttls")) as service:
        sent = await sent_as(service)
    server.kill()
    assert sent.status == "sent"
    assert any(line.startswith(f"C: AUTH {mechanism}") for line in said(sent))


@pytest.mark.parametrize("scheme", TLS)
async def test_a_wrong_password_is_no_fault_of_the_message(server, tmp_path, scheme):
    """It waits, uncharged, and the relay rests; the password is in no word of it."""
    url = server.url(scheme).replace(f"{USER}:", f"{USER}:not-")
    async with relaying(tmp_path, url) as service:
        refused = await deferred(service)
        (state,) = service.transports.relays.states()
    assert state.state == "open"
    assert state.trouble.name == "auth_failed"
    assert refused.tries == 0
    assert not any(PASSWORD in line for line in said(refused))


async def test_a_certificate_that_is_not_trusted_ends_the_try(server, tmp_path):
    """Nothing is said under it, neither login nor mail."""
    url = server.url("smtps").partition("?")[0]
    async with relaying(tmp_path, url) as service:
        refused = await deferred(service)
    assert refused.tries == 0
    assert refused.attempts[0].failures["ann@example.org"].name == "tls_certificate_untrusted"


async def test_a_missing_login_is_no_fault_of_the_message(server, tmp_path):
    """A server refuses it at MAIL or at RCPT, by whatever words; nobody's mail is lost by it."""
    url = server.url("smtps").replace(f"{USER}:{PASSWORD.replace(' ', '%20')}@", "")
    async with relaying(tmp_path, url) as service:
        refused = await deferred(service)
        (state,) = service.transports.relays.states()
    assert refused.tries == 0
    assert state.trouble.name in ("auth_required", "relaying_denied")


@pytest.mark.parametrize("scheme", ["smtp", *TLS])
async def test_check_finds_nothing_wrong(server, tmp_path, scheme):
    """With the settings by which mail goes."""
    url, data = server.url(scheme), tmp_path / "data"
    done = await run_async("check", relays=url, data_dir=data, default_from="us@example.org")
    assert done.returncode == 0, done.stdout
    assert server.here.name not in done.stderr


async def test_check_reports_a_missing_login(server, tmp_path):
    """Its exit code is 1, and it says what is missing."""
    url = server.url("smtp+starttls").replace(f"{USER}:{PASSWORD.replace(' ', '%20')}@", "")
    data = tmp_path / "data"
    done = await run_async("check", relays=url, data_dir=data, default_from="us@example.org")
    assert done.returncode == 1, done.stdout
    assert "user" in done.stdout


async def deferred(service):
    """A message that has been tried once, and waits."""
    id = await submit_one(service, email())

    async def tried():
        return (await service.journal.get(id)).attempts

    await until(tried)
    return await service.journal.get(id, conversations=True)
