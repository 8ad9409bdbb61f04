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
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import uvicorn

from notifier import __version__, tracing
from notifier.errors import ConfigurationError, JournalFailure, JournalInUse, NotifierError
from notifier.intake.admission import FALLBACK_SENDER, NO_SENDER
from notifier.journal import Journal
from notifier.logs import Logs
from notifier.server import descriptors
from notifier.server.protocol import Client, Connections, look_at
from notifier.server.sockets import CannotListen, bound, url_of
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.smtp.remedies import LOGIN_IN_CLEAR
from notifier.web.app import create_app

GC_THRESHOLD = (50_000, 20, 50)  # new objects before a collection, and of which age
M_MMAP_THRESHOLD = -3  # mallopt(3)
LARGE_BLOCK = 1024 * 1024  # octets
REQUEST_SECONDS = 2  # given to requests under way when we stop; their clients can repeat them
CLOSE_SECONDS = 5.0  # given to the parts to close, beyond the grace
START_SECONDS = 2.0  # given to a start that is broken off; nothing has been sent yet
SPANS_SECONDS = 3.0  # given to the last spans, or the grace if that is less

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Run until a signal or the journal's end. Raises NotifierError."""
    faulthandler.enable()
    _give_large_blocks_back()
    service = prepared(settings)
    try:
        listeners = bound(settings.host, settings.port)
    except CannotListen:
        if Path(settings.data_dir).exists():  # nobody is at a journal that would have to be made
            asyncio.run(_tell_whether_in_use(service.journal))
        raise
    logs = Logs(level=settings.log_level, format=settings.log_format, directory=settings.log_dir)
    with logs:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(Life(service, listeners, logs).run())
        except NotifierError:
            raise
        except Exception:
            log.exception("crashed")
            sys.exit(1)
        log.info("stopped")


def _give_large_blocks_back() -> None:
    """
    Large messages leave no memory behind. After the first large block that is freed, glibc takes
    the next ones from its heaps, where holes stay: unless it is told not to.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


async def _tell_whether_in_use(journal: Journal) -> None:
    """
    Who has our port may be a server on our journal: that is the more telling fault. Raises
    JournalInUse.
    """
    try:
        await journal.open()
    except JournalInUse:
        raise
    except NotifierError:
        return
    await journal.close()


def prepared(settings: Settings) -> Notifier:
    """The service, before it is opened. Raises ConfigurationError with all that is wrong."""
    faults: list[str] = []
    service = None
    keys_exist = settings.keys_file.exists()
    try:
        service = Notifier(settings)
        keys_exist = service.keys.configured
    except ConfigurationError as error:
        faults += error.faults
    try:
        settings.check_access(keys_exist=keys_exist)
    except ConfigurationError as error:
        faults += error.faults
    if faults or service is None:
        raise ConfigurationError(*faults)
    return service


def faults_of(settings: Settings) -> Sequence[str]:
    """What keeps these settings from being served."""
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
    """uvicorn, without its ways of being stopped and its word on where it listens."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are in place all the time; uvicorn's would raise the signal again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # two that were started together
            raise CannotListen(f"NOTIFIER_PORT: cannot listen: {error.strerror}") from error
        for listener in sockets or ():
            log.info("listening", url=url_of(listener))

    async def on_tick(self, counter: int) -> bool:
        look_at(self.server_state.connections, asyncio.get_running_loop().time(), counter)
        return await super().on_tick(counter)


class Life:
    """
    What happens between start and end. The first SIGTERM or SIGINT drains: nothing more is
    accepted, what is under way is finished; a start is broken off. A second SIGINT ends it at
    once, which costs no more than a crash does.
    """

    def __init__(self, service: Notifier, listeners: Sequence[socket.socket], logs: Logs) -> None:
        self._service = service
        self._settings = service.settings
        self._listeners = list(listeners)
        self._logs = logs
        self._server: Server | None = None
        self._open = False  # the service is
        self._stopping = asyncio.Event()
        self._fatal: BaseException | None = None

    async def run(self) -> None:
        """Raises NotifierError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        log.info("starting", version=__version__, pid=os.getpid())
        self._tell_access()
        self._tell_senders()
        self._warn_of_clear_logins()
        if spans := tracing.begin(os.environ, self._settings.relays):
            self._service.trace(spans)
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
        """Open the service. False: we were told to stop before, and nothing of it is left."""
        # A task, so that it can be broken off. We wait for it, and hear if it fails.
        opening = asyncio.create_task(self._service.__aenter__(), name="open")
        told = asyncio.create_task(self._stopping.wait(), name="told")
        await asyncio.wait({opening, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening}, timeout=START_SECONDS)
            if not opening.done():
                log.error("not_closed", seconds=START_SECONDS)
                self._leave(0)
            if opening.cancelled():
                return False
            if error := opening.exception():  # of what was being broken off
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
        app = create_app(self._service, log_drops=lambda: self._logs.dropped)
        # What exists now stays for good. Without this the collector goes through all of it
        # again and again under load, a tenth of what a message costs.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        limit = descriptors.raise_limit()
        Client.among = Connections(descriptors.connections(limit, self._settings.relays))
        self._server = Server(
            uvicorn.Config(
                app,
                http=Client,
                backlog=descriptors.backlog(limit),
                timeout_keep_alive=math.ceil(self._settings.keep_alive),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                workers=1,  # each would have a journal of its own
                timeout_graceful_shutdown=REQUEST_SECONDS,
            )
        )
        await self._server.serve(self._listeners)

    def _tell_access(self) -> None:
        settings = self._settings
        if self._service.keys.configured:
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

    def _tell_senders(self) -> None:
        """What a message gets by default that its sender may not expect."""
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
            self._server.should_exit = True

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
        """Without waiting for threads and tasks, which may hang. The journal is made for it."""
        self._logs.stop()
        os._exit(code)
