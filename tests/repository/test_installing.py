"""What the guide tells an operator to install, as the programs that read it judge it."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

import notifier
from tests.nginx import CONFIGURATION, Nginx
from tests.process import Server, free_port, message
from tests.web_client import JSON

PAGE = Path(notifier.__file__).parent / "guide" / "operating.md"


def shown(language):
    """The page's one block in that language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)
def test_systemd_understands_the_unit(tmp_path):
    """Every line, where the program that it starts is there."""
    unit = tmp_path / "notifier.service"
    unit.write_text(shown("ini").replace("/opt/notifier/bin/notifier", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def configuration(folder, port, server):
    """The page's location in a server of nothing else; what nginx writes goes to the folder."""
    temporary = re.findall(r"\w+_temp_path .*;", CONFIGURATION.read_text())
    location = shown("nginx").replace("127.0.0.1:8014", f"127.0.0.1:{server.port}")
    return f"""
        pid {folder}/pid; error_log stderr warn; events {{ }}
        http {{
            access_log off; {" ".join(temporary).replace("/tmp/", f"{folder}/")}
            server {{ listen 127.0.0.1:{port}; {location} }}
        }}
    """


async def test_nginx_serves_it_under_a_path_of_its_own(tmp_path):
    """Calls, pages with what they load, events as they happen, and the limits."""
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    async with (
        Server(tmp_path, public_path="/notifier") as server,
        Nginx(folder, port, configuration(folder, port, server)) as proxy,
        httpx2.AsyncClient(base_url=proxy.url, trust_env=False, timeout=30) as client,
    ):
        accepted = await client.post("/notifier/v1/messages", json=message(1))
        assert accepted.status_code == 202
        place = accepted.headers["location"]
        assert place.startswith("/notifier/v1/messages/")
        assert (await client.get(place)).json()["id"] == accepted.json()["id"]
        page = (await client.get("/notifier/monitor")).text
        loaded = re.findall(r'(?:href|src)="(/[^"]+)"', page)
        assert len(loaded) > 5
        for path in loaded:
            assert path.startswith("/notifier/")
            assert (await client.get(path)).status_code == 200
        async with client.stream("GET", "/notifier/v1/events") as events:
            async for line in events.aiter_lines():
                assert line == "event: queue"  # at once: nothing is held back
                break
        too_large = await client.post(
            "/notifier/v1/messages", content=b"x" * 15_100_000, headers=JSON
        )
        assert too_large.status_code == 413
        assert "problem+json" in too_large.headers["content-type"]  # ours: nginx lets it pass
