"""The log: what a line holds, who waits for it, and which lines are there in the end."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.errors import ConfigurationError
from notifier.logs import Logs, shorten
from notifier.logs.files import RotatedFile
from notifier.logs.rewriting import Rewritten, rewrite
from tests.paths import ROOT
from tests.waiting import LIMIT


@contextlib.contextmanager
def logged(tmp_path, **settings):
    """A log into a file, and its lines as they stand once it has stopped."""
    lines = []
    fd = os.open(tmp_path / "stream", os.O_RDWR | os.O_CREAT)
    try:
        with Logs(fd=fd, **settings):
            yield lines
        lines += (tmp_path / "stream").read_bytes().decode().splitlines()
    finally:
        os.close(fd)


def until(condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_a_line_is_json(tmp_path):
    """Time in UTC, level, event, then what was said."""
    with logged(tmp_path) as lines:
        structlog.get_logger().info("attempt", relay="main", seconds=0.25)
    (line,) = map(json.loads, lines)
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "attempt",
        "relay": "main",
        "seconds": 0.25,
    }


def test_lines_below_the_level_are_not_logged(tmp_path):
    """Neither ours nor that of libraries."""
    with logged(tmp_path, level="warning") as lines:
        for log in (structlog.get_logger(), logging.getLogger("library")):
            log.info("quiet")
            log.warning("loud")
    assert [json.loads(line)["event"] for line in lines] == ["loud", "loud"]


def test_the_standard_librarys_lines_go_the_same_way(tmp_path):
    """Library loggers, their exceptions and Python's warnings, with the name of the logger."""
    with logged(tmp_path) as lines:
        logging.getLogger("uvicorn.error").info("talk")
        logging.getLogger("library").warning("%s of %d", "one", 2)
        try:
            int("broken")
        except ValueError:
            logging.getLogger("asyncio").exception("caught")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("library").warning("%d", "not a number")
    one, caught, warned, broken = map(json.loads, lines)
    assert (one["event"], one["logger"], one["level"]) == ("one of 2", "library", "warning")
    assert "ValueError: invalid literal" in caught["exception"]
    assert "DeprecationWarning: old" in warned["event"]
    assert "not a number" in broken["event"]


def test_addresses_are_shortened_and_contents_never_logged(tmp_path):
    """Addresses are shortened everywhere, also in replies; a Message-ID is not an address."""
    with logged(tmp_path) as lines:
        structlog.get_logger().info(
            "attempt",
            to=["Jane <jane.doe@example.org>", "x@y.z"],
            sender="jane.doe@example.org",
            reply="550 <jane.doe@example.org>: unknown user",
            message_id="<abc@example.org>",
            more={"recipient": "jane@example.org", "password": "p"},
            subject="Your test result",
            body="secret",
            authorization="Bearer ntf_x",
            cookie="session=s3cr3t",
            token="s3cr3t",
            headers={"cookie": "session=s3cr3t", "token": "s3cr3t"},
        )
    assert "s3cr3t" not in lines[0]
    line = json.loads(lines[0])
    assert line["to"] == ["Jane <j***@example.org>", "x***@y.z"]
    assert line["sender"] == "j***@example.org"
    assert line["reply"] == "550 <j***@example.org>: unknown user"
    assert line["message_id"] == "<abc@example.org>"
    assert line["more"] == {"recipient": "j***@example.org", "password": "***"}
    struck_out = ("subject", "body", "authorization", "cookie", "token")
    assert {line[name] for name in struck_out} == {"***"}
    assert line["headers"] == {"cookie": "***", "token": "***"}


@given(st.from_regex(r"[a-z0-9.+_'-]{2,70}@[a-z]{1,9}\.org", fullmatch=True))
def test_no_local_part_is_left(address):
    """Only one character before the @ remains."""
    local, _, domain = address.rpartition("@")
    assert shorten(f"<{address}>") == f"<{local[0]}***@{domain}>"


# The definition, which takes far too long over a text without blanks.
ADDRESS = re.compile(r"([^\s<>\"()\[\],;:@/\\=])[^\s<>\"()\[\],;:@/\\=]{0,255}@(?=[^\s@])")


@given(st.text(alphabet='a.b@@ <>"/\u00e4\n=\\', max_size=60) | st.text())
@example("x" * 600 + "@example.org")
@example("x" * 300 + "@" + "y" * 300 + "@z")
def test_an_address_is_found_in_any_text(text):
    """Up to 256 characters before each @ that something follows."""
    assert shorten(text) == ADDRESS.sub(r"\1***@", text)


