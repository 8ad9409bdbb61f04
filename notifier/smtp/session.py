"""One connection to a relay: writes commands, and waits for their replies."""

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from notifier.smtp.replies import CLOSING, Reply, ReplyReader

if TYPE_CHECKING:
    from notifier.smtp.transaction import Transaction
    from notifier.smtp.turns import Turn

PIECE = 64 * 1024  # octets of content that the transport gets at a time
TLS_OVERHEAD = 256  # octets, at most, that TLS adds to a few kilobytes
# Linux only. The kernel may reset it, so it is set again each time. tcp(7)
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
    eight_bit: bool = False  # RFC 6152
    dsn: bool = False  # RFC 3461
    size: int | None = None  # octets at most, RFC 1870; 0: no limit; None: not offered


class Answer(Struct):
    """The replies to commands that were sent together, as far as they have arrived."""

    wanted: int
    seconds: float  # the time limit of each
    waiter: asyncio.Future[None]  # done when all have arrived, or when no more will come
    replies: list[Reply] = []


class Breach(Struct, frozen=True):
    """Why a connection cannot be used any more."""

    name: str  # the name of the fault
    reason: str


class Session(asyncio.Protocol):
    """
    Gets replies in the order of the commands, or breaks: an unexpected reply, or anything that is
    not a reply, ends the session at once.

    It never closes politely with content unsent, because a closing socket would go on sending, and
    nobody would know of the copy.

    Commands of the next message may go ahead behind a content. They are answered after its dot.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.features = Features()
        self.timeouts = timeouts
        self.opening: tuple[str, ...] = ()  # the conversation so far; shown with the first message
        self.carried = 0  # messages
        self.taken = 0  # of those, that the relay accepted for at least one recipient
        self.idle_since = 0.0
        self.follower: tuple[Turn, Transaction] | None = None  # whose commands have gone ahead
        self.unclean = False  # an envelope may still be open over there
        self.breach: Breach | None = None
        self.unsent = 0  # octets, at least, that had not been sent when it broke
        self._transport: asyncio.Transport
        self._below: asyncio.Transport  # the transport below TLS; without TLS the same one
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._content: bytes | memoryview = b""  # content that the transport has not got yet
        self._paused = False  # the transport keeps what the kernel does not take
        self._left = 0  # octets not taken by the relay when last looked at, while uploading
        self._parting: asyncio.Future[None] | None = None
        # The greeting may arrive before anybody waits for it.
        self._answer: Answer | None = Answer(1, 0.0, self._loop.create_future())
        self._greeting = self._answer
        self._ahead: Answer | None = None  # to the commands that follow the content
        self._ahead_octets = (
            0  # octets, at most, of the commands behind the content: they are not content
        )

    # ------------------------------------------------------------------ calls

    async def greeting(self, seconds: float) -> list[Reply]:
        """Wait for the relay's greeting. RFC 5321, section 3.1."""
        if self._answer is not None:
            self._expect(seconds)
        await self._greeting.waiter
        return self._greeting.replies

    async def protect(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """
        Start TLS. Raises OSError, of which TimeoutError and SSLError are kinds. Replies from before
        do not count afterwards. RFC 3207, section 4.2.
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
        # With 0, a transport of TLS would pause and resume at each write.
        transport.set_write_buffer_limits(high=1, low=0)

    def about(self, what: str) -> Any:
        """What the transport knows, such as the relay's certificate."""
        return self._transport.get_extra_info(what)

    async def ask(self, data: bytes, count: int, seconds: float) -> list[Reply]:
        """
        Write, and wait for `count` replies, each within `seconds`. There are fewer if the last of
        them is 421, or if the session broke: see `breach`. A caller that is cancelled must break
        the session, because the replies still come.
        """
        if self.breach is not None:
            return []
        self._left = 0
        self._answer = answer = Answer(count, seconds, self._loop.create_future())
        self._expect(seconds)
        self._transport.write(data)
        await answer.waiter
        return answer.replies

    def go_ahead(self, commands: bytes, count: int, seconds: float) -> Answer:
        """
        Have commands leave in one write with the content that is uploaded next, behind its dot.
        Returns their answer, which is complete when the dot and each of them is answered.
        """
        self._ahead = answer = Answer(count, seconds, self._loop.create_future())
        # Under TLS it is some octets more. RFC 8446, section 5.2.
        overhead = 0 if self._transport is self._below else TLS_OVERHEAD
        self._ahead_octets = len(commands) + overhead
        return answer

    async def upload(self, data: bytes, ahead: bytes = b"") -> Reply | None:
        """
        Write content, and behind it the commands for which there is a `go_ahead`; wait for the
        reply to its dot. None: the session broke. Only if `unsent` is not 0 is it certain that
        the relay has not got the content.
        """
        if self.breach is not None:
            self.unsent = len(data)
            return None
        self._left = len(data)
        timeouts = self.timeouts
        self._answer = answer = Answer(1, timeouts.dot, self._loop.create_future())
        self._expect(min(timeouts.block, timeouts.dot))
        if ahead:
            data += ahead
        else:
            self._ahead_octets = 0
        self._content = data if len(data) <= PIECE else memoryview(data)
        self._write_on()
        await answer.waiter
        if not (replies := answer.replies):
            return None
        # The message that has gone ahead continues after this one: nothing else is written before.
        held = self._paused or self._content or self._transport is not self._below
        if self.unsent or (held and self.left > self._ahead_octets):
            self.fail("early_reply", f"before it had all: {replies[0].line}")
            # A relay cannot accept content that was not sent: the reply belongs to something else.
            return None if replies[0].positive else replies[0]
        return replies[0]

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
        if self._below.is_closing():  # the transport has dropped its buffer
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
        self.unsent = max(0, self.left - self._ahead_octets)
        self._content = b""
        self._stop_timer()

    def part(self) -> asyncio.Future[None]:
        """Send QUIT, and close the connection once it is answered, or soon."""
        parting = self._parting = self._loop.create_future()
        if self.breach is not None:
            parting.set_result(None)
        else:
            self.breach = Breach("parted", "we have sent QUIT")
            self._transport.write(b"QUIT\r\n")
            self._stop_timer()
            self._timer = self._loop.call_later(self.timeouts.quit, self._transport.abort)
        return parting

    # ------------------------------------------------------------------ events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._below = cast(asyncio.Transport, transport)
        # So that `pause_writing` means that the transport has octets left.
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
        answer = self._answer
        if answer is None:
            if not replies or replies[0].code != CLOSING:
                return self.fail(
                    "stray_reply",
                    f"a reply to no command: {_said(replies, self._reader)}",
                )
            return self.fail("closing", replies[0].line)
        answer.replies += replies
        if len(answer.replies) == answer.wanted and self._reader.between:
            return self._complete(answer)
        return self._unusual(answer)

    def _complete(self, answer: Answer) -> None:
        """All replies are here: what went ahead is answered next."""
        self._answer, self._ahead = self._ahead, None
        if not answer.waiter.done():
            answer.waiter.set_result(None)
        if self._answer is not None:
            self._left = 0
            self._expect(self._answer.seconds)

    def _unusual(self, answer: Answer) -> None:
        got, wanted = answer.replies, answer.wanted
        codes = [reply.code for reply in got]
        if CLOSING in codes and (closing := codes.index(CLOSING)) < wanted:
            del got[closing + 1 :]
            return self.fail("closing", got[closing].line)
        if len(got) >= wanted and (ahead := self._ahead) is not None:
            ahead.replies += got[wanted:]
            del got[wanted:]
            self._complete(answer)
            if len(ahead.replies) == ahead.wanted and self._reader.between:
                return self._complete(ahead)
            return self._unusual(ahead)
        if len(got) > wanted or (len(got) == wanted and not self._reader.between):
            stray = _said(got[wanted:], self._reader)
            del got[wanted:]
            return self.fail("stray_reply", f"a reply to no command: {stray}")
        if self._reader.malformed:
            return self.fail("malformed_reply", self._reader.malformed)
        if got:
            self._deadline = self._loop.time() + answer.seconds
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
        """
        No more replies will come: wake the callers in the order in which they asked, with what has
        arrived.
        """
        for answer in (self._answer, self._ahead):
            if answer is not None and not answer.waiter.done():
                answer.waiter.set_result(None)
        self._answer = self._ahead = None

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
        if (answer := self._answer) is None:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._tick)
        elif self._left:
            self._look_at_upload(answer.seconds)
        else:
            self.fail("timeout", "the relay does not answer")

    def _look_at_upload(self, seconds: float) -> None:
        """Extend the time as long as the relay takes content, then give the dot its own."""
        left = self.left
        if left >= self._left:
            return self.fail("timeout", "the relay has stopped reading")
        self._left = left
        spent = min(self.timeouts.block, seconds)
        return self._expect(self.timeouts.block if left else max(seconds - spent, 0.0))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _said(replies: list[Reply], reader: ReplyReader) -> str:
    return replies[0].line if replies else reader.malformed or "an incomplete reply"
