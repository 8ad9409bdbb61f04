"""A real notifier process, as an operator would start it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
from click.testing import CliRunner

from notifier.cli import cli
from tests.paths import ROOT
from tests.waiting import LIMIT

READY_SECONDS = 60.0


# Below the range from which the system takes the ports of outgoing connections.
_PORTS = iter(range(20000, 32768))
_claims = []  # sockets that are kept until this process ends


def free_port():
    """
    A port that nobody listens on, and that no other process of the tests gets: a UDP socket on the
    same number claims it.
    """
    for port in _PORTS:
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise AssertionError("every port from 20000 to 32767 is taken")


def environment(**settings):
    """The environment of a bare machine, with these settings (`relays` is NOTIFIER_RELAYS)."""
    ours = ("NOTIFIER_", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {f"NOTIFIER_{name.upper()}": str(value) for name, value in settings.items()}


class Server:
    """`notifier serve` in a process of its own, on a data directory that outlives it."""

    def __init__(self, folder: Path, **settings):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"data_dir": folder / "data", "port": self.port} | settings
        self.variables = {}  # of the environment, besides the settings
        self.under = ()  # a command that runs another one, with limits
        self.process = None

    @property
    def log(self):
        """Every line that the service has logged, over all its lives."""
        # The service may be in the midst of writing the last line.
        whole, _, _ = (self.folder / "log.jsonl").read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    async def start(self, *, ready=True):
        with (self.folder / "log.jsonl").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.under,
                sys.executable,
                "-m",
                "notifier",
                "serve",
                env=environment(**self.settings) | self.variables,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        if ready:
            await self.until_ready()
        return self

    async def until_ready(self):
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30) as client,
            asyncio.timeout(READY_SECONDS),
        ):
            while True:
                if self.process.returncode is not None:
                    raise AssertionError((self.folder / "log.jsonl").read_text())
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    async def run(self, *arguments):
        """What another command prints, with this server's settings."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=environment(**self.settings),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed.decode().strip()

    async def command(self, *arguments):
        """A command in this process: a new one for each would take most of a test's time."""
        env = environment(**self.settings)
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)

    async def kill(self):
        """SIGKILL: no chance to tidy up."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    async def stop(self):
        """SIGTERM, and the exit code."""
        if self.process.returncode is None:
            self.terminate()
        return await asyncio.wait_for(self.process.wait(), 40)

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, *exc_info):
        if self.process is not None and self.process.returncode is None:
            await self.kill()


def message(number, **changes):
    """A small valid message whose recipient tells its number."""
    return {
        "from": "us@example.org",
        "to": [f"n{number}@example.org"],
        "subject": f"Message {number}",
        "text": f"Hello, this is number {number}.",
    } | changes


def run(*arguments, stdin="", env=None, **settings):
    """One command, as a person would run it."""
    return subprocess.run(
        [sys.executable, "-m", "notifier", *arguments],
        cwd=ROOT,
        env=environment(**settings) | (env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=3 * LIMIT,  # it may start a server, and ask a name server that is not there
        check=False,
    )


async def run_async(*arguments, **settings):
    return await asyncio.to_thread(run, *arguments, **settings)


def client_of(server):
    limits = httpx2.Limits(max_connections=32)
    return httpx2.AsyncClient(base_url=server.url, limits=limits, timeout=30, trust_env=False)


async def states(server, ids):
    async with client_of(server) as client:
        answers = await asyncio.gather(*(client.get(f"/v1/messages/{id}") for id in ids))
    return [answer.json() for answer in answers]


async def until_all(server, ids, *statuses, limit=LIMIT):
    """What has become of them, once each has such a status; only the others are asked for again."""
    there = {}
    async with asyncio.timeout(limit):
        while left := [id for id in ids if id not in there]:
            found = await states(server, left)
            there |= {each["id"]: each for each in found if each["status"] in statuses}
            await asyncio.sleep(0.02)
    return [there[id] for id in ids]