def test_a_line_does_not_grow_with_what_strangers_send(tmp_path):
    """A path is cut at 200 characters, other texts at 4,000; an exception keeps its end."""
    with logged(tmp_path) as lines:
        log = structlog.get_logger()
        log.info("refused", path="/" + "x" * 60_000, reason="y" * 60_000, many=["z" * 60_000])
        log.info("odd", exception="a" * 60_000 + "ValueError: last")
    line, odd = map(json.loads, lines)
    assert line["path"] == "/" + "x" * 199 + " (59801 more characters)"
    assert line["reason"] == "y" * 4000 + " (56000 more characters)"
    assert line["many"] == ["z" * 4000 + " (56000 more characters)"]
    assert odd["exception"].endswith("ValueError: last")
    assert max(map(len, lines)) < 40_000


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize("format", ["json", "console"])
def test_nothing_that_is_logged_can_break_the_caller(tmp_path, format):
    """Lone surrogates, bytes, objects without words: a line all the same, and one line."""
    with logged(tmp_path, format=format) as lines:
        log = structlog.get_logger()
        log.info("odd", value="\udcff", data=b"\xff", other=object(), keys={1: {2}})
        log.info("in\njected \x1b[31m", reply="250 ok\n2026 [error] forged \x1b[31m")
        if format == "json":
            log.info("mute", value=Unspeakable())
    assert len(lines) == (3 if format == "json" else 2)
    assert "\x1b" not in "".join(lines)


def test_console_lines_are_for_people(tmp_path):
    """No JSON, no colours where there is no terminal; `auto` on a file is JSON."""
    with logged(tmp_path, format="console") as lines:
        structlog.get_logger().warning("expired", id="m1")
    assert "expired" in lines[0]
    assert "id=m1" in lines[0]
    assert "\x1b" not in lines[0]


def test_on_a_terminal_auto_is_coloured():
    """A terminal gets a console line in colour."""
    ours, theirs = os.openpty()
    with Logs(fd=theirs):
        structlog.get_logger().info("hello")
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert "hello" in said
    assert "\x1b[" in said


def test_each_level_has_a_file_of_its_own(tmp_path):
    """Each holds its level and no other, as JSON, beside the stream that has them all."""
    folder = tmp_path / "deep" / "logs"
    with logged(tmp_path, directory=str(folder), level="debug", format="console") as lines:
        log = structlog.get_logger()
        for level in ("debug", "info", "warning", "error", "critical", "info"):
            getattr(log, level)(f"a {level}")
    found = {
        path.name: [json.loads(line)["event"] for line in path.read_text().splitlines()]
        for path in folder.iterdir()
    }
    assert found == {
        "debug.log": ["a debug"],
        "info.log": ["a info", "a info"],
        "warning.log": ["a warning"],
        "error.log": ["a error", "a critical"],
    }
    assert len(lines) == 6


def test_a_folder_that_cannot_be_written_is_a_setting_that_is_wrong(tmp_path):
    """The error comes before anything starts."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="NOTIFIER_LOG_DIR: cannot write to"):
        Logs(directory=str(tmp_path / "file"))


def test_large_files_are_rotated(tmp_path):
    """A new file is begun before the limit is passed; so many old ones are kept, in order."""
    file = RotatedFile(tmp_path / "info.log", largest=20, kept=3)
    for number in range(9):
        file.write(b"%d........\n" % number)
    file.close()
    assert {path.name: path.read_text().split() for path in tmp_path.iterdir()} == {
        "info.log": ["8........"],
        "info.log.1": ["6........", "7........"],
        "info.log.2": ["4........", "5........"],
        "info.log.3": ["2........", "3........"],
    }


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    """Someone may move it, as logrotate does, or delete it."""
    file = RotatedFile(tmp_path / "info.log")
    file.write(b"one\n")
    (tmp_path / "info.log").rename(tmp_path / "moved")
    file.write(b"two\n")
    (tmp_path / "info.log").unlink()
    file.write(b"three\n")
    file.close()
    assert (tmp_path / "moved").read_text() == "one\n"
    assert (tmp_path / "info.log").read_text() == "three\n"


def small_pipe():
    """A pipe that is full after 4096 octets, whose reader does not read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def drain(reader):
    """Read a pipe to its end."""
    return b"".join(iter(lambda: os.read(reader, 65536), b""))


async def test_f41_a_blocked_stream_stops_no_task():
    """
    The loop goes on while nobody reads; debug and info are dropped and counted, warnings
    kept; once somebody reads, the log says how many are missing.
    """
    reader, writer = small_pipe()
    log = structlog.get_logger()
    logs = Logs(fd=writer, capacity=2000)
    logs.start()
    slowest = 0.0
    for number in range(5000):
        begun = time.perf_counter()
        log.info("filler", number=number)
        if number % 50 == 0:
            log.warning("kept", number=number)
            await asyncio.sleep(0)
        slowest = max(slowest, time.perf_counter() - begun)
    assert slowest < 0.5
    dropped = logs.dropped
    assert 1500 < dropped < 3500

    said = []
    reading = threading.Thread(target=lambda: said.append(drain(reader)))
    reading.start()
    logs.stop()
    os.close(writer)
    reading.join(LIMIT)
    os.close(reader)
    lines = [json.loads(line) for line in said[0].splitlines()]
    assert sum(line["event"] == "kept" for line in lines) == 100
    assert sum(line["event"] == "filler" for line in lines) == 5000 - dropped
    (told,) = [line for line in lines if line["event"] == "log_dropped"]
    assert (told["n"], told["level"]) == (dropped, "warning")


