"""Text messages by the replaced service's address, and the list of carriers."""

import pytest

from notifier.deliveries import Route
from tests.web_client import serving

SIMPLE = {
    "phone_number": "(202) 555-0123",
    "provider": "us cellular",
    "message": "Hi.",
    "user_id": 7,
}


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, sms_from="shop@example.org", sms_region="US") as (service, client):
        yield service, client


async def test_the_body_of_the_replaced_service_works_unchanged(web):
    """`result` is a string, and the text goes to the carrier's gateway from our sender."""
    service, client = web
    for path in ("/send-sms/", "/send-sms"):
        answer = await client.post(path, json=SIMPLE)
        assert answer.status_code == 202, answer.text
        assert answer.json().keys() == {"result", "id"}
        assert answer.json()["result"] == "queued"
        delivery = await service.journal.get(answer.json()["id"])
        assert (delivery.channel, delivery.route) == ("sms", Route.GATEWAY)
        assert delivery.sender == "shop@example.org"
        assert delivery.recipients[0].address == "2025550123@email.uscc.net"
        assert delivery.user_id == "7"


@pytest.mark.parametrize("user_id", ["", None, "ann"])
async def test_a_user_may_be_left_blank(client, user_id):
    """As clients of the replaced service do."""
    assert (await client.post("/send-sms/", json=SIMPLE | {"user_id": user_id})).status_code == 202


async def test_a_dead_gateway_is_refused_with_its_date(client):
    """422 at the caller's own field: since when, who says so, what to do."""
    answer = await client.post("/send-sms/", json=SIMPLE | {"provider": "AT&T"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/provider"
    assert "is dead since 2025-06-17" in error["message"]
    assert "KM1061254" in error["message"]
    assert (await client.get("/v1/messages")).json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"phone_number": "12"}, "/phone_number"),
        ({"phone_number": ""}, "/phone_number"),
        ({"phone_number": 2025550123}, "/phone_number"),
        ({"phone_number": "+44 20 7946 0958"}, "/phone_number"),
        ({"provider": "Nobody"}, "/provider"),
        ({"provider": ""}, "/provider"),
        ({"provider": None}, "/provider"),
        ({"provider": ["att"]}, "/provider"),
        ({"message": ""}, "/message"),
        ({"message": " \n"}, "/message"),
        ({"message": "a\0b"}, "/message"),
        ({"message": "x" * 1601}, "/message"),
        ({"user_id": 1.5}, "/user_id"),
    ],
)
async def test_faults_have_the_names_of_the_caller(client, changes, pointer):
    """Not those that we have for the same."""
    answer = await client.post("/send-sms/", json=SIMPLE | changes)
    assert answer.status_code == 422, answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("field", ["phone_number", "message"])
async def test_a_field_that_is_missing_is_named(client, field):
    """By the caller's name, too."""
    body = {name: value for name, value in SIMPLE.items() if name != field}
    answer = await client.post("/send-sms/", json=body)
    assert [each["pointer"] for each in answer.json()["errors"]] == [f"/{field}"]


async def test_every_fault_is_reported_at_once(client):
    """Whoever mends one need not come back for the next."""
    answer = await client.post(
        "/send-sms/", json=SIMPLE | {"phone_number": "1", "provider": "AT&T", "message": " "}
    )
    assert {each["pointer"] for each in answer.json()["errors"]} == {
        "/phone_number",
        "/provider",
        "/message",
    }


async def test_with_a_provider_no_carrier_is_needed(tmp_path):
    """And a gateway that is dead is nobody's concern."""
    settings = {"sms_provider": "https://127.0.0.1:1/", "sms_region": "US"}
    async with serving(tmp_path, **settings) as (service, client):
        await service.pause()
        for body in (SIMPLE | {"provider": None}, SIMPLE | {"provider": "AT&T"}):
            answer = await client.post("/send-sms/", json=body)
            assert answer.status_code == 202, answer.text
            delivery = await service.journal.get(answer.json()["id"])
            assert delivery.route is Route.PROVIDER


async def test_the_carriers_are_listed_with_what_is_known_of_them(client):
    """Names, gateway, status as of today, date, source: enough to choose by."""
    answer = await client.get("/v1/carriers")
    assert answer.status_code == 200
    carriers = {each["id"]: each for each in answer.json()["items"]}
    assert carriers["att"]["status"] == "dead"
    assert carriers["att"]["effective"] == "2025-06-17"
    assert carriers["us_cellular"]["sms"] == "email.uscc.net"
    assert all({"names", "source", "checked", "limit"} <= each.keys() for each in carriers.values())
    head = await client.head("/v1/carriers/")
    assert (head.status_code, head.content) == (200, b"")


async def test_an_operators_own_carriers_are_among_them(tmp_path):
    """A sunset whose day has come is listed as dead."""
    own = tmp_path / "own.toml"
    own.write_text(
        '[acme]\nnames = ["Acme"]\nsms = "sms.acme.example"\nstatus = "sunset"\n'
        'effective = 2020-01-01\nsource = "us"\n'
    )
    async with serving(tmp_path / "data", carriers=str(own)) as (_, client):
        carriers = (await client.get("/v1/carriers")).json()["items"]
        refused = await client.post("/send-sms/", json=SIMPLE | {"provider": "ACME"})
    assert [each["status"] for each in carriers if each["id"] == "acme"] == ["dead"]
    assert "since 2020-01-01" in refused.json()["detail"]
