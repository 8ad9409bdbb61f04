"""
What neither callers nor relays may do: each test is an attack, over real connections. The rest of
it stands where it belongs: injected headers in test_web_input, pages of other sites in test_web
and test_web_levers, templates in test_templates, slow and large bodies in test_fault_matrix.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from email import message_from_bytes, policy

import httpx2
import pytest

from notifier.errors import Rejected
from notifier.keys import Keys
from notifier.web.app import create_app
from tests.process import Server, environment, message
from tests.relay import ScriptedRelay
from tests.routes import NOWHERE, concrete, routes_of
from tests.service import SENDER, email, ended, notifying, submit_one
from tests.torture.smuggling import smuggle
from tests.web_client import serving

SECRET = "hunter2-of-the-relay"


async def test_f40_no_body_smuggles_a_second_message(tmp_path):
    """To whom it was meant, from whom it came, and no command is heard of what it says."""
    assert await smuggle(tmp_path, 500, seed=40) >= 400


def new_key(*options, **settings):
    """The secret of an API key that the command line makes."""
    command = [sys.executable, "-m", "notifier", "keys", "add", "shop", *options]
    made = subprocess.run(
        command, env=environment(**settings), capture_output=True, text=True, check=True
    )
    (secret,) = [word for word in made.stdout.split() if word.startswith("ntf_")]
    return secret


async def test_no_secret_is_in_logs_or_answers(tmp_path):
    """The relay's password, an API key and blind copies: in no line, no page, no mail."""
    async with ScriptedRelay(features=("PIPELINING", "AUTH PLAIN")) as relay:
        url = f"smtp://user:{SECRET}@{relay.host}:{relay.port}"
        server = Server(tmp_path, relays=url, log_level="debug")
        key = new_key("--scope", "manage", "--scope", "send", **server.settings)
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            server,
            httpx2.AsyncClient(
                base_url=server.url, headers=headers, trust_env=False, timeout=30
            ) as client,
        ):
            sent = await client.post(
                "/v1/messages",
                json=message(1, bcc=["blind@example.org"]),
                headers={"Prefer": "wait=10"},
            )
            assert sent.json()["status"] == "sent"
            id = sent.json()["id"]
            told = [
                (await client.get(path)).text
                for path in (
                    *(f"/v1/messages/{id}{end}" for end in ("", "/conversation", "/explain")),
                    *("/v1/relays", "/v1/stats", "/health", "/readyz", "/v1/messages"),
                )
            ]
            source = (await client.get(f"/v1/messages/{id}/source")).text
        log = (tmp_path / "log.jsonl").read_text()
    assert len(relay.received) == 1
    for text in (*told, log, source):
        assert SECRET not in text
        assert key not in text
        assert key.split("_", 2)[2] not in text
    mail = relay.received[0][2]
    for text in (source, log, mail.decode()):
        assert "blind@" not in text
    assert all(json.loads(line) for line in log.splitlines() if line.startswith("{"))


async def test_a_sender_cannot_be_spoofed_past_its_key(tmp_path):
    """Neither by a display name, nor by case, nor by a second address in the field."""
    keys = tmp_path / "keys.toml"
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        secret = new_key("--sender", "@example.org", data_dir=tmp_path)
        read = Keys.read(keys)
        key = read.authenticate(secret, datetime.now(UTC))
        for sender in (
            "eve@example.net",
            '"boss@example.org" <eve@example.net>',
            "eve@sub.example.org",
            "eve@example.org.example.net",
            "eve@example.org@example.net",
            "a@example.org, eve@example.net",
        ):
            with pytest.raises(Rejected):
                await service.submit([email(sender=sender)], key=key)
        assert not relay.received
        id = await submit_one(service)
        assert (await ended(service, id)).status == "sent"


# A provider's events: believed by their signature alone, and here no provider has a secret.
SIGNED = "/v1/reports/{name:str}"


async def test_keys_are_compared_in_constant_time(tmp_path, monkeypatch):
    """Right, wrong and unknown ones alike: two digests are compared, and what that says holds."""
    compared = []

    def compare(given, expected):
        compared.append((type(given), len(given), type(expected), len(expected)))
        return False

    secret = new_key(data_dir=tmp_path)
    keys = Keys.read(tmp_path / "keys.toml")
    assert keys.authenticate(secret, datetime.now(UTC))
    monkeypatch.setattr("notifier.keys.hmac.compare_digest", compare)
    for presented in (secret, f"{secret[:-1]}!", "ntf_unknown_secret", "no key at all", ""):
        assert keys.authenticate(presented, datetime.now(UTC)) is None
    assert compared == [(bytes, 32, bytes, 32)] * 5


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_no_form_of_another_site_changes_anything(tmp_path, kind):
    """Every route that acts, also one that nobody has thought of: refused by origin or by type."""
    async with serving(tmp_path) as (service, client):
        await service.pause()
        id = await submit_one(service)
        headers = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        acting = 0
        for path, handler in routes_of(create_app(service)):
            for method in {*map(str, handler.http_methods)} - {"GET", "HEAD", "OPTIONS"}:
                acting += 1
                answer = await client.request(
                    method,
                    concrete(path).replace(f"/messages/{NOWHERE}/", f"/messages/{id}/"),
                    content=b'{"key": "x"}',
                    headers=headers | {"Content-Type": kind},
                )
                refused = (404,) if path == SIGNED else (403, 415)
                assert answer.status_code in refused, (method, path, answer.text)
        assert acting > 15
        assert (await service.journal.get(id)).status == "queued"
        assert service.dispatcher.paused


async def test_text_of_callers_is_not_a_template(tmp_path):
    """Template code in a message, or in the data of one, leaves as it was written."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "t.subject.txt").write_text("To {{ name }}")
    (tmp_path / "templates" / "t.txt").write_text("Dear {{ name }}")
    code = "{{ 7 * 7 }}{% for x in [1] %}{{ config }}{% endfor %}"
    async with serving(tmp_path, templates=str(tmp_path / "templates")) as (_, client):
        plain = message(1, subject=code, text=code)
        filled = {"from": SENDER, "to": ["a@example.org"], "template": "t", "data": {"name": code}}
        for body in (plain, filled):
            answer = await client.post("/v1/messages?dry_run=true", json=body)
            assert answer.status_code == 200
            read = message_from_bytes(answer.content, policy=policy.default)
            assert code in read["subject"]
            assert code in read.get_content()
