"""Real servers that take only so many messages in a time, and the guide's recipe for Postfix."""

import re
from pathlib import Path

import pytest

import notifier
from tests.interop.calls import arrived, arrived_at, relaying, sent_as, unique
from tests.interop.conftest import each_of
from tests.interop.exim import Exim
from tests.interop.postfix import Postfix
from tests.interop.server import PASSWORD, USER
from tests.service import email, submit

PAGE = Path(notifier.__file__).parent / "guide" / "providers.md"


@pytest.mark.parametrize("kind", each_of(Exim))
async def test_a_server_that_limits_the_rate_is_asked_more_slowly(made, kind, tmp_path):
    """30 messages at ten in ten seconds, strictly counted: few are refused, and none is charged."""
    server = made(kind, rate=10).start()
    async with relaying(tmp_path, server.url(connections=4)) as service:
        ids = await submit(service, *[email(subject=unique()) for _ in range(30)])
        sent = [await service.outcome(id, timeout=120) for id in ids]
        (state,) = service.transports.relays.states()
    assert {each.status for each in sent} == {"sent"}
    assert {each.tries for each in sent} == {1}
    for each in sent:
        await arrived_at(server, each.subject, "ann@example.org")
    server.kill()
    assert state.pace is not None
    assert 0 < state.throttled <= 15


@pytest.mark.parametrize("kind", each_of(Postfix))
async def test_the_guides_recipe_for_postfix_works_as_it_is_written(made, kind, tmp_path):
    """With a login and TLS, but for host, port, user, password and certificate of this one."""
    server = made(kind).start()
    (recipe,) = re.findall(r"NOTIFIER_RELAYS='(smtp.starttls://shop@mail[^']+)'", PAGE.read_text())
    password = PASSWORD.replace(" ", "%20")
    url = recipe.replace(
        "shop@mail.corp.example:587", f"{USER}:{password}@127.0.0.1:{server.submission}"
    )
    async with relaying(tmp_path, url.replace("/etc/ssl/corp.pem", str(server.ca))) as service:
        sent = await sent_as(service)
    assert sent.status == "sent"
    await arrived(server, sent.subject)
    server.kill()
