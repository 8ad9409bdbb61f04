"""The company's login: people whom a trusted proxy names, and strangers who pretend to be them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.auth import LOGIN_STREAM, Authentication
from notifier.web.forwarded import TrustedProxies
from notifier.web.hosts import Hosts
from notifier.web.logins import Login, Logins
from tests.api_keys import OURS, look, made, signed_in
from tests.clocks import WallClock
from tests.web_client import LETTER, client_of, problem_of, serving

USER, GROUPS = "X-Forwarded-User", "X-Forwarded-Groups"
PROXY = "10.0.0.2"
ANN = {USER: "ann@example.org"}
OPS = ANN | {GROUPS: "staff,ops"}
SIGN_IN = {
    "NOTIFIER_TRUSTED_PROXIES": f"{PROXY},192.0.2.0/24",
    "NOTIFIER_SIGN_IN_HEADER": USER,
    "NOTIFIER_SIGN_IN_GROUPS_HEADER": GROUPS,
    "NOTIFIER_SIGN_IN_GROUPS": "ops:manage,mail team:send",
    "NOTIFIER_SIGN_OUT_URL": "/oauth2/sign_out",
}


def chosen(**further):
    read = Settings.read(SIGN_IN)
    names = [name.removeprefix("NOTIFIER_").lower() for name in SIGN_IN]
    return {name: getattr(read, name) for name in names} | further


def serving_people(folder, **further):
    return serving(folder, **chosen(**further))


def calling(service, peer=PROXY, host="localhost"):
    return client_of(service, client=(peer, 123), base_url=f"http://{host}")


async def status(client, headers, path="/v1/messages"):
    return (await client.get(path, headers=headers)).status_code


async def test_user_named_by_a_trusted_proxy_may_read(tmp_path):
    """Without a group no more than that; a group that the settings know allows what they say."""
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        assert await status(client, ANN) == 200
        refused = await client.post("/v1/queue/pause", headers=ANN | OURS)
        detail = problem_of(refused, 403, "forbidden")["detail"]
        assert "'ann@example.org' lacks the scope 'manage'; it has read" in detail
        assert (
            await client.post("/v1/messages", json=LETTER, headers=OPS | OURS)
        ).status_code == 403
        assert (await client.post("/v1/queue/pause", headers=OPS | OURS)).status_code == 200
        both = ANN | OURS | {GROUPS: " mail team , ops "}
        assert (await client.post("/v1/queue/resume", headers=both)).status_code == 200
        assert (await client.post("/v1/messages", json=LETTER, headers=both)).status_code == 202


async def test_from_any_other_address_it_is_a_strangers(tmp_path):
    """
    The connection's address decides, not the one that a header tells. The log says why; the answer
    is that of a request without the header.
    """
    async with serving_people(tmp_path) as (service, _):
        forged = OPS | {"X-Forwarded-For": PROXY, "Forwarded": f"for={PROXY}", "X-Real-IP": PROXY}
        for peer in ("10.0.0.3", "127.0.0.1", "::1", "2001:db8::1", ""):
            async with calling(service, peer) as client:
                with capture_logs() as logs:
                    answer = await client.get("/v1/messages", headers=forged)
                assert answer.status_code == 401
                assert answer.text == (await client.get("/v1/messages")).text
                (told,) = (each for each in logs if each["event"] == "refused")
                assert "not among NOTIFIER_TRUSTED_PROXIES" in told["reason"]
                assert await status(client, forged, "/monitor") == 303
        async with client_of(service, client=None) as client:  # a connection without an address
            assert await status(client, forged) == 401


@pytest.mark.parametrize("peer", ["192.0.2.77", "::ffff:10.0.0.2", "::ffff:192.0.2.1"])
async def test_a_proxy_is_known_by_its_network_and_by_both_families(tmp_path, peer):
    """A socket for IPv6 and IPv4 tells an IPv4 address as part of an IPv6 one."""
    async with serving_people(tmp_path) as (service, _), calling(service, peer) as client:
        assert await status(client, ANN) == 200


@pytest.mark.parametrize(
    ("fields", "person"),
    [
        ([(USER, "  ann  ")], "ann"),
        ([(USER.lower(), "ann")], "ann"),
        ([(USER, "Ann Lee")], "Ann Lee"),
        ([(USER, "CN=Ann,OU=x")], "CN=Ann,OU=x"),
        ([(USER, "J\u00f6rg".encode())], "J\u00f6rg"),
        ([(USER, "J\u00f6rg".encode("latin-1"))], "J\u00f6rg"),
        ([(USER, "ann%0Aroot%40x")], "ann%0Aroot%40x"),
        ([(USER, "a" * 255)], "a" * 255),
        ([(USER, "a" * 256)], None),
        ([(USER, "")], None),
        ([(USER, "   ")], None),
        ([(USER, "ann"), (USER, "ann")], None),
        ([(USER, "ann"), (USER, "")], None),
        ([(USER, "ann"), (GROUPS, "staff"), (GROUPS, "ops")], None),
        ([(USER, "ann\tlee")], None),
        ([(USER, "ann\x01")], None),
        ([(USER, b"ann\x85")], None),
        ([(USER, "ann\u202enna".encode())], None),
        ([("X-Auth-Request-User", "ann")], None),
        ([("X_Forwarded_User", "ann")], None),
        ([(GROUPS, "ops")], None),
    ],
)
async def test_the_header_names_one_person_or_none(tmp_path, fields, person):
    """
    UTF-8, or else Latin-1; percent signs stand for themselves. What is there twice, empty, too long
    or not printable is as good as not there.
    """
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        headers = [(name, value) for name, value in fields]
        answer = await client.get("/v1/messages", headers=headers)
        assert answer.status_code == (401 if person is None else 200)
        page = await client.get("/sign-in", headers=headers)
        if person is not None:
            assert f"<b>{person}</b>" in page.text
        else:
            assert "API key</label>" in page.text


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_octets_of_a_header_are_a_fault(user, groups):
    """A named user has a printable name that no key can have, and may read."""
    terms = Settings(**chosen())
    headers = [(USER.lower().encode(), user), (GROUPS.lower().encode(), groups)]
    scope = {"headers": headers, "client": (PROXY, 1)}
    logins = Logins(terms, TrustedProxies(terms))
    found = logins.of(scope)
    if found is None:
        assert not user.strip() or logins.objection(scope)
    else:
        assert isinstance(found, Login)
        assert found.name == f"login:{found.person}"
        assert found.person.isprintable()
        assert "read" in found.scopes


async def test_a_key_goes_before_the_login_and_the_login_before_a_session(tmp_path):
    """
    A wrong key of ours is refused, whoever is named. Another bearer is the proxy's own. The audit
    shows the person also where an old session is in the browser.
    """
    manager = made(tmp_path, "boss", "manage")
    wrong = {"Authorization": manager["Authorization"][:-1] + "!"}
    async with serving_people(tmp_path) as (service, client):
        await signed_in(client, manager["Authorization"].removeprefix("Bearer "))
        async with calling(service) as proxied:
            paused = "/v1/queue/pause"
            answer = await proxied.post(paused, headers=ANN | OURS | manager)
            assert answer.status_code == 200
            assert await status(proxied, ANN | wrong) == 401
            assert await status(proxied, ANN | {"Authorization": "Bearer eyJhbGciOi.x.y"}) == 200
            proxied.cookies = client.cookies
            assert (await proxied.post(paused, headers=ANN | OURS)).status_code == 403
            assert (await proxied.post(paused, headers=OPS | OURS)).status_code == 200
            assert (await proxied.post(paused, headers=OURS)).status_code == 200
            told = (await proxied.get("/v1/audit?what=pause-queue", headers=OPS)).json()["items"]
        assert [each["by"] for each in told] == [
            "monitor:boss",
            "login:ann@example.org",
            "key:boss",
        ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
async def test_a_page_of_another_site_cannot_use_the_login(tmp_path, fields, code):
    """The proxy signs every request of the browser, whichever page has made it."""
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        answer = await client.post("/v1/queue/pause", headers=OPS | fields)
        assert answer.status_code == code
        assert service.dispatcher.paused == (code == 200)


@pytest.mark.parametrize(
    ("host", "code"),
    [("evil.example", 421), ("mail.example.org:8443", 200), ("10.0.0.9:8014", 200), ("[::1]", 200)],
)
async def test_the_login_is_for_names_of_the_service(tmp_path, host, code):
    """A page that has its name resolved to our address could write any header (DNS rebinding)."""
    terms = {"allowed_hosts": ("mail.example.org",)}
    key = made(tmp_path, "reader", "read")
    async with serving_people(tmp_path, **terms) as (service, _), calling(service) as client:
        named = {"Host": host}
        for path in ("/v1/messages", "/monitor", "/"):
            answer = await client.get(path, headers=ANN | named)
            assert answer.status_code == code
            if code == 421:
                assert (
                    "NOTIFIER_ALLOWED_HOSTS" in problem_of(answer, 421, "host-not-served")["detail"]
                )
        assert await status(client, named | key) == 200
        assert await status(client, named | ANN | key) == 200
        assert await status(client, named) == 401


async def test_without_a_key_only_people_may_call(tmp_path):
    """Also on loopback: what comes through a proxy on this machine comes from there."""
    async with serving_people(tmp_path) as (service, client), calling(service) as proxied:
        assert await status(client, {}) == 401
        assert await status(proxied, {}) == 401
        assert await status(proxied, ANN) == 200
        made(tmp_path)
        look(service)
        assert await status(proxied, ANN) == 200


async def test_people_are_no_keys_that_a_later_start_would_miss(tmp_path):
    """Once the setting is gone, a service that never had a key starts without one."""
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        assert await status(client, ANN) == 200
        assert not service.keys_remembered
    async with serving(tmp_path) as (_, client):
        assert await status(client, {}) == 200


async def test_without_the_setting_no_header_names_anybody(tmp_path):
    """Not from loopback, and not from proxies that are trusted for addresses."""
    made(tmp_path)
    async with serving(tmp_path) as (service, client):
        assert await status(client, OPS) == 401
    terms = {"trusted_proxies": chosen()["trusted_proxies"]}
    async with serving(tmp_path, **terms) as (service, _), calling(service) as client:
        assert await status(client, OPS) == 401


async def test_timeline_audit_and_log_show_the_person(tmp_path):
    """Of what is sent, of acts on a message, of bulk acts, and of what the audit tells besides."""
    both = ANN | OURS | {GROUPS: "ops,mail team"}
    person = "login:ann@example.org"
    later = LETTER | {"send_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        ids = []
        for _ in range(3):
            answer = await client.post("/v1/messages", json=later, headers=both)
            ids.append(answer.json()["id"])
        assert answer.json()["key"] == person
        await client.post(f"/v1/messages/{ids[0]}/cancel", headers=both)
        await client.post("/v1/messages/cancel?status=scheduled", headers=both)
        await client.post("/v1/suppressions", json={"address": "a@example.org"}, headers=both)
        for id in ids[:2]:
            message = (await client.get(f"/v1/messages/{id}", headers=ANN)).json()
            by = {each["what"]: each.get("by") for each in message["timeline"]}
            assert message["status"] == "cancelled"
            assert by["accepted"] == by["cancelled"] == person
        listed = await client.get("/v1/messages", params={"key": person}, headers=ANN)
        assert len(listed.json()["items"]) == 3
        audit = (await client.get("/v1/audit", params={"by": person}, headers=both)).json()["items"]
        assert len(audit) >= 6
        assert {each["by"] for each in audit} == {person}


async def test_a_person_is_no_key_of_that_name(tmp_path):
    """Messages of the key `ann` are not those of the person ann, neither are their rates."""
    key = made(tmp_path, "ann", "send", rate=1)
    both = {USER: "ann", GROUPS: "mail team"} | OURS
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        assert (await client.post("/v1/messages", json=LETTER, headers=key)).status_code == 202
        for _ in range(2):
            answer = await client.post("/v1/messages", json=LETTER, headers=both)
            assert answer.status_code == 202
            assert "ratelimit" not in str(answer.headers).lower()
        assert (await client.post("/v1/messages", json=LETTER, headers=key)).status_code == 429


async def test_pages_show_who_is_signed_in_and_where_to_sign_out(tmp_path):
    """At the proxy: a session of ours there is none. A key is not asked for."""
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        page = (await client.get("/monitor", headers={USER: "<i>ann</i>"})).text
        assert "&lt;i&gt;ann&lt;/i&gt;" in page
        assert "read only" in page
        assert '<a href="/oauth2/sign_out">Sign out</a>' in page
        assert 'id="sign-out"' not in page
        assert "read only" not in (await client.get("/monitor", headers=OPS)).text
        answer = await client.post("/sign-in", json={"key": "ntf_x"}, headers=ANN | OURS)
        assert answer.status_code == 409
        assert "company's login" in answer.json()["detail"]
        assert (await client.get("/sign-in", headers=ANN)).text.count("Go on") == 1
    async with (
        serving_people(tmp_path, sign_out_url="") as (service, _),
        calling(service) as client,
    ):
        assert "Sign out" not in (await client.get("/monitor", headers=ANN)).text


async def test_each_request_is_judged_by_itself(tmp_path):
    """Whom the proxy no longer names is a stranger; a group that is gone allows nothing."""
    async with serving_people(tmp_path) as (service, _), calling(service) as client:
        pause = "/v1/queue/pause"
        assert (await client.post(pause, headers=OPS | OURS)).status_code == 200
        assert (await client.post(pause, headers=ANN | OURS)).status_code == 403
        assert (await client.post(pause, headers=OURS)).status_code == 401
        assert not client.cookies


async def test_the_address_of_a_caller_is_the_one_that_the_last_stranger_had(tmp_path):
    """What stands before it in X-Forwarded-For may be invented; a second line counts as well."""
    key = made(tmp_path)["Authorization"]
    async with serving_people(tmp_path) as (service, _):
        for told, address in (
            ([], PROXY),
            (["198.51.100.7"], "198.51.100.7"),
            (["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
            (["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
            (["198.51.100.7, 192.0.2.9"], "198.51.100.7"),
            (["192.0.2.9"], "192.0.2.9"),
        ):
            async with calling(service) as client:
                headers = [("X-Forwarded-For", each) for each in told]
                with capture_logs() as logs:
                    await client.get(
                        "/v1/messages", headers=[*headers, ("Authorization", key + "!")]
                    )
                assert [each["client"] for each in logs if each["event"] == "refused"] == [address]


async def test_a_stream_ends_so_that_the_proxy_is_asked_again(tmp_path):
    """After a few minutes: the browser opens it anew, and the proxy says who that is."""
    clock = WallClock()
    terms = Settings(data_dir=str(tmp_path), **chosen())
    proxies, hosts = TrustedProxies(terms), Hosts(terms)
    async with Notifier(terms) as service:
        bounded = Authentication(service, hosts, Logins(terms, proxies), clock=clock)
        person = Logins(terms, proxies).of(
            {"headers": [(USER.lower().encode(), b"ann")], "client": (PROXY, 1)}
        )
        _, goes_on = bounded._bounds(person, "")
        assert goes_on()
        clock.shift = LOGIN_STREAM
        assert not goes_on()
