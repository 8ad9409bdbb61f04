"""By which names the service is called, from which pages, and what strangers are told."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.web.app import create_app
from tests.api_keys import look, made
from tests.relay import ScriptedRelay
from tests.routes import NOWHERE, concrete, routes_of
from tests.service import specs_of
from tests.waiting import until
from tests.web_client import LETTER, serving

REBOUND = {"Host": "evil.example:8014", "Origin": "http://evil.example:8014"}
FOREIGN_ORIGINS = [
    *("http://evil.example", "null", "", "http://localhost.evil.example", "localhost"),
    *("http://[", "http://[::1", "http://localhost:99999x", "http://a:b:c", "\xff\xfe", "file://"),
    *(
        "http://localhost:8015",
        "https://localhost:80",
        "http://localhost@evil.example",
        "//localhost",
    ),
]


@pytest.mark.parametrize("anonymous", ["loopback", "anywhere"])
async def test_no_route_is_served_by_a_rebound_name_without_a_key(tmp_path, anonymous):
    """Whatever route, also one that does not exist; the answer names the setting."""
    async with serving(tmp_path, anonymous=anonymous) as (service, client):
        tried = 0
        for path, handler in routes_of(create_app(service)):
            for method in map(str, handler.http_methods):
                answer = await client.request(method, concrete(path), headers=REBOUND)
                if path in ("/livez", "/readyz"):
                    assert answer.status_code == 200
                    continue
                tried += 1
                assert answer.status_code == 421, (method, path)
                assert method == "HEAD" or "NOTIFIER_ALLOWED_HOSTS" in answer.json()["detail"]
        assert tried > 40
        assert (await client.get(f"/{NOWHERE}", headers=REBOUND)).status_code == 421
        assert not service.dispatcher.paused


@pytest.mark.parametrize(
    ("host", "terms", "status"),
    [
        ("localhost", {}, 200),
        ("LOCALHOST.:8014", {}, 200),
        ("127.0.0.1:9", {}, 200),
        ("127.9.9.9", {}, 200),
        ("[::1]:8014", {}, 200),
        ("::1", {}, 421),
        ("localhost.evil.example", {}, 421),
        ("evil.example#localhost", {}, 421),
        ("localhost@evil.example", {}, 421),
        ("", {}, 421),
        ("192.0.2.7", {}, 421),
        ("192.0.2.7", {"anonymous": "anywhere", "host": "0.0.0.0"}, 200),
        ("[2001:db8::1]:80", {"anonymous": "anywhere", "host": "0.0.0.0"}, 200),
        ("evil.example", {"anonymous": "anywhere", "host": "0.0.0.0"}, 421),
        ("notifier:8014", {"allowed_hosts": ("notifier", "mail.example.org")}, 200),
        ("Mail.Example.ORG", {"allowed_hosts": ("notifier", "mail.example.org")}, 200),
        ("sub.mail.example.org", {"allowed_hosts": ("mail.example.org",)}, 421),
    ],
)
async def test_without_a_key_the_host_has_to_be_ours(tmp_path, host, terms, status):
    """Loopback names, NOTIFIER_HOST and NOTIFIER_ALLOWED_HOSTS; by `anywhere` addresses, too."""
    async with serving(tmp_path, **terms) as (_, client):
        assert (await client.get("/v1/messages", headers={"Host": host})).status_code == status


async def test_two_hosts_are_none(tmp_path):
    """What a proxy and we could read differently is refused. RFC 9112, section 3.2."""
    async with serving(tmp_path) as (_, client):
        headers = [("Host", "localhost"), ("Host", "localhost")]
        request = client.build_request("GET", "/v1/messages")
        request.headers = type(request.headers)(headers)
        assert (await client.send(request)).status_code == 421


async def test_with_a_key_any_host_is_served(tmp_path):
    """The key protects; from the moment that it is in the file on."""
    async with serving(tmp_path) as (service, client):
        headers = {"Host": "notifier.example.org"}
        assert (await client.get("/v1/messages", headers=headers)).status_code == 421
        key = made(tmp_path, "reader", "read")
        look(service)
        assert (await client.get("/v1/messages", headers=headers)).status_code == 401
        assert (await client.get("/v1/messages", headers=headers | key)).status_code == 200


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_the_origin_decides_without_sec_fetch_site(tmp_path, origin):
    """Without a key as with a cookie; one that cannot be read is foreign, and no fault of ours."""
    async with serving(tmp_path) as (service, client):
        headers = {"Origin": origin.encode("latin-1")}
        assert (await client.post("/v1/queue/pause", headers=headers)).status_code == 403
        assert (await client.post("/v1/messages", json=LETTER, headers=headers)).status_code == 403
        assert (
            await client.post("/sign-in", json={"key": "x"}, headers=headers)
        ).status_code == 403
        assert not service.dispatcher.paused


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "", "same-origin, x"])
async def test_only_a_page_of_the_same_origin_acts(tmp_path, site):
    """`same-site` is another host of the same domain, and as foreign as any."""
    async with serving(tmp_path) as (service, client):
        headers = {"Sec-Fetch-Site": site, "Origin": "http://localhost"}
        for path in ("/v1/queue/pause", "/v1/messages/cancel?status=queued", "/sign-out"):
            assert (await client.post(path, headers=headers)).status_code == 403
        assert (await client.delete("/inbox/messages", headers=headers)).status_code == 403
        assert not service.dispatcher.paused


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost", "Host": "localhost:443"},
        {"Origin": "http://LOCALHOST:8014", "Host": "localhost:8014"},
    ],
)
async def test_our_pages_and_programs_act(tmp_path, headers):
    """A program says nothing of where it comes from."""
    async with serving(tmp_path) as (service, client):
        assert (await client.post("/v1/queue/pause", headers=headers)).status_code == 200
        assert service.dispatcher.paused


@pytest.fixture
async def app(tmp_path):
    """One for all that is made up."""
    async with serving(tmp_path) as (service, _):
        yield create_app(service)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(origin=st.binary(max_size=60), host=st.binary(max_size=60))
async def test_any_origin_and_host_are_answered(app, origin, host):
    """Any octets are an answer of ours, never a fault."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/queue/pause",
        "raw_path": b"/v1/queue/pause",
        "query_string": b"",
        "headers": [(b"origin", origin), (b"host", host)],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    told = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event):
        told.append(event)

    await app(scope, receive, send)
    assert told[0]["status"] in (403, 421)


