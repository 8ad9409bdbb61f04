"""Microsoft 365 as it is met: a token instead of a password, few connections, few messages."""

import json
import ssl

import pytest
import trustme

from notifier.relayspec import Tls
from tests.graph_api import GraphApi, error
from tests.microsoft import Microsoft365
from tests.process import Server, client_of, message, run_async, states, until_all
from tests.relay import CUT
from tests.relays import copies
from tests.token_endpoint import TokenEndpoint
from tests.waiting import until

COUNT = 30
UP = None  # the endpoint issues a token


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def relay_options(authority, tmp_path):
    """STARTTLS, as in the recipe; the service trusts the stub's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"tls": Tls.STARTTLS, "context": context}


def settings_of(folder, endpoint, relay, **parameters):
    (folder / "oauth.toml").write_text(endpoint.section(folder))
    given = {"ca": folder / "ca.pem", "oauth": "m365", "name": "m365"} | parameters
    query = "&".join(f"{name}={value}" for name, value in given.items())
    url = f"smtp+starttls://noreply%40corp.example@127.0.0.1:{relay.port}?{query}"
    return {"relays": url, "oauth": folder / "oauth.toml"}


async def posted(client, numbers):
    """The ids of some messages."""
    batch = [message(number) for number in numbers]
    answer = await client.post("/v1/messages/batch", json=batch)
    return [each["id"] for each in answer.json()["items"]]


async def tried_in_vain(server, ids, words):
    """Whether the relay has refused one of them, or was of no use, with these words."""
    found = await states(server, ids)
    return any(words in attempt["reply"] for each in found for attempt in each["attempts"])


async def test_thirty_messages_get_through_every_trouble(tmp_path, relay_options):
    """
    A mailbox that takes ten messages in a short minute and three connections. Its tokens come
    from an endpoint that is down at the start, and down again when the first one has ended; the
    second one is revoked. All are sent, once, and none is charged.
    """
    async with (
        TokenEndpoint(expires_in=4) as endpoint,
        Microsoft365(endpoint, messages=10, minute=1.0, **relay_options) as relay,
    ):
        endpoint.down = CUT
        given = settings_of(tmp_path, endpoint, relay, connections=5, messages_per_connection=3)
        async with (
            Server(tmp_path, retry_schedule="100ms", **given) as server,
            client_of(server) as client,
        ):
            ids = await posted(client, range(10))
            await until(lambda: tried_in_vain(server, ids, "was not reached"))
            endpoint.down = None
            await until(lambda: endpoint.issued)
            endpoint.expires_in, endpoint.down = 3600, (503, {})
            await until(lambda: not endpoint.good)  # the token has ended
            later = await posted(client, range(10, 15))
            await until(lambda: tried_in_vain(server, later, "answered 503"))
            endpoint.down = None
            await until_all(server, ids + later, "sent", limit=100)
            await until(lambda: endpoint.good)  # the next one is there
            endpoint.good.clear()
            last = await posted(client, range(15, COUNT))  # more than open connections may carry
            sent = await until_all(server, ids + later + last, "sent", limit=100)
            relays = (await client.get("/v1/relays")).json()["items"]
    tries = [attempt for each in sent for attempt in each["attempts"]]
    assert [attempt for attempt in tries if attempt["charged"] and attempt["code"] != 250] == []
    assert set(copies(relay).values()) == {1}
    assert len(relay.received) == COUNT
    assert relay.refused
    assert relay.users == {"noreply@corp.example"}
    assert relays[0]["token"]["source"] == endpoint.url
    log = (tmp_path / "log.jsonl").read_text()
    assert "hush-hush" not in log
    assert not any(token in log for token in endpoint.issued)


async def test_check_shows_the_token(tmp_path, relay_options):
    """Where it came from, until when it is good, and what the refusal of one usually means."""
    async with (
        TokenEndpoint() as endpoint,
        Microsoft365(endpoint, **relay_options) as relay,
    ):
        given = settings_of(tmp_path, endpoint, relay)
        done = await run_async("check", default_from="noreply@corp.example", **given)
        assert done.returncode == 0, done.stdout
        assert f"ok    token: from {endpoint.url}, good until " in done.stdout
        assert "ok    login: 235 2.7.0 Authentication successful" in done.stdout
        as_json = await run_async("check", "--json", **given)
        (checked,) = json.loads(as_json.stdout)
        assert checked["findings"][0]["step"] == "token"
        endpoint.answers = [(401, {"error": "invalid_client", "error_description": "AADSTS7"})]
        denied = await run_async("check", **given)
        assert denied.returncode == 1
        assert f"FAIL  token: {endpoint.url} answered 401 invalid_client: AADSTS7" in denied.stdout
        assert "Has the secret or the certificate expired" in denied.stdout
        relay.refusal = "535 5.7.139 SmtpClientAuthentication is disabled for the Tenant."
        endpoint.known = False
        refused = await run_async("check", **given)
        assert refused.returncode == 1
        assert "FAIL  login: 535 5.7.139" in refused.stdout
        assert "usually means that SMTP AUTH is off for the mailbox" in refused.stdout


async def test_graph_takes_what_smtp_may_not(tmp_path):
    """The service over Graph: throttled, with a token that ends, and once without an answer."""
    async with (
        TokenEndpoint(CUT, UP) as endpoint,
        GraphApi(endpoint, error(429, "TooManyRequests", Retry_After=1)) as api,
    ):
        (tmp_path / "oauth.toml").write_text(endpoint.section(tmp_path))
        query = f"mailbox=noreply@corp.example&oauth=m365&base={api.base}"
        given = {"relays": f"graph://corp.example/us?{query}", "oauth": tmp_path / "oauth.toml"}
        async with (
            Server(tmp_path, retry_schedule="100ms", **given) as server,
            client_of(server) as client,
        ):
            batch = [message(number, bcc=["eve@example.org"]) for number in range(COUNT)]
            answer = await client.post("/v1/messages/batch", json=batch)
            ids = [each["id"] for each in answer.json()["items"]]
            await until_all(server, ids[:5], "sent")
            endpoint.good.clear()
            sent = await until_all(server, ids, "sent", limit=100)
            relays = (await client.get("/v1/relays")).json()["items"]
            api.answers = [CUT]
            last = (await client.post("/v1/messages", json=message(99))).json()
            (doubtful,) = await until_all(server, [last["id"]], "sent")
        checked = await run_async("check", **given)
    assert len(api.received) == COUNT + 2
    assert all(recipients[0] == "eve@example.org" for recipients, _ in api.received[:COUNT])
    tries = [attempt for each in sent for attempt in each["attempts"]]
    assert [attempt for attempt in tries if attempt["charged"] and attempt["code"] != 202] == []
    assert doubtful["uncertain"] == 1
    assert (relays[0]["kind"], relays[0]["name"]) == ("graph", "graph.microsoft.com")
    assert checked.returncode == 0, checked.stdout
    assert "noreply@corp.example may send" in checked.stdout
