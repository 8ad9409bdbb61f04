"""What each request passes first: the usual POST goes past Litestar, everything else to it."""

import re

import httpx2
import pytest

from notifier.metrics import Requests
from notifier.web.api.messages import Messages
from notifier.web.app import create_app
from notifier.web.auth import Authentication
from notifier.web.bodies import BytesResponse
from notifier.web.body_memory import SMALL
from notifier.web.entrance import Entrance
from notifier.web.hosts import Hosts
from tests.api_keys import made
from tests.web_client import LETTER, client_of, serving

FAULTY = LETTER | {"to": ["nobody"]}
LARGE = LETTER | {"text": "x" * SMALL}
TWICE = [("Host", "localhost"), ("X-Trace", "1"), ("X-Trace", "2")]
# Those of both ways are masked, because no two messages have the same.
OWN = re.compile(r"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[0-9:.]+Z")


async def litestar(scope, receive, send):
    """Stands for Litestar's application."""
    await BytesResponse(b"", status=418)(scope, receive, send)


def entrance_of(service):
    """A client of an entrance that has nothing but this behind it."""
    sending = Messages(service).sending
    hosts = Hosts(service.settings)
    authentication = Authentication(service, hosts, None)
    whole = create_app(service)
    entrance = Entrance(litestar, sending, service, authentication, hosts, Requests())

    async def app(scope, receive, send):
        scope["state"] = {}  # as servers do
        scope["litestar_app"] = whole
        await entrance(scope, receive, send)

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")


async def in_chunks():
    yield b'{"to": '
    yield b'["ann@example.org"]}'


@pytest.mark.parametrize("body", [LETTER, FAULTY, {}], ids=["right", "faulty", "empty"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a b"}, {"Prefer": "wait=0"}])
async def test_the_usual_post_is_answered_as_litestar_would(tmp_path, body, headers):
    """Status, header fields and body are those of the same request in another spelling."""
    async with serving(tmp_path) as (service, client):
        await service.pause()
        usual, other = [
            await client.post(path, json=body, headers=headers)
            for path in ("/v1/messages", "/v1/messages/")
        ]
        async with entrance_of(service) as alone:
            past = await alone.post("/v1/messages", json=body, headers=headers)
    for answer in (usual, past):
        assert answer.status_code == other.status_code
        assert OWN.sub("", answer.text) == OWN.sub("", other.text)
        assert OWN.sub("", str(answer.headers)) == OWN.sub("", str(other.headers))


@pytest.mark.parametrize(
    "request_of",
    [
        {"url": "/v1/messages/", "json": LETTER},
        {"url": "/v1/messages/batch", "json": [LETTER]},
        {"url": "/v1/messages", "json": LETTER, "method": "PUT"},
        {"url": "/v1/messages", "json": LARGE},
        {"url": "/v1/messages", "content": in_chunks},
        {"url": "/v1/messages", "json": LETTER, "headers": {"Origin": "http://localhost"}},
        {"url": "/v1/messages", "json": LETTER, "headers": {"Sec-Fetch-Site": "same-origin"}},
        {"url": "/v1/messages", "json": LETTER, "headers": TWICE},
    ],
    ids=["slash", "batch", "method", "large", "chunks", "origin", "browser", "twice"],
)
async def test_any_other_request_goes_to_litestar(tmp_path, request_of):
    """What the entrance does not know to be usual is left to Litestar and its middleware."""
    asked = {"method": "POST"} | request_of
    if callable(asked.get("content")):
        asked["content"] = asked["content"]()
    async with serving(tmp_path) as (service, _), entrance_of(service) as client:
        assert (await client.request(**asked)).status_code == 418


async def test_the_usual_post_needs_a_key_once_there_is_one(tmp_path):
    """Without one, or with one that is wrong, it is a 401; with the right key a 202."""
    right = made(tmp_path)
    async with serving(tmp_path) as (service, _), entrance_of(service) as client:
        answers = [
            await client.post("/v1/messages", json=LETTER, headers=headers)
            for headers in ({}, {"Authorization": "Bearer ntf_000000000000_x"}, right)
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 202]
    assert answers[0].headers["www-authenticate"] == 'Bearer realm="notifier"'


async def test_the_usual_post_is_counted_under_its_route(tmp_path):
    """The figures do not tell which way a request went."""
    async with serving(tmp_path) as (service, _), client_of(service) as client:
        for path in ("/v1/messages", "/v1/messages/"):
            assert (await client.post(path, json=LETTER)).status_code == 202
        figures = (await client.get("/metrics")).text
    assert 'requests_total{method="POST",path="/v1/messages",status="202"} 2.0' in figures
