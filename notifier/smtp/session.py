"""One connection to a relay: write commands, and wait for their replies."""

import asyncio
import contextlib
import socket
import ssl
from typing import Any, cast

from msgspec import Struct

from notifier.smtp.replies import CLOSING, Reply, ReplyReader

PIECE = 64 * 1024  # octets of a content that a transport is given at a time
# Linux's; it holds until the kernel changes its mind, so it is said anew each time. tcp(7)
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Timeouts(Struct, frozen=True, kw_only=True):
    """
    Seconds that a relay may take at each stage: those of RFC 5321, section 4.5.3.2, or less if
    giving up early cannot make a second copy. At the dot it can, so a relay gets ten minutes there.
    """

    connect: float = 10.0  # name and TCP together
    greeting: float = 30.0
    tls: float = 30.0
    ehlo: float = 30.0
    auth: float = 30.0
    mail: float = 60.0
    rcpt: float = 60.0
    data: float = 120.0
    block: float = 180.0  # without the relay taking a single octet of the content
    dot: float = 600.0
    rset: float = 5.0
    quit: float = 2.0
    idle: float = 30.0  # that a connection is kept without being used


USUAL_TIMEOUTS = Timeouts()


class Features(Struct, frozen=True, kw_only=True):
    """The relay's EHLO keywords that matter here."""

    pipelining: bool = False  # RFC 2920
    smtputf8: bool = False  # RFC 6531
    dsn: bool = False  # RFC 3461
    size: int | None = None  # octets at most, RFC 1870; 0: no limit; None: not offered


class Breach(Struct, frozen=True):
    """Why a connection cannot be used any more."""

    name: str  # of the fault
    reason: str


