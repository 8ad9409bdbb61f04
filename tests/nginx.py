"""A real nginx, such as with the configuration of the proxy before compose.yaml's replicas."""

import asyncio
import contextlib
import os
import shutil

import pytest

from tests.paths import ROOT
from tests.process import free_port

CONFIGURATION = ROOT / "notifier/deploy/nginx.conf"
LIMIT = 30.0  # seconds for its start and its end


class Nginx:
    """With this configuration, which listens on `port` and writes to `folder` alone."""

    def __init__(self, folder, port, configuration):
        self._folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        (folder / "nginx.conf").write_text(configuration)

    async def __aenter__(self):
        # As root it would otherwise give up its rights, and with them pytest's folder.
        user = " user root;" if os.geteuid() == 0 else ""
        self._process = await asyncio.create_subprocess_exec(
            _binary(), "-p", self._folder, "-e", "stderr", "-c", self._folder / "nginx.conf",
            "-g", f"daemon off;{user}",
        )  # fmt: skip
        async with asyncio.timeout(LIMIT):
            while not await self._listens():
                assert self._process.returncode is None, "nginx has ended"
                await asyncio.sleep(0.02)
        return self

    async def _listens(self):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    async def __aexit__(self, *exc_info):
        if self._process.returncode is None:
            self._process.terminate()
        await asyncio.wait_for(self._process.wait(), LIMIT)


class Proxy(Nginx):
    """The file as it is, but for the addresses and the folder it writes to."""

    def __init__(self, folder, ports):
        port = free_port()
        told = CONFIGURATION.read_text()
        for number, each in enumerate(ports, 1):
            told = _put(told, f"replica-{number}:8014", f"127.0.0.1:{each}")
        told = _put(told, "listen 8014;", f"listen 127.0.0.1:{port};")
        super().__init__(folder, port, _put(told, "/tmp/", f"{folder}/"))


def _put(text, old, new):
    assert old in text, f"{CONFIGURATION.name} has no {old}"
    return text.replace(old, new)


def _binary():
    """Where nginx is; skips where it is not."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if found := shutil.which("nginx", path=places):
        return found
    pytest.skip("no nginx is installed (Debian: nginx)")
