"""
A relay that does as it is told: plain asyncio on a real socket, so that every fault is one.

    async with ScriptedRelay() as relay:
        relay.answer("RCPT", "550 no such user", to="bob@example.org")
        relay.answer("DOT", CUT, times=1)

An answer is a reply (`"250 ok"`), octets to be written as they are, or one of the actions
below. What comes after the final dot is stored before it is answered, unless the answer is
4xx or 5xx: so `CUT` at DOT is a relay that has taken the mail, and could not say so.
"""

import asyncio
import base64
import contextlib
import fcntl
import math
import socket
import struct
import sys
import termios

from notifier.relayspec import RelaySpec, Tls
from tests.waiting import LIMIT

CUT = "<cut>"  # RST
FIN = "<fin>"  # a polite end of the connection
SILENCE = "<silence>"  # never a word again
FEATURES = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8")

USUAL = {
    "GREETING": "220 relay.example.org ESMTP",
    "HELO": "250 relay.example.org",
    "STARTTLS": "220 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 end with a dot",
    "DOT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
}


class StopReading:
    """Answer, and then read nothing more until `read_on`."""

    def __init__(self, reply):
        self.reply = reply


class Rule:
    """What to answer to a verb, for which recipient, and when."""

    def __init__(self, answer, *, to, times, after):
        self.answer = answer
        self.to = to
        self.left = times
        self.after = after

    def takes(self, argument):
        if self.to is not None and f"<{self.to}>" not in argument:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.left -= 1
        return self.left >= 0


class ScriptedRelay:
    """Takes all mail, and keeps it in `received`, but for what a rule says."""

    def __init__(
        self, *, features=FEATURES, tls=Tls.NONE, context=None, port=0, receive_buffer=None
    ):
        self.features = tuple(features)
        self.tls = tls
        self.context = context
        self.host = "127.0.0.1"
        self.port = port
        self.received = []  # (sender, recipients, content), dots unstuffed
        self.heard = []  # every line outside of content
        self.connections = []  # all that ever were
        self.receive_buffer = receive_buffer
        self.prompts = ("Username:", "Password:")  # of AUTH LOGIN
        self.login_takes_a_name = False  # as an initial response
        self._rules = {}
        self._holding = set()
        self._held = []
        self._server = None
        self._heard_more = asyncio.Event()

    # ------------------------------------------------------------------ what it is told

    def answer(self, verb, answer, *, to=None, times=math.inf, after=0):
        """From now on, `times` times, leaving out the first `after`. None: as usual again."""
        if answer is None:
            self._rules.pop(verb, None)
        else:
            self._rules.setdefault(verb, []).append(Rule(answer, to=to, times=times, after=after))

    def hold(self, verb):
        """Answer this verb no more until `release`."""
        self._holding.add(verb)

    def release(self, verb=None):
        """Give all answers that were held back, or this verb's, and hold back no more."""
        if verb is None:
            self._holding.clear()
            return self.let_go()
        self._holding.discard(verb)
        held, self._held = self._held, [each for each in self._held if each[1] != verb]
        for connection, its, argument in held:
            if its == verb:
                connection.go_on(its, argument)
        return None

    def let_go(self):
        """Give the answers that were held back, and hold back the next ones again."""
        held, self._held = self._held, []
        for connection, verb, argument in held:
            connection.go_on(verb, argument)

    def read_on(self):
        """Read again wherever it was told to stop."""
        for connection in self.connections:
            connection.read_on()

    def challenges(self, argument):
        """What a mechanism asks for, after what came with the command."""
        way, _, response = argument.upper().partition(" ")
        if way == "LOGIN":
            prompts = self.prompts[1:] if response else self.prompts
            return [base64.b64encode(each.encode()).decode() for each in prompts]
        return ["PDE3QGV4YW1wbGU+"] if way == "CRAM-MD5" else []

    # ------------------------------------------------------------------ what one can see

    @property
    def spec(self):
        return RelaySpec(name="relay", host=self.host, port=self.port, tls=self.tls)

    @property
    def open(self):
        """How many connections there are now."""
        return sum(connection.open for connection in self.connections)

    def verbs(self):
        return [line.split(" ", 1)[0].upper() for line in self.heard]

    async def until_held(self, count, limit=LIMIT):
        async with asyncio.timeout(limit):
            while len(self._held) < count:
                await self.something()

    async def until(self, condition, limit=LIMIT):
        """Wait until it is so; looked at whenever something happens here."""
        async with asyncio.timeout(limit):
            while not condition():
                await self.something()

    async def something(self):
        self._heard_more.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self._heard_more.wait()

    def stir(self):
        self._heard_more.set()

    # ------------------------------------------------------------------ its life

    async def __aenter__(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        listener.bind((self.host, self.port))
        self.port = listener.getsockname()[1]
        implicit = self.context if self.tls is Tls.IMPLICIT else None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), sock=listener, ssl=implicit
        )
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        for connection in self.connections:
            connection.abort()
        await self.until(lambda: not self.open)

    # ------------------------------------------------------------------ for connections

    def holds(self, connection, verb, argument):
        if verb not in self._holding:
            return False
        self._held.append((connection, verb, argument))
        self.stir()
        return True

    def answer_to(self, verb, argument, connection):
        for rule in self._rules.get(verb, ()):
            if rule.takes(argument):
                return rule.answer
        if verb == "EHLO":
            return self._ehlo(connection.protected)
        if (verb == "MAIL") is (connection.envelope is not None) and verb in ("MAIL", "RCPT"):
            return "503 5.5.1 out of order"
        if verb == "DATA" and not (connection.envelope and connection.envelope[1]):
            return "554 5.5.1 no valid recipients"
        return USUAL.get(verb, "500 5.5.1 what?")

    def _ehlo(self, protected):
        features = self.features
        if self.tls is Tls.STARTTLS and not protected:
            features = (*features, "STARTTLS")
        lines = ["relay.example.org", *features]
        marks = ["-"] * (len(lines) - 1) + [" "]
        return "\r\n".join(f"250{mark}{line}" for mark, line in zip(marks, lines, strict=True))