def test_warnings_wait_once_and_not_each():
    """With no room left even for them, the first waits 50 ms; while nothing moves none does."""
    reader, writer = small_pipe()
    logs = Logs(fd=writer, capacity=0)  # and 10,000 for warnings
    logs.start()
    log = structlog.get_logger()
    begun = time.monotonic()
    for number in range(12_000):
        log.warning("w", number=number)
    assert time.monotonic() - begun < LIMIT  # 50 ms for each would be ten minutes
    assert 0 < logs.dropped < 2000
    os.close(reader)  # the writer gets EPIPE, counts, and can end
    logs.stop()
    os.close(writer)


def test_a_blocked_stream_does_not_keep_the_process():
    """It is given two seconds for its last lines, and then the process ends."""
    reader, writer = small_pipe()
    script = (
        "import structlog\nfrom notifier.logs import Logs\n"
        f"Logs(fd={writer}).start()\n"
        "for n in range(500): structlog.get_logger().error('x', n=n)\n"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, pass_fds=[writer], timeout=LIMIT, check=False
    )
    assert done.returncode == 0
    assert time.monotonic() - begun > 1.5
    os.close(reader)
    os.close(writer)


CHILD = """
import os, signal, sys, structlog
from notifier.logs import Logs
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
Logs().start()
log = structlog.get_logger()
for number in range(300):
    log.info("line", number=number)
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise RuntimeError('end')", 1),
        ("sys.exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 3),
    ],
    ids=["return", "exception", "exit", "sigterm"],
)
def test_no_line_is_lost_when_the_process_ends(ending, code):
    """300 of 300 lines, however it ends, as long as it ends by itself."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + ending],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        timeout=LIMIT,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith(b"{")]
    assert [json.loads(line)["number"] for line in lines] == list(range(300))
    assert done.returncode == code


def test_lines_after_the_stop_are_written(tmp_path):
    """Whatever ends last may still have something to say."""
    path = tmp_path / "late"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    logs = Logs(fd=fd)
    logs.start()
    log = structlog.get_logger().bind()
    logs.stop()
    log.info("late")
    os.close(fd)
    assert json.loads(path.read_text())["event"] == "late"


def test_a_stream_that_is_closed_is_no_trouble(tmp_path):
    """Nobody is there to read: lines are counted as dropped, and nothing else happens."""
    reader, writer = os.pipe()
    os.close(reader)
    logs = Logs(fd=writer)
    logs.start()
    structlog.get_logger().error("x")
    until(lambda: logs.dropped)
    logs.stop()
    os.close(writer)
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


def struck_out(lines):
    return lines.replace(b"ann@example.org", b"erased-0123")


class TestRewriting:
    def test_every_file_is_changed_and_nothing_else(self, tmp_path):
        """Rotated files, too, and a last line that is not whole; those without the word stay."""
        said = {
            "info.log": b"one\nof ann@example.org\n",
            "info.log.1": b"ann@example.org",
            "error.log": b"bob@example.org\n",
            "info.log.2.gz": b"ann@example.org",
            "info.log.1.rewritten": b"left by a process that died\n",
            "other.txt": b"ann@example.org\n",
        }
        for name, text in said.items():
            (tmp_path / name).write_bytes(text)
        untouched = (tmp_path / "error.log").stat().st_ino
        assert rewrite(tmp_path, struck_out) == Rewritten(2, ("info.log.2.gz",))
        del said["info.log.1.rewritten"]
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            **said,
            "info.log": b"one\nof erased-0123\n",
            "info.log.1": b"erased-0123",
        }
        assert (tmp_path / "error.log").stat().st_ino == untouched

    def test_no_line_is_lost_while_the_log_is_written_on(self, tmp_path):
        """Lines that are logged meanwhile are there, each once, also where files are rotated."""
        file = RotatedFile(tmp_path / "info.log", largest=20_000, kept=100)
        wanted = 20_000
        over = threading.Event()

        def write():
            for number in range(wanted):
                file.write(b"%d ann@example.org\n" % number)
            over.set()

        writer = threading.Thread(target=write)
        writer.start()
        passes = 0
        while not over.is_set():
            rewrite(tmp_path, struck_out)
            passes += 1
        writer.join()
        rewrite(tmp_path, struck_out)
        file.close()
        order = sorted(
            tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:].replace("log", "0"))
        )
        lines = b"".join(path.read_bytes() for path in order).splitlines()
        assert sorted(lines, key=lambda line: int(line.split()[0])) == [
            b"%d erased-0123" % number for number in range(wanted)
        ]
        assert passes > 1
