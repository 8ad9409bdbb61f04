"""
The log: set up once, for our lines (structlog) and those of libraries (logging).

A line is rendered where it is logged and put into a queue; a thread writes it. So a call takes some
microseconds, never waits for a disk or a pipe, and is no point where a task can be cancelled.

`redaction` strikes out addresses, contents and secrets; `writer` is the queue and its thread;
`files` are rotated files, one for each level, and `rewriting` changes what stands in them already.
"""

import atexit
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec
import structlog

from notifier.logs.files import Files
from notifier.logs.redaction import escape_controls, redact, shorten
from notifier.logs.writer import CAPACITY, Line, Writer

__all__ = ["Logs", "shorten"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Libraries whose lines repeat those of the service.
TALKATIVE = (
    "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "aiosmtpd", "httpx2", "mail.log",
)  # fmt: skip

Event: TypeAlias = MutableMapping[str, Any]

_encoder = msgspec.json.Encoder(enc_hook=str)


class Logs:
    """
    Between `start` and `stop` every line goes to the stream `fd` and to the files in `directory`.
    `stop` writes what is left; the end of the interpreter calls it, too.
    """

    def __init__(
        self,
        *,
        level: str = "info",
        format: str = "auto",
        directory: str | None = None,
        fd: int = 2,
        capacity: int = CAPACITY,
    ) -> None:
        """`format`: console, json, or auto. Raises ConfigurationError."""
        self._level = LEVELS[level]
        self._console = format == "console" or (format == "auto" and os.isatty(fd))
        self._colours = self._console and os.isatty(fd)
        self._files = Files(Path(directory)) if directory else None
        self._render = self._renderer()
        self._writer = Writer(
            fd, files=self._files, dropped_line=self._dropped_line, capacity=capacity
        )
        self._handler = _Handler()

    @property
    def dropped(self) -> int:
        """Lines dropped so far, because the stream was not read fast enough."""
        return self._writer.dropped

    def start(self) -> None:
        structlog.configure(
            processors=[self._finish],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            logger_factory=lambda *_: _QueueLogger(self._writer),
            cache_logger_on_first_use=True,
        )
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        for name in TALKATIVE:
            quiet = logging.DEBUG if self._level == logging.DEBUG else logging.WARNING
            logging.getLogger(name).setLevel(max(self._level, quiet))
        logging.captureWarnings(True)
        atexit.register(self.stop)
        self._writer.start()

    def stop(self) -> None:
        atexit.unregister(self.stop)
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._handler)
        self._writer.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _finish(
        self, logger: Any, method: str, event: Event
    ) -> tuple[tuple[bytes, bytes], dict[str, Any]]:
        """Make a line. It is one processor, because each costs half a microsecond a message."""
        event["level"] = method
        _add_timestamp(logger, method, event)
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        return self._render(redact(logger, method, event)), {}

    def _renderer(self) -> Callable[[Event], tuple[bytes, bytes]]:
        """Renders a line for the stream and one for the files, which are always JSON."""
        if not self._console:
            return _twice_json
        console = structlog.dev.ConsoleRenderer(
            colors=self._colours,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
        filed = self._files is not None

        def render(event: Event) -> tuple[bytes, bytes]:
            json_line = to_json(event) if filed else b""
            text = str(console(None, "", escape_controls(event)))
            return text.encode(errors="backslashreplace") + b"\n", json_line

        return render

    def _dropped_line(self, lines: int) -> Line:
        event = {"n": lines, "event": "log_dropped", "level": "warning"}
        return Line(logging.WARNING, *self._render(_add_timestamp(None, "", event)))


class _QueueLogger:
    """The logger below structlog: puts rendered lines into the queue of the writer."""

    def __init__(self, writer: Writer) -> None:
        self._put = writer.put

    def debug(self, text: bytes, filed: bytes) -> None:
        self._put(Line(logging.DEBUG, text, filed))

    def info(self, text: bytes, filed: bytes) -> None:
        self._put(Line(logging.INFO, text, filed))

    def warning(self, text: bytes, filed: bytes) -> None:
        self._put(Line(logging.WARNING, text, filed))

    def error(self, text: bytes, filed: bytes) -> None:
        self._put(Line(logging.ERROR, text, filed))

    critical = error


class _Handler(logging.Handler):
    """Passes lines that libraries log through `logging` to structlog, which redacts them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage().rstrip()
        except Exception:  # noqa: BLE001 - a library's broken line must not break its caller
            event = to_json({"msg": record.msg, "args": record.args}).decode()
        structlog.get_logger().log(
            _rounded(record.levelno),
            "%s",
            event,
            logger=record.name,
            exc_info=record.exc_info or None,
        )


def _rounded(level: int) -> int:
    return min(max(level // 10 * 10, logging.DEBUG), logging.CRITICAL)


def _add_timestamp(_logger: Any, _method: str, event: Event) -> Event:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    event["timestamp"] = f"{_whole(seconds)}.{nanoseconds // 1_000_000:03}+00:00"
    return event


@lru_cache(maxsize=1)
def _whole(seconds: int) -> str:
    """Date and time; formatted once for all lines of a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _twice_json(event: Event) -> tuple[bytes, bytes]:
    line = to_json(event)
    return line, line


def to_json(event: Event) -> bytes:
    """One line of JSON, whatever the event holds: logging must never fail."""
    event = {"timestamp": "", "level": "", "event": "", **event}  # these go first
    try:
        return _encoder.encode(event) + b"\n"
    except Exception:  # noqa: BLE001 - lone surrogates, or an object whose str() raises
        return json.dumps({str(key): _safe(value) for key, value in event.items()}).encode() + b"\n"


def _safe(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - see above
        return "".join(traceback.format_exc(limit=0)).strip()
