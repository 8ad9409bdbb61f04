"""W3C Trace Context: what a caller sends along stays with its message."""

import httpx2
import pytest

from tests.process import Server, message
from tests.web_client import LETTER, SIMPLE, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batch", "/send-email/"])
async def test_traceparent_is_kept_with_the_message(tmp_path, path):
    """By whichever call it comes."""
    body = {"/v1/messages": LETTER, "/v1/messages/batch": [LETTER], "/send-email/": SIMPLE}[path]
    async with serving(tmp_path) as (_, client):
        await client.post(path, json=body, headers={"traceparent": TRACEPARENT})
        (kept,) = (await client.get("/v1/messages")).json()["items"]
    assert kept["traceparent"] == TRACEPARENT


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACEPARENT.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"{TRACEPARENT}-more", None),
        (f"01{TRACEPARENT[2:]}-more", f"01{TRACEPARENT[2:]}"),
        ("nonsense", None),
    ],
)
async def test_invalid_traceparent_is_ignored(tmp_path, given, kept):
    """The message is accepted all the same: a fault in tracing must not stop mail."""
    async with serving(tmp_path) as (_, client):
        answer = await client.post("/v1/messages", json=LETTER, headers={"traceparent": given})
    assert answer.status_code == 202
    assert answer.json()["traceparent"] == kept


async def test_the_log_line_of_an_attempt_names_the_trace(tmp_path):
    """So that it can be found from the other end."""
    async with (
        Server(tmp_path) as server,
        httpx2.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        headers = {"traceparent": TRACEPARENT, "Prefer": "wait=10"}
        await client.post(f"{server.url}/v1/messages", json=message(1), headers=headers)
        await server.stop()
        (line,) = [line for line in server.log if line["event"] == "attempt"]
    assert line["trace_id"] == TRACE
