"""
What was refused is out of memory with its answer. An error whose traceback leads back to itself
keeps what the frames hold, a message of 14 MB with all that was made of it, until the garbage
collector comes, which is seldom.
"""

import gc
import types

import pytest

from notifier.errors import JournalUnavailable
from tests.paths import PACKAGE
from tests.web_client import JSON, LETTER, serving

LARGE = "x" * 300_000  # composed in a thread, and read there
TO_NOBODY = LETTER | {"text": LARGE, "to": ["nobody"]}
SIMPLE = {"email_to": "nobody", "email_from": "a@b.org", "subject": "x", "message": LARGE}
TEXT = {"channel": "sms", "to": "+1 202 555 0123", "text": "x"}
BATCH = "/v1/messages/batch"
PERMISSIVE = {"X-Batch-Validation": "permissive"}

REFUSED = {
    "an address": ("/v1/messages", TO_NOBODY, {}),
    "a small one": ("/v1/messages", LETTER | {"to": ["nobody"]}, {}),
    "an unknown field": ("/v1/messages", LETTER | {"text": LARGE, "x": 1}, {}),
    "no object": ("/v1/messages", [LARGE], {}),
    "a channel": ("/v1/messages", LETTER | {"text": LARGE, "channel": "pigeon"}, {}),
    "NUL": ("/v1/messages", LETTER | {"text": f"{LARGE}\0"}, {}),
    "a template": ("/v1/messages", TO_NOBODY | {"text": None, "template": "none"}, {}),
    "a text without a carrier": ("/v1/messages", TEXT, {}),
    "under a key": ("/v1/messages", TO_NOBODY, {"Idempotency-Key": "k"}),
    "a dry run": ("/v1/messages?dry_run=true", TO_NOBODY, {}),
    "a batch": (BATCH, [TO_NOBODY, LETTER], {}),
    "a batch of one": (BATCH, [TO_NOBODY], {}),
    "a batch that cannot be read": (BATCH, [LETTER | {"text": LARGE, "x": 1}, LETTER], {}),
    "a permissive batch": (BATCH, [TO_NOBODY, LETTER], PERMISSIVE),
    "an empty batch": (BATCH, [], {}),
    "a simple one": ("/send-email/", SIMPLE, {}),
}


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as (service, client):
        await service.pause()
        yield service, client


def left_behind():
    """Where frames of ours wait for the garbage collector."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    frames = [each for each in gc.garbage if isinstance(each, types.FrameType)]
    gc.garbage.clear()
    ours = [each.f_code for each in frames if each.f_code.co_filename.startswith(str(PACKAGE))]
    return [f"{code.co_filename}: {code.co_qualname}" for code in ours]


async def refused(client, path, body, headers):
    """What asking leaves behind."""
    await client.post(path, json=body, headers=headers)  # whatever is only done once
    gc.disable()
    gc.collect()
    gc.freeze()  # what was there before need not be looked through again
    try:
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code in {207, 400, 422, 503}, answer.text
        return left_behind()
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize(("path", "body", "headers"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_refused_message_leaves_memory(web, path, body, headers):
    """Nothing of it waits for the garbage collector."""
    assert await refused(web[1], path, body, JSON | headers) == []


async def test_a_message_that_cannot_be_kept_leaves_memory(web, monkeypatch):
    """Nor does a message that the journal cannot take now."""
    service, client = web

    async def add(*_):
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(service.journal, "add", add)
    assert await refused(client, "/v1/messages", LETTER | {"text": LARGE}, JSON) == []
