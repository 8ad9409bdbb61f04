"""A real server for tests: a process of its own, on a free port, with the built-in mailbox."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.02
QUOTED = 4000  # characters of the log

SETTINGS = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "LOG_FORMAT": "json",
    "RETRY_SCHEDULE": "200ms",  # what is refused for now is tried again while the test waits
    "GRACE": "1s",
}


class NotStarted(Exception):
    """The server ended, or took too long; with the end of its log."""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a server that keeps its data in this folder. Raises NotStarted."""
    # Settings of a real service, which the environment may hold, are not for this one.
    environment = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    environment |= {f"NOTIFIER_{name}": value for name, value in SETTINGS.items()}
    environment["NOTIFIER_DATA_DIR"] = str(folder / "data")
    log = folder / "log.jsonl"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "notifier", "serve"],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield _url(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_setting(name: str) -> bool:
    return name.startswith(("NOTIFIER_", "OTEL_"))


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server listens, once it does."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            if url := _listening(line):
                return url
        if ended:
            raise NotStarted(
                f"the notifier server ended with {process.returncode}:\n{text[-QUOTED:]}"
            )
        time.sleep(LOOK_SECONDS)
    raise NotStarted(f"the notifier server did not start in time:\n{text[-QUOTED:]}")


def _listening(line: str) -> str | None:
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and event.get("event") == "listening":
            return str(event["url"])
    return None