async def test_strangers_learn_nothing_of_relays(tmp_path, monkeypatch):
    """Neither its host nor its last words, once there are keys: status and reasons alone."""
    words = "550 mail.internal.example says that you are blocked"
    # A refresh would find that nothing is wrong with the database.
    monkeypatch.setattr("notifier.housekeeping.figures.REFRESH_SECONDS", 3600.0)
    async with ScriptedRelay() as relay:
        relay.answer("GREETING", words)
        key = made(tmp_path, "reader", "read")
        sender = made(tmp_path, "sender")
        async with serving(tmp_path, relays=specs_of(relay)) as (service, client):
            await client.post("/v1/messages", json=LETTER, headers=sender)
            await until(lambda: service.transports.relays.states()[0].trouble)
            service.figures.trouble = "the database cannot be reached: db.internal.example, 5432"
            for path in ("/readyz", "/health", "/livez"):
                for headers in ({}, sender, {"Authorization": "Bearer ntf_x"}):
                    answer = await client.get(path, headers=headers)
                    assert "internal" not in answer.text
                    assert relay.host not in answer.text
                    if path != "/livez":
                        assert answer.status_code == 503
                        assert answer.json()["reasons"] == ["the database cannot be reached"]
            for path in ("/readyz", "/health"):
                told = (await client.get(path, headers=key)).json()
                assert told["relays"][0]["host"] == relay.host
                assert told["reasons"] == [service.figures.trouble]
            service.figures.trouble = ""
