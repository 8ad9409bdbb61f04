"""One message over one connection: MAIL, RCPT, DATA, the dot. RFC 5321, section 3.3."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from notifier.attempts import Attempt, Envelope, Failure, Scope, Stage
from notifier.smtp import dsn
from notifier.smtp.failures import TOO_MANY, refusal, relay_failure, unfit, unsendable
from notifier.smtp.outcomes import LINES_KEPT, abridged
from notifier.smtp.replies import CLOSING, KEPT, Reply
from notifier.smtp.session import PIECE, Answer, Breach, Features, Session

MOST_AHEAD = 100  # recipients of a message whose commands go ahead
MOST_BEHIND = PIECE // 2  # octets of a content behind which they go: all of it is one write

# Gives the commands of the next message that go ahead on this session; empty: there is none.
Follow: TypeAlias = Callable[[Session], bytes]

# Whatever could end an address, a command or a line. Surrogates cannot be encoded at all.
_UNSAFE = re.compile("[\x00-\x20\x7f<>\ud800-\udfff]")


def nobody(_: Session) -> bytes:
    return b""


def begun(session: Session, envelope: Envelope, size: int) -> "Transaction | Attempt":
    """
    The transaction of a message with so many octets, before its first command; or the outcome, if
    this relay can never take it.
    """
    features, sender, recipients = session.features, envelope.sender, envelope.recipients
    refused: dict[str, Failure] = {}
    together = "".join((sender, *recipients))
    if (
        not together.isascii()
        or envelope.eight_bit
        or envelope.smtputf8
        or (features.size and size > features.size)
        or _UNSAFE.search(together)
    ):
        if (reason := unfit_for(features, envelope, size)) is not None:
            return _none_accepted(reason, recipients, {}, ())
        recipients, refused = _addressable(envelope)
        if not recipients:
            return _none_accepted(None, (), refused, ())
    mail = f"MAIL FROM:<{sender}>"
    if features.size is not None:
        mail = f"{mail} SIZE={size}"
    if envelope.eight_bit and features.eight_bit:
        mail += " BODY=8BITMIME"
    if envelope.smtputf8:
        mail += " SMTPUTF8"
    rcpt = [f"RCPT TO:<{address}>" for address in recipients]
    if envelope.return_path and features.dsn:
        mail += dsn.mail_parameters(envelope)
        named = zip(rcpt, recipients, strict=True)
        rcpt = [each + dsn.rcpt_parameters(envelope, address) for each, address in named]
    commands = [mail, *rcpt, "DATA"]
    flight = "\r\n".join((*commands, "")).encode()
    return Transaction(session, recipients, refused, commands, flight)


def unfit_for(features: Features, envelope: Envelope, size: int) -> Failure | None:
    """Why this relay can never take this message, as its EHLO says. None: it may."""
    if features.size and size > features.size:
        reason = f"the message has {size} octets, the relay takes {features.size} at most"
        return unfit(reason, name="too_large")
    if envelope.smtputf8:
        if not features.smtputf8:
            reason = "an address is not ASCII, and the relay does not offer SMTPUTF8"
            return unfit(reason, name="smtputf8_not_offered")
    elif envelope.eight_bit and not features.eight_bit:
        reason = "the content is not ASCII, and the relay does not offer 8BITMIME"
        return unfit(reason, name="eight_bit_not_offered")
    elif not envelope.sender.isascii():
        return unsendable("the sender's address is not ASCII", name="bad_sender")
    if _UNSAFE.search(envelope.sender):
        return unsendable("the sender's address cannot be written in SMTP", name="bad_sender")
    return None


def _addressable(envelope: Envelope) -> tuple[tuple[str, ...], dict[str, Failure]]:
    """The recipients that commands can name, and why they cannot name the others."""
    refused = {
        address: Failure(
            scope=Scope.RECIPIENT,
            permanent=True,
            stage=Stage.RCPT,
            reply="the address cannot be written in SMTP",
            name="bad_recipient",
        )
        for address in envelope.recipients
        if _UNSAFE.search(address) or not (envelope.smtputf8 or address.isascii())
    }
    return tuple(each for each in envelope.recipients if each not in refused), refused


class Transaction(Struct, eq=False):
    """
    One transaction. With PIPELINING everything up to DATA is one write, however many recipients it
    has. Where the next message waits already, its commands are in the write of this one's content:
    so a message costs one round trip. A content of many pieces goes by itself.
    """

    session: Session
    recipients: tuple[str, ...]
    failures: dict[str, Failure]  # also of recipients that are not named
    commands: list[str]
    flight: bytes  # all of them
    replies: list[Reply] = []
    answer: Answer | None = None  # to the commands that have gone ahead

    @property
    def can_go_ahead(self) -> bool:
        """Whether its commands may leave behind the content of the message before."""
        return not self.failures and len(self.recipients) <= MOST_AHEAD

    async def run(self, content: bytes, follow: Follow = nobody) -> Attempt:
        """
        Offer the message, and return its outcome. `content` is a whole RFC 5322 source that ends
        with CRLF. `follow` is asked for the next message's transaction, whose commands are to go
        ahead behind the dot of this one. Never raises for what a relay does.
        """
        session, commands = self.session, self.commands
        session.unclean = True
        if self.answer is not None:
            await self.answer.waiter
            self.replies = self.answer.replies
        elif session.features.pipelining:
            self.replies = await session.ask(self.flight, len(commands), session.timeouts.data)
        else:
            await self._one_by_one()
        replies, accepted = self.replies, self.recipients
        answered = len(replies) == len(commands)
        if (
            not answered
            or replies[-1].code != 354
            or session.breach is not None
            or [each for each in replies[:-1] if not 200 <= each.code < 300]
        ):
            accepted, failure = self._judge(replies[-1] if answered else None)
            if failure is not None:
                if answered and replies[-1].code == 354 and not session.breach:
                    await self._send_nothing()
                self.failures.update(dict.fromkeys(accepted, failure))
                return _none_accepted(failure, (), self.failures, self._conversation())
        return await self._content(accepted, content, follow)

    @property
    def heard(self) -> bool:
        """Whether any of what has gone ahead is answered."""
        return self.answer is not None and bool(self.answer.replies)

    def go_ahead(self) -> bytes:
        """The commands that leave behind the content before."""
        seconds = self.session.timeouts.data
        self.answer = self.session.go_ahead(self.flight, len(self.commands), seconds)
        return self.flight

    async def _send_nothing(self) -> None:
        """
        End DATA without content: the relay waits for content although no recipient is left. RFC
        2920, section 3.1.
        """
        if any(reply.positive for reply in self.replies[1:-1]):
            # In an envelope that we do not know: a dot would send an empty mail to them.
            self.session.fail("out_of_step", "it accepted a recipient without a sender")
        else:
            await self.session.ask(b".\r\n", 1, self.session.timeouts.data)

    async def _one_by_one(self) -> None:
        timeouts = self.session.timeouts
        limits = [timeouts.mail, *[timeouts.rcpt] * len(self.recipients), timeouts.data]
        for command, seconds in zip(self.commands, limits, strict=True):
            if command == "DATA" and not any(reply.positive for reply in self.replies[1:]):
                break
            self.replies += await self.session.ask(f"{command}\r\n".encode(), 1, seconds)
            if self.session.breach or not self.replies[0].positive or self._closing:
                break

    @property
    def _closing(self) -> bool:
        return self.replies[-1].code == CLOSING

    def _judge(self, data: Reply | None) -> tuple[tuple[str, ...], Failure | None]:
        """
        Who gets the content; or who would have, and why nobody does. Failures of single recipients
        are kept in `failures`. `data`: the reply to DATA, if there was one.
        """
        replies = self.replies
        if replies and not replies[0].positive:
            return self.recipients, refusal(Stage.MAIL, replies[0])
        for address, reply in zip(self.recipients, replies[1:], strict=False):
            if not reply.positive:
                self.failures[address] = refusal(Stage.RCPT, reply)
        accepted = tuple(each for each in self.recipients if each not in self.failures)
        if self.session.breach is not None:
            return accepted, self._lost(self.session.breach)
        if data is None and accepted:
            return accepted, refusal(Stage.RCPT, replies[-1])  # the relay is closing
        if not accepted:
            return (), next(iter(self.failures.values()))
        assert data is not None  # noqa: S101 - there is somebody to ask it for
        return accepted, None if data.code == 354 else refusal(Stage.DATA, data)

    def _lost(self, breach: Breach) -> Failure:
        """The failure of a connection that broke before the dot."""
        if self.replies and self._closing:
            return refusal(self._stage_of(len(self.replies) - 1), self.replies[-1])
        return relay_failure(self._stage_of(len(self.replies)), breach.name, breach.reason)

    def _stage_of(self, command: int) -> Stage:
        if command == 0:
            return Stage.MAIL
        return Stage.RCPT if command <= len(self.recipients) else Stage.DATA

    async def _content(self, accepted: tuple[str, ...], content: bytes, follow: Follow) -> Attempt:
        session = self.session
        data, flight = stuffed(content), b""
        # Where recipients were too many, the session is needed for the others.
        if len(data) <= MOST_BEHIND and not (
            self.failures and any(it.name == TOO_MANY for it in self.failures.values())
        ):
            flight = follow(session)
        reply = await session.upload(data, flight)
        conversation = self._conversation(f"C: ({len(content)} octets)", reply)
        if reply is None:
            return self._unanswered(accepted, conversation)
        if 200 <= reply.code < 300:
            session.unclean = bool(flight)  # RFC 5321, section 4.1.1.4: the envelope is closed
            return Attempt(
                Stage.DOT,
                reply.line,
                reply.code,
                accepted,
                self.failures,
                False,
                conversation,
            )
        failure = refusal(Stage.DOT, reply)
        self.failures.update(dict.fromkeys(accepted, failure))
        uncertain = not 400 <= reply.code < 600
        return _none_accepted(failure, (), self.failures, conversation, uncertain=uncertain)

    def _unanswered(self, accepted: Sequence[str], conversation: tuple[str, ...]) -> Attempt:
        """The outcome without an answer: uncertain, unless a part of the content was never sent."""
        breach = self.session.breach or Breach("connection_lost", "the connection was lost")
        reason = breach.reason
        if self.session.unsent:
            reason = f"{reason}; {self.session.unsent} octets were not sent"
        failure = relay_failure(Stage.DOT, breach.name, reason)
        self.failures.update(dict.fromkeys(accepted, failure))
        conversation = (*conversation, f"   {reason}")
        return _none_accepted(
            failure, (), self.failures, conversation, uncertain=not self.session.unsent
        )

    def _conversation(self, *ending: str | Reply | None) -> tuple[str, ...]:
        """The conversation, each command followed by its reply."""
        lines = [*self.session.opening]
        self.session.opening = ()
        for command, reply in zip(self.commands, self.replies, strict=False):
            lines += (f"C: {command}", f"S: {reply.line}")
        for each in ending:
            if each is not None:
                lines.append(f"S: {each.line}" if isinstance(each, Reply) else each)
        if not ending and self.session.breach is not None:
            lines.append(f"   {self.session.breach.reason}")
        short = len(lines) <= LINES_KEPT and len("".join(lines)) <= KEPT
        return tuple(lines) if short else abridged(lines)


def stuffed(content: bytes) -> bytes:
    """The content as it is transmitted, including its end. RFC 5321, section 4.5.2."""
    begin = b"." if content.startswith(b".") else b""
    end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
    # No dots in base64: so the end of a mail with files is passed over at the speed of memory.
    if content.find(b"\r\n.", 0, content.rfind(b".") + 1) >= 0:
        content = content.replace(b"\r\n.", b"\r\n..")
    return b"".join((begin, content, end))


def _none_accepted(
    failure: Failure | None,
    recipients: Sequence[str],
    failures: dict[str, Failure],
    conversation: tuple[str, ...],
    *,
    uncertain: bool = False,
) -> Attempt:
    """The outcome when no recipient was accepted, with the reply of the failure that decided it."""
    failures = {**failures, **dict.fromkeys(recipients, failure)} if failure else failures
    deciding = failure or next(iter(failures.values()), None)
    if deciding is None:
        return Attempt(Stage.MAIL, "it has no recipients")
    return Attempt(
        deciding.stage, deciding.reply, deciding.code, (), failures, uncertain, conversation
    )
