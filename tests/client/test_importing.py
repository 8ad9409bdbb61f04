"""The client can be had without the server, and its names are all there."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import notifier.client
from tests.http_server import ScriptedServer, answer
from tests.paths import PACKAGE

ALLOWED = ("httpx2", "msgspec")


def needed(names):
    """These distributions, and all that they need here."""
    found = {}
    names = list(names)
    while names:
        name = names.pop()
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            wanted = map(Requirement, found[name].requires or ())
            names += [
                each.name
                for each in wanted
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return found.values()


@pytest.fixture
def bare(tmp_path):
    """A folder with notifier, what its client needs, and nothing else that is not Python's own."""
    for distribution in needed(ALLOWED):
        for name in {file.parts[0] for file in distribution.files if ".." not in file.parts}:
            place = Path(distribution.locate_file(name))
            if place.exists() and not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(place)
    (tmp_path / "notifier").symlink_to(PACKAGE)
    return tmp_path


def run_bare(folder, program, *arguments):
    """Run a program with this folder alone besides the standard library."""
    path = f"import sys; sys.path.append({str(folder)!r})\n"
    return subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            path + program,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
    )


def test_the_client_runs_without_the_server(bare):
    """Where only httpx2 and msgspec are installed, both clients send, and callbacks are checked."""
    problem = b'{"title": "No", "status": 422}'
    program = """
import asyncio
from notifier.client import *

def expect(call):
    try:
        call()
    except (Rejected, InvalidCallback) as error:
        print(type(error).__name__)

async def send():
    async with AsyncNotifier(sys.argv[1]) as client:
        await client.send("ann@example.org", text="Hello")

expect(lambda: Notifier(sys.argv[1]).send("ann@example.org", text="Hello"))
expect(lambda: asyncio.run(send()))
expect(lambda: verify_callback({}, b"", "whsec_a2V5"))
ours = sorted(name for name in sys.modules if name.startswith("notifier"))
print(*[name for name in ours if not name.startswith("notifier.client")])
"""
    with ScriptedServer(answer(422, problem)) as server:
        done = run_bare(bare, program, server.url)
    assert done.stdout.split() == ["Rejected", "Rejected", "InvalidCallback", "notifier"], (
        done.stderr
    )


def test_the_server_is_not_there(bare):
    """The bare folder of these tests has nothing that the server needs."""
    assert "No module named" in run_bare(bare, "import notifier.server.process").stderr


def test_the_guide_says_how_to_install_it_alone():
    """The guide's commands name what the client needs, as our own dependencies do."""
    text = (PACKAGE / "guide" / "client.md").read_text()
    [command] = re.findall(r"^pip install '(.*)' '(.*)'$", text, re.MULTILINE)
    ours = map(Requirement, importlib.metadata.distribution("notifier").requires)
    wanted = [each for each in ours if each.name in ALLOWED]
    assert sorted(map(Requirement, command), key=str) == sorted(wanted, key=str)


def test_the_names_are_exported():
    """Each name of `notifier.client` that is for users is listed, and has a docstring."""
    for name in notifier.client.__all__:
        assert getattr(notifier.client, name).__doc__, name
