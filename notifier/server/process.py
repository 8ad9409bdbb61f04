"""`notifier serve`: the service and its web server in one process, from start to end."""

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from notifier import __version__, tracing
from notifier.errors import ConfigurationError, JournalFailure, JournalInUse, NotifierError
from notifier.intake.admission import FALLBACK_SENDER, NO_SENDER
from notifier.journal import Journal
from notifier.logs import Logs
from notifier.server import descriptors
from notifier.server.imports import hidden
from notifier.server.protocol import CHECK_TICKS, Client, ConnectionLimit, check_some
from notifier.server.sockets import CannotListen, bound, url_of
from notifier.service import Notifier
from notifier.settings import Settings, check_access
from notifier.smtp.remedies import LOGIN_IN_CLEAR
from notifier.web.api.message_json import render
from notifier.web.app import create_app

if TYPE_CHECKING:  # loaded where mail is taken by SMTP
    from notifier.submission_agent import Agent

TICK_SECONDS = 0.1  # between two looks at the connections
GC_THRESHOLD = (50_000, 20, 50)  # allocations before a collection of each generation
COLLECT_SECONDS = 0.5  # after the start, so that it does not delay the first answers
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # options of mallopt(3)
LARGE_BLOCK = 4 * 1024 * 1024  # octets
KEPT_BYTES = 8 * 1024 * 1024  # free at the end of a heap
REQUEST_SECONDS = 2  # for open requests at the end; clients can repeat them
CLOSE_SECONDS = 5.0  # for the parts to close, after the grace
START_SECONDS = 2.0  # for a start that is broken off to end; nothing has been sent yet
SPANS_SECONDS = 3.0  # for the last spans; the grace if that is less

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Run until a signal, or until the journal fails. Raises NotifierError."""
    faulthandler.enable()
    _return_large_blocks()
    service = prepared(settings)
    try:
        listeners = bound(settings.host, settings.port)
    except CannotListen:
        if Path(settings.data_dir).exists():  # a journal that is not there is not in use
            asyncio.run(_report_journal_in_use(service.journal))
        raise
    logs = Logs(level=settings.log_level, format=settings.log_format, directory=settings.log_dir)
    with logs:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(ServerProcess(service, listeners, logs).run())
        except NotifierError:
            raise
        except Exception:
            log.exception("crashed")
            sys.exit(1)
        log.info("stopped")


def _return_large_blocks() -> None:
    """
    Keep glibc from holding the memory of large messages. Once a large block has been freed, glibc
    takes the next ones from its heaps, where holes stay, unless the threshold is fixed. What is
    given back costs a page fault for each page when it is asked for again, half the CPU of a
    message of 1 MB. So smaller blocks stay, and a few megabytes of each heap.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _begin_collecting() -> None:
    """
    Turn the garbage collector on, without what lives until the end. It would look at these objects
    again and again under load, which takes a tenth of a message's time. It stays off until now,
    because it would begin with all that the start has made.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    gc.enable()


async def _report_journal_in_use(journal: Journal) -> None:
    """
    If a server with our journal holds the port, report that: it explains more than the port.
    Raises JournalInUse.
    """
    try:
        await journal.open()
    except JournalInUse:
        raise
    except NotifierError:
        return
    await journal.close()


def prepared(settings: Settings) -> Notifier:
    """The service, not yet open. Raises ConfigurationError with every fault."""
    faults: list[str] = []
    service = None
    keys_exist = settings.keys_file.exists()
    try:
        service = Notifier(settings, show=render)
        keys_exist = service.keys.configured
    except ConfigurationError as error:
        faults += error.faults
    try:
        check_access(settings, keys_exist=keys_exist)
    except ConfigurationError as error:
        faults += error.faults
    if faults or service is None:
        raise ConfigurationError(*faults)
    return service


def faults_of(settings: Settings) -> Sequence[str]:
    """The faults by which these settings cannot be served."""
    try:
        prepared(settings)
    except ConfigurationError as error:
        return error.faults
    return ()


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, its log line, and its ticks at rest."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `ServerProcess`; uvicorn would raise the signal again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # another process took the port meanwhile
            raise CannotListen(f"NOTIFIER_PORT: cannot listen: {error.strerror}") from error
        for listener in sockets or ():
            log.info("listening", url=url_of(listener))

    async def main_loop(self) -> None:
        """Tick ten times a second while there are connections, and once a second at rest."""
        tick = 0
        while not await self.on_tick(tick):
            busy = bool(self.server_state.connections)
            # uvicorn renews the Date where a number of ten ticks is whole.
            tick += 1 if busy else CHECK_TICKS - tick % CHECK_TICKS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if busy else TICK_SECONDS * CHECK_TICKS):
                    await self._stopping.wait()

    async def on_tick(self, counter: int) -> bool:
        check_some(self.server_state.connections, asyncio.get_running_loop().time(), counter)
        return await super().on_tick(counter)

    def stop(self) -> None:
        """Finish the requests under way, and end."""
        self.should_exit = True
        self._stopping.set()


class ServerProcess:
    """
    The service and its HTTP server from start to end. The first SIGTERM or SIGINT drains: nothing
    more is accepted, and what is being sent is finished; a start is broken off. A second SIGINT
    ends the process at once, which the journal survives like any crash.
    """

    def __init__(self, service: Notifier, listeners: Sequence[socket.socket], logs: Logs) -> None:
        self._service = service
        self._settings = service.settings
        self._listeners = list(listeners)
        self._logs = logs
        self._server: Server | None = None
        self._agent: Agent | None = None
        self._open = False  # the service is
        self._stopping = asyncio.Event()
        self._fatal: BaseException | None = None

    async def run(self) -> None:
        """Raises NotifierError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        log.info("starting", version=__version__, pid=os.getpid())
        self._log_access()
        self._log_defaults()
        self._warn_of_clear_logins()
        if spans := tracing.begin(os.environ, self._settings.relays):
            self._service.trace_with(spans)
        try:
            if await self._opened():
                await self._serve()
        finally:
            if spans is not None and self._fatal is None:
                seconds = min(SPANS_SECONDS, self._settings.grace)
                await asyncio.to_thread(spans.close, seconds)
        if self._fatal is not None:
            raise JournalFailure(f"the journal is lost: {self._fatal}") from self._fatal

    async def _opened(self) -> bool:
        """Open the service. False: a signal came first, and nothing is left open."""
        # A task, so that a signal can cancel it.
        opening = asyncio.create_task(self._service.__aenter__(), name="open")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening}, timeout=START_SECONDS)
            if not opening.done():
                log.error("not_closed", seconds=START_SECONDS)
                self._leave(0)
            if opening.cancelled():
                return False
            if error := opening.exception():  # of the start that was cancelled
                log.warning("start_failed", reason=str(error))
                return False
        await opening
        self._open = True
        return True

    async def _serve(self) -> None:
        watching = self._service.supervisor.start(
            "watch", self._watch, over=lambda: self._fatal is not None
        )
        try:
            if not self._stopping.is_set():
                await self._answer()
        finally:
            watching.cancel()
            await self._close()

    async def _answer(self) -> None:
        with contextlib.suppress(NotifierError):  # the service says so
            await self._service.audit.note_start(self._settings)
        if self._stopping.is_set():  # meanwhile; from here on the server may be asked to stop
            return
        # Litestar has plugins for their classes, of which we have none: 10 ms, and 85 and 10 MB.
        with hidden("attr", "pydantic"):
            app = create_app(self._service, log_drops=lambda: self._logs.dropped)
        asyncio.get_running_loop().call_later(COLLECT_SECONDS, _begin_collecting)
        limit = descriptors.raise_limit()
        Client.connection_limit = ConnectionLimit(
            descriptors.connections(
                limit, self._settings.relays, smtp=bool(self._settings.smtp_listen)
            )
        )
        self._server = Server(
            uvicorn.Config(
                app,
                http=Client,
                backlog=descriptors.backlog(limit),
                timeout_keep_alive=math.ceil(self._settings.keep_alive),
                ws="none",
                lifespan="off",  # ours is `run`; Litestar's would start its events, which we lack
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                workers=1,  # each further worker would need a journal of its own
                timeout_graceful_shutdown=REQUEST_SECONDS,
            )
        )
        async with self._submission_agent():
            await self._server.serve(self._listeners)

    @contextlib.asynccontextmanager
    async def _submission_agent(self) -> AsyncIterator[None]:
        """Take mail by SMTP meanwhile, if that is configured."""
        if not self._settings.smtp_listen:
            yield
            return
        from notifier.submission_agent import Agent

        async with Agent(self._service) as self._agent:
            if self._stopping.is_set():
                self._agent.stop()
            yield

    def _log_access(self) -> None:
        settings = self._settings
        if settings.sign_in_header:
            log.info("sign_in_by_proxy", header=settings.sign_in_header)
        if self._service.keys.configured or settings.sign_in_header:
            return
        if settings.anonymous == "anywhere":
            log.warning(
                "anonymous_anywhere",
                host=settings.host,
                why="there is no API key, so anyone who reaches this address may send and read;"
                " make one with `notifier keys add`",
            )
        else:
            log.info("anonymous", host=settings.host, why="there is no API key")

    def _warn_of_clear_logins(self) -> None:
        for relay in self._settings.relays:
            if relay.login_in_clear:
                log.warning("login_in_clear", relay=relay.name, why=LOGIN_IN_CLEAR)

    def _log_defaults(self) -> None:
        """Log the defaults that an operator may not expect."""
        settings = self._settings
        if self._service.transports.zero_configuration and settings.default_from is None:
            log.info("default_sender", sender=FALLBACK_SENDER, why=NO_SENDER)
        if settings.sms_provider is not None and not settings.sms_countries:
            log.info(
                "texts_to_every_country",
                why="NOTIFIER_SMS_COUNTRIES is not set, so every key without countries of its own"
                " may text to every country",
            )

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set() and number == signal.SIGINT:
            log.warning("cut_short", signal=number.name)
            self._leave(1)
        log.info("draining", signal=number.name)
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        if self._open:
            self._service.drain()
        if self._server is not None:
            self._server.stop()
        if self._agent is not None:
            self._agent.stop()

    async def _watch(self) -> None:
        self._fatal = await self._service.failed()
        log.critical("journal_io_error", reason=str(self._fatal))
        self._stop()

    async def _close(self) -> None:
        grace = 0.0 if self._fatal else self._settings.grace
        try:
            async with asyncio.timeout(grace + CLOSE_SECONDS):
                await self._service.__aexit__(None, None, None)
        except TimeoutError:
            log.error("not_closed", seconds=grace + CLOSE_SECONDS)  # noqa: TRY400 - no more to tell
            self._leave(1 if self._fatal is None else 74)
        except Exception:
            if self._fatal is None:
                raise
            log.exception("not_closed")

    def _leave(self, code: int) -> None:
        """Exit without waiting for threads and tasks, which may hang. The journal survives it."""
        self._logs.stop()
        os._exit(code)
