"""A stranger's client, which knows only the OpenAPI document, finds nothing to complain of."""

import asyncio
import sys
from pathlib import Path

import httpx2
import pytest

from tests.paths import ROOT
from tests.process import Server, environment, message

PROGRAM = Path(sys.executable).with_name("schemathesis")
# An address, a number or a carrier is more than a schema can say, so what fits a schema may
# still be refused: by 422, and with the field named.
CONFIG = """
hooks = "{hooks}"
parameters = {{ id = "{id}" }}
[auth.openapi.bearer]
bearer = "{key}"
[auth.openapi.apiKey]
api_key = "{key}"
[checks]
positive_data_acceptance.enabled = false
# Any octets are a mail. One that reports nothing is taken, and changes nothing.
[[operations]]
include-path = "/v1/reports"
checks.negative_data_rejection.enabled = false
"""
# Mails are sent as text is.
HOOKS = """
import schemathesis
schemathesis.serializer.alias("message/rfc822", "text/plain")
"""


async def run(*command, folder, **settings):
    """Exit code, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env=environment(**settings) | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.skipif(not PROGRAM.exists(), reason="schemathesis is not installed")
@pytest.mark.timeout(300)
async def test_the_service_does_what_its_document_says(tmp_path):
    """
    Every call, with its examples, with each limit and just past it, and with values made up:
    no 500, no answer, header or media type that is not written down, nothing open without a
    key, nothing taken that the schema forbids.
    """
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "shipped.txt").write_text("Dear {{ name }}, order {{ order }} is on its way.")
    server = Server(tmp_path, templates=templates, wait_limit="100ms")
    everything = [f"--scope={scope}" for scope in ("send", "read", "manage")]
    code, key = await run(
        sys.executable, "-m", "notifier", "keys", "add", "all", *everything,
        folder=tmp_path, **server.settings,
    )  # fmt: skip
    assert code == 0, key
    key = next(word for word in key.split() if word.startswith("ntf_"))
    async with server, httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(
            f"{server.url}/v1/messages", json=message(1), headers={"X-API-Key": key}
        )
        config = tmp_path / "schemathesis.toml"
        hooks = tmp_path / "media_types.py"
        hooks.write_text(HOOKS)
        config.write_text(CONFIG.format(key=key, id=answer.json()["id"], hooks=hooks.stem))
        code, output = await run(
            PROGRAM, f"--config-file={config}", "run", f"{server.url}/openapi.json",
            "--phases=examples,coverage,fuzzing", "--max-examples=10", "--seed=1",
            "--exclude-path=/v1/events",  # which has no end
            folder=tmp_path,
        )  # fmt: skip
        assert code == 0, output
        assert "Errors" not in output, output