class Session(asyncio.Protocol):
    """
    Gets replies in the order of the commands, or breaks: an unexpected reply, or anything that is
    not a reply, ends the session at once.

    It never closes politely with content unsent, because a closing socket would go on sending, and
    nobody would know of the copy.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.features = Features()
        self.timeouts = timeouts
        self.opening: tuple[str, ...] = ()  # the conversation so far; told with the first message
        self.carried = 0  # messages
        self.taken = 0  # of those, that the relay accepted for somebody
        self.idle_since = 0.0
        self.unclean = False  # an envelope may still be open over there
        self.breach: Breach | None = None
        self.unsent = 0  # octets, at least, that had not left us when it broke
        self._transport: asyncio.Transport
        self._below: asyncio.Transport  # the transport under TLS; without TLS the same one
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._seconds_each = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._content: bytes | memoryview = b""  # what the transport has not been given yet
        self._paused = False  # the transport keeps what the kernel does not take
        self._left = 0  # octets not taken by the relay when last looked at, while uploading
        self._parting: asyncio.Future[None] | None = None
        # The greeting may be here before anybody waits for it.
        self._replies: list[Reply] = []
        self._wanted = 1
        self._waiter: asyncio.Future[None] | None = self._loop.create_future()

    # ------------------------------------------------------------------ calls

    async def greeting(self, seconds: float) -> list[Reply]:
        """Wait for what a relay says first. RFC 5321, section 3.1."""
        if self._waiter is None:
            return self._replies
        self._expect(seconds)
        return await self._answered(self._waiter)

    async def protect(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """
        Go on under TLS. Raises OSError, of which TimeoutError and SSLError are kinds. What the
        relay said before does not count afterwards. RFC 3207, section 4.2.
        """
        async with asyncio.timeout(seconds):
            transport = await self._loop.start_tls(
                self._below,
                self,
                context,
                server_hostname=host,
                ssl_handshake_timeout=2 * seconds,  # ours comes first, and has its own name
            )
        if transport is None:
            raise ConnectionResetError
        self._transport = transport
        # Not 0: there a transport of TLS pauses and resumes at each write.
        transport.set_write_buffer_limits(high=1, low=0)

    def about(self, what: str) -> Any:
        """What the transport knows about itself, such as the relay's certificate."""
        return self._transport.get_extra_info(what)

    async def ask(self, data: bytes, count: int, seconds: float) -> list[Reply]:
        """
        Write, and wait for `count` replies, each within `seconds`. There are fewer if the last of
        them is 421, or if the session broke: see `breach`.
        """
        if self.breach is not None:
            return []
        self._left = 0
        waiter = self._begin(count, seconds, seconds)
        self._transport.write(data)
        return await self._answered(waiter)

    async def upload(self, data: bytes) -> Reply | None:
        """
        Write content, and wait for the reply to its dot. None: the session broke. Only if `unsent`
        is not 0 is it certain that the relay has not got the content.
        """
        if self.breach is not None:
            self.unsent = len(data)
            return None
        self._left = len(data)
        timeouts = self.timeouts
        first = min(timeouts.block, timeouts.dot)
        waiter = self._begin(1, first, timeouts.dot)
        self._content = data if len(data) <= PIECE else memoryview(data)
        self._write_on()
        replies = await self._answered(waiter)
        if not replies:
            return None
        if self.left or self.unsent:
            self.fail("early_reply", f"before it had all: {replies[0].line}")
            # Nobody can accept content that was not sent: the reply belongs to something else.
            return None if replies[0].positive else replies[0]
        return replies[0]

    def _begin(self, count: int, first: float, each: float) -> asyncio.Future[None]:
        """Prepare for this many replies: the first within `seconds`, then each within `each`."""
        self._replies = []
        self._wanted = count
        self._seconds_each = each
        self._waiter = waiter = self._loop.create_future()
        self._expect(first)
        return waiter

    async def _answered(self, waiter: asyncio.Future[None]) -> list[Reply]:
        replies = self._replies
        try:
            await waiter
        except asyncio.CancelledError:
            self._waiter = None
            self.fail("aborted", "we were told to stop")
            raise
        return replies

    def _write_on(self) -> None:
        """
        Give the transport more as long as the kernel takes all of it. What the transport holds is
        gone when the connection is lost, and nobody can say how much it was; what is held here has
        certainly not been sent.
        """
        while self._content and not self._paused:
            self._transport.write(self._content[:PIECE])
            if self._below.is_closing():  # it has taken nothing of this piece
                return
            self._content = self._content[PIECE:]

    @property
    def left(self) -> int:
        """Octets that have certainly not been sent."""
        left = len(self._content)
        if self._below.is_closing():  # the transport has dropped what it held
            return left + self._paused
        left += self._below.get_write_buffer_size()
        if self._transport is not self._below:
            left += self._transport.get_write_buffer_size()
        return left

    def fail(self, name: str, reason: str) -> None:
        """Break the connection, and wake the caller that waits for a reply."""
        if self.breach is None:
            self._break(Breach(name, reason))
            self._transport.abort()
        self._wake()

    def _break(self, breach: Breach) -> None:
        self.breach = breach
        self.unsent = self.left
        self._content = b""
        self._stop_timer()

    def part(self) -> asyncio.Future[None]:
        """Send QUIT, and close the connection once it is answered, or soon."""
        parting = self._parting = self._loop.create_future()
        if self.breach is not None:
            parting.set_result(None)
        else:
            self.breach = Breach("parted", "we have left")
            self._transport.write(b"QUIT\r\n")
            self._stop_timer()
            self._timer = self._loop.call_later(self.timeouts.quit, self._transport.abort)
        return parting

    # ------------------------------------------------------------------ events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._below = cast(asyncio.Transport, transport)
        # So that `pause_writing` means that there is anything at all left with us.
        self._below.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._write_on()

    def data_received(self, data: bytes) -> None:
        if self.breach is not None:
            if self._parting is not None:
                self._transport.abort()
            return None
        replies = self._reader.feed(data)
        if self._waiter is None:
            if not replies or replies[0].code != CLOSING:
                return self.fail(
                    "stray_reply",
                    f"a reply that we did not ask for: {_said(replies, self._reader)}",
                )
            return self.fail("closing", replies[0].line)
        got = self._replies
        got += replies
        if len(got) == self._wanted and self._reader.between:
            return self._wake()
        return self._unusual(got)

    def _unusual(self, got: list[Reply]) -> None:
        closing = next((at for at, reply in enumerate(got) if reply.code == CLOSING), None)
        if closing is not None and closing < self._wanted:
            del got[closing + 1 :]
            return self.fail("closing", got[closing].line)
        if len(got) > self._wanted or (len(got) == self._wanted and not self._reader.between):
            stray = _said(got[self._wanted :], self._reader)
            del got[self._wanted :]
            return self.fail("stray_reply", f"a reply that we did not ask for: {stray}")
        if self._reader.malformed:
            return self.fail("malformed_reply", self._reader.malformed)
        if got:
            self._deadline = self._loop.time() + self._seconds_each
        self._acknowledge()
        return None

    def _acknowledge(self) -> None:
        """
        Acknowledge the replies that arrived. A relay that writes them one by one (Nagle's
        algorithm, RFC 896) sends the next one only then; the kernel would wait for 40 ms.
        """
        if QUICKACK is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._below.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    def eof_received(self) -> bool:
        self.fail("connection_lost", "the relay closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        why = f": {exc}" if exc is not None else ""
        if self.breach is None:
            self._break(Breach("connection_lost", f"the connection was lost{why}"))
        self._stop_timer()
        self._wake()
        if self._parting is not None and not self._parting.done():
            self._parting.set_result(None)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ------------------------------------------------------------------ time

    def _expect(self, seconds: float) -> None:
        """
        Set the time limit of what comes next. A timer that fires early enough stays and looks again
        then, so that hardly any message costs a timer.
        """
        self._deadline = deadline = self._loop.time() + seconds
        timer = self._timer
        if timer is None:
            self._timer = self._loop.call_at(deadline, self._tick)
        elif timer.when() > deadline:
            timer.cancel()
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._tick)
        elif self._left:
            self._look_at_upload()
        else:
            self.fail("timeout", "the relay does not answer")

    def _look_at_upload(self) -> None:
        """Extend the time as long as the relay takes content, then give the dot its own."""
        left = self.left
        if left >= self._left:
            return self.fail("timeout", "the relay has stopped reading")
        self._left = left
        spent = min(self.timeouts.block, self._seconds_each)
        return self._expect(self.timeouts.block if left else max(self._seconds_each - spent, 0.0))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _said(replies: list[Reply], reader: ReplyReader) -> str:
    return replies[0].line if replies else reader.malformed or "a part of a reply"