class Connection(asyncio.Protocol):
    """One client. A command is looked at when the one before it has been answered."""

    def __init__(self, relay):
        self.relay = relay
        self.transport = None
        self.open = False
        self.protected = relay.tls is Tls.IMPLICIT
        self.buffer = b""
        self.searched = 0
        self.waiting = False  # an answer is held back, or there will be none
        self.in_content = False
        self.challenges = None  # still to come, while lines are no commands
        self.envelope = None
        self.content = None
        self.upgrading = None
        self.out = []
        self.stopped = False
        self.ahead = 0  # dots that had come with the next commands behind them

    def connection_made(self, transport):
        again = self.transport is not None  # under TLS
        self.transport = transport
        if not again:
            self.open = True
            self.relay.connections.append(self)
            self.respond("GREETING", "")
            self.flush()

    def connection_lost(self, exc):
        self.open = False
        self.relay.stir()

    def eof_received(self):
        return False

    def data_received(self, data):
        self.buffer += data
        self.work()

    def work(self):
        while not self.waiting and not self.stopped and self.open:
            if not (self.take_content() if self.in_content else self.take_line()):
                break
        self.flush()

    def flush(self):
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out.clear()

    def take_line(self):
        line, found, rest = self.buffer.partition(b"\r\n")
        if not found:
            return False
        self.buffer = rest
        said = line.decode("utf-8", "replace")
        self.relay.heard.append(said)
        verb, _, argument = said.partition(" ")
        verb = verb.upper()
        if self.challenges is None and verb == "AUTH":
            if argument.upper().startswith("LOGIN ") and not self.relay.login_takes_a_name:
                self.out.append(b"501 5.5.4 no initial response\r\n")
                return True
            self.challenges = self.relay.challenges(argument)
        if self.challenges:
            self.out.append(f"334 {self.challenges.pop(0)}\r\n".encode())
            return True
        if self.challenges is not None:
            verb, self.challenges = "AUTH", None
        self.respond(verb, argument)
        return True

    def take_content(self):
        if self.buffer.startswith(b".\r\n") and not self.searched:
            content, self.buffer = b"", self.buffer[3:]
        else:
            end = self.buffer.find(b"\r\n.\r\n", max(0, self.searched - 4))
            if end < 0:
                self.searched = len(self.buffer)
                return False
            content, self.buffer = self.buffer[: end + 2], self.buffer[end + 5 :]
        self.in_content, self.searched = False, 0
        self.ahead += bool(self.buffer)
        sender, recipients = self.envelope
        content = content.removeprefix(b".").replace(b"\r\n.", b"\r\n")
        self.content = (sender, tuple(recipients), content)
        self.respond("DOT", "")
        return True

    def respond(self, verb, argument):
        if self.relay.holds(self, verb, argument):
            self.waiting = True
            if verb == "DOT":
                self.store()
        else:
            self.carry_out(
                verb,
                argument,
                self.relay.answer_to(verb, argument, self),
            )

    def go_on(self, verb, argument):
        """What was held back may go."""
        self.waiting = False
        if self.open:
            answer = self.relay.answer_to(verb, argument, self)
            self.carry_out(verb, argument, answer)
            self.work()

    def carry_out(self, verb, argument, answer):
        if isinstance(answer, StopReading):
            self.carry_out(verb, argument, answer.reply)
            self.stopped = True
            self.flush()
            self.transport.pause_reading()
            return
        said = answer if isinstance(answer, str) else answer.decode("latin-1")
        if verb == "DOT" and said[:1] not in "45":
            self.store()
        if said in (CUT, FIN, SILENCE):
            self.end(said)
            return
        self.out.append(answer if isinstance(answer, bytes) else answer.encode() + b"\r\n")
        self.follow(verb, argument, said[:3])
        self.relay.stir()

    def follow(self, verb, argument, code):
        """What an answer does to the conversation."""
        if code in ("421", "221") or (verb == "GREETING" and code != "220"):
            self.flush()
            self.transport.close()
            self.open = False
        elif verb == "MAIL" and code[:1] == "2":
            self.envelope = (_address(argument), [])
        elif verb == "RCPT" and code[:1] == "2":
            self.envelope = self.envelope or ("", [])
            self.envelope[1].append(_address(argument))
        elif verb in ("RSET", "DOT", "EHLO", "HELO"):
            self.envelope = None
        elif verb == "DATA" and code == "354":
            self.in_content = True
            self.envelope = self.envelope or ("", [])
        elif verb == "STARTTLS" and code == "220":
            self.waiting = True
            self.flush()
            self.upgrading = asyncio.ensure_future(self.start_tls())

    async def start_tls(self):
        loop = asyncio.get_running_loop()
        try:
            self.transport = await loop.start_tls(
                self.transport, self, self.relay.context, server_side=True
            )
        except OSError:
            self.open = False
            return
        self.protected, self.waiting = True, False
        self.work()

    def store(self):
        if self.content is not None:
            self.relay.received.append(self.content)
            self.content = None
        self.relay.stir()

    def end(self, how):
        self.flush()
        self.waiting = True
        self.relay.stir()
        if how == CUT:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif how == FIN:
            self.transport.close()

    def read_on(self):
        if self.stopped:
            self.stopped = False
            with contextlib.suppress(RuntimeError):  # closed already
                self.transport.resume_reading()

    def has_unread(self):
        """Whether anything has come that was not read."""
        sock = self.transport.get_extra_info("socket")
        return fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)) != bytes(4)

    def abort(self):
        if self.transport is not None:
            self.transport.abort()


def _address(argument):
    return argument.partition("<")[2].partition(">")[0]


async def _serve(port):
    async with ScriptedRelay(port=port) as relay:
        print(relay.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]) if sys.argv[1:] else 0))
