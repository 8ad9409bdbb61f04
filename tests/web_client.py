"""A real service and its application, called in process on the same loop."""

import asyncio
import contextlib

import httpx2
import uvicorn

from notifier.server import protocol as clients
from notifier.server.process import Server
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.api.message_json import render
from notifier.web.app import create_app
from tests.waiting import LIMIT

JSON = {"Content-Type": "application/json"}
LETTER = {"to": ["ann@example.net"], "from": "me@example.org", "subject": "Hi", "text": "Hello."}
TEXT = {"channel": "sms", "to": "+1 202 555 0123", "carrier": "US Cellular", "text": "Hi."}
SIMPLE = {
    "email_to": "ann@example.net",
    "email_from": "me@example.org",
    "subject": "Hi",
    "message": "Hello.",
}


@contextlib.asynccontextmanager
async def serving(folder, **settings):
    """The service, opened on this folder, and a client of its application."""
    chosen = Settings(data_dir=str(folder), **settings)
    async with Notifier(chosen, show=render) as service, client_of(service) as client:
        yield service, client


def client_of(service, *, base_url="http://localhost", client=("127.0.0.1", 123)):
    """A client of its application, that calls from this address."""
    app = create_app(service)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=True, client=client)
    return httpx2.AsyncClient(transport=transport, base_url=base_url)


async def final(client, id):
    """The message once it has come to its end. Each round lets the loop turn."""
    while True:
        message = (await client.get(f"/v1/messages/{id}")).json()
        if message["finished_at"] or message["status"] == "held":
            return message


def problem_of(answer, status, type):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:notifier:problem:{type}"
    return problem


@contextlib.asynccontextmanager
async def listening(service):
    """The application behind our own server, in this process; yields its port."""
    server = Server(
        uvicorn.Config(
            create_app(service), port=0, http=clients.Client, log_config=None, lifespan="off"
        )
    )
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(LIMIT):
        while not server.started:
            await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
