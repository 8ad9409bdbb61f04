"""`notifier callbacks`: what an operator sees and does without a browser."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from notifier.cli import cli
from notifier.keys import KeyScope
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.api.message_json import render
from tests.api_keys import made
from tests.applications import add_callback
from tests.provider import Site
from tests.waiting import until
from tests.web_client import LETTER, client_of, final, listening


@pytest.fixture
async def served(tmp_path):
    """An application, and a command that asks a server whose key it is told by."""
    async with Site((410, b"no more"), (200, b"hello")) as site:
        headers = made(tmp_path, "shop", KeyScope.SEND, KeyScope.MANAGE)
        add_callback(tmp_path, "shop", f"http://127.0.0.1:{site.port}/hook")
        settings = Settings(data_dir=str(tmp_path))
        async with Notifier(settings, show=render) as service, listening(service) as port:
            given = ["--url", f"http://127.0.0.1:{port}", "--api-key", headers["Authorization"][7:]]

            async def run(*arguments):
                command = ["callbacks", *arguments, *given]
                return await asyncio.to_thread(CliRunner().invoke, cli, command)

            async with client_of(service) as client:
                client.headers.update(headers)
                yield run, client, site


async def test_callbacks_are_listed_tested_resumed_and_replayed(served):
    """As a table or as JSON; a test that fails has the exit code 1."""
    run, client, site = served
    message = await final(client, (await client.post("/v1/messages", json=LETTER)).json()["id"])
    await until(lambda: _paused(client))
    listed = await run("list")
    assert "shop" in listed.output
    assert "410 no more" in listed.output
    (item,) = json.loads((await run("list", "--json")).output)
    assert (item["key"], item["state"]) == ("shop", "paused")
    tested = await run("test", "shop")
    assert tested.output.startswith("200: hello (")
    assert tested.exit_code == 0
    assert (await run("resume", "shop")).output == "shop: 0 callbacks are sent\n"
    replayed = await run("replay", "shop", "--since", message["created_at"])
    assert replayed.output == "1 callbacks are sent again\n"
    await until(lambda: len(site.requests) == 3)
    site.answers = [(503, b"busy")]
    refused = await run("test", "shop")
    assert refused.output.startswith("503: busy (")
    assert refused.exit_code == 1


async def _paused(client):
    (found,) = (await client.get("/v1/callbacks")).json()["items"]
    return found["state"] == "paused"


async def test_a_key_that_has_none_is_named(served):
    """With those that have one."""
    run, _, _ = served
    refused = await run("resume", "nobody")
    assert "the keys with a callback: shop" in str(refused.exception)
