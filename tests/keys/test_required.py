"""A keys file that is gone opens the service to nobody."""

import pytest
from structlog.testing import capture_logs

from notifier.errors import ConfigurationError
from notifier.keys import Keys
from notifier.service import Notifier
from notifier.settings import Settings
from tests.api_keys import look, made
from tests.process import free_port, run_async
from tests.web_client import LETTER, serving

ON_PURPOSE = "# none, on purpose\n[keys]\n"


async def test_a_file_that_is_named_and_missing_stops_the_start(tmp_path):
    """Exit code 2, and its name; a file that says that there are no keys is one."""
    data, file = tmp_path / "data", tmp_path / "elsewhere.toml"
    for content in (None, "", "# was here\n"):
        if content is not None:
            file.write_text(content)
        done = await run_async("serve", data_dir=data, api_keys=file, port=free_port())
        assert done.returncode == 2
        assert f"NOTIFIER_API_KEYS: {file}: " in done.stderr
        assert not data.exists()
    file.write_text(ON_PURPOSE)
    async with serving(data, api_keys=str(file)) as (_, client):
        assert (await client.get("/v1/messages")).status_code == 200


async def test_a_file_that_was_there_once_is_remembered(tmp_path):
    """In the journal, so that a copy of it that is started without the keys opens nothing."""
    key = made(tmp_path)
    async with serving(tmp_path) as (_, client):
        assert (await client.post("/v1/messages", json=LETTER, headers=key)).status_code == 202
    file = tmp_path / "keys.toml"
    for content in (None, "", "# was here\n"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigurationError, match=f"NOTIFIER_API_KEYS: {file}: "):
            async with Notifier(Settings(data_dir=str(tmp_path))):
                pass
    file.write_text(ON_PURPOSE)
    async with serving(tmp_path) as (_, client):
        assert (await client.get("/v1/messages")).status_code == 200


async def test_a_key_that_is_made_while_it_runs_is_remembered_too(tmp_path):
    """From the first call after it on."""
    async with serving(tmp_path) as (service, client):
        assert (await client.get("/v1/messages")).status_code == 200
        key = made(tmp_path)
        look(service)
        assert (await client.get("/v1/messages", headers=key)).status_code == 200
    (tmp_path / "keys.toml").unlink()
    with pytest.raises(ConfigurationError, match="is missing"):
        async with Notifier(Settings(data_dir=str(tmp_path))):
            pass


async def test_gone_while_it_runs_it_opens_nothing(tmp_path, monkeypatch):
    """The known keys stay valid; the log and /readyz report the missing file."""
    key = made(tmp_path, "reader", "read")
    file = tmp_path / "keys.toml"
    async with serving(tmp_path) as (service, client):
        monkeypatch.setattr(service.keys, "clock", lambda: 0.0)  # it looks when we say so
        kept = file.read_bytes()
        file.unlink()
        with capture_logs() as logs:
            look(service)
            assert (await client.get("/v1/messages")).status_code == 401
            assert (await client.get("/v1/messages", headers=key)).status_code == 200
        assert [each["event"] for each in logs].count("keys_not_reloaded") == 1
        told = await client.get("/readyz", headers=key)
        assert told.status_code == 200
        assert str(file) in told.json()["warnings"][0]
        assert (await client.get("/readyz")).json()["warnings"] == []
        file.write_bytes(kept)
        look(service)
        assert (await client.get("/v1/messages", headers=key)).status_code == 200
        assert (await client.get("/readyz", headers=key)).json()["warnings"] == []


async def test_the_first_key_is_made_where_none_has_been(tmp_path):
    """`keys add` needs no file; only the server that is started does."""
    file = tmp_path / "keys.toml"
    done = await run_async("keys", "add", "shop", data_dir=tmp_path, api_keys=file)
    assert done.returncode == 0, done.stderr
    assert [key.name for key in Keys.read(file).all()] == ["shop"]
