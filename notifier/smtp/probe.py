"""Look at a relay step by step, and say in words what is wrong and what to do."""

import re
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from notifier.attempts import Envelope, Failure, Scope, Stage
from notifier.relayspec import RelaySpec, Tls
from notifier.smtp.connect import Opening, tls_context
from notifier.smtp.failures import classify, refusal
from notifier.smtp.remedies import LOGIN_IN_CLEAR, relaying_remedy, remedy, sender_remedy
from notifier.smtp.replies import Reply
from notifier.smtp.resolver import Resolver
from notifier.smtp.session import Session
from notifier.smtp.timeouts import Timeouts
from notifier.smtp.transaction import unfit_for

EXPIRING = timedelta(days=21)  # a certificate with less than that wants to be looked after
USUAL_TIMEOUTS = Timeouts()  # as those of a relay that mail is sent to
# Nobody is there, RFC 2606; no mail is sent, only the relay is asked whether it would take it.
ELSEWHERE = "postmaster@example.com"
# How relays say that they do not relay for us, those that say it by no code of its own.
_DENIED = re.compile(r"\b[45]\.7\.|relay|denied|prohibit|authenticat|not permitted", re.IGNORECASE)


class Finding(Struct, frozen=True):
    """What one step has shown; the first that is not `ok` is the last one."""

    step: str
    ok: bool
    said: str
    remedy: str = ""
    warning: str = ""  # it works, and is not as it should be
    certificate_ends_at: datetime | None = None  # of the certificate that was shown in it


async def probe(
    spec: RelaySpec, *, sender: Envelope | None = None, timeouts: Timeouts = USUAL_TIMEOUTS
) -> AsyncIterator[Finding]:
    """
    Each step's finding as it is made: those of the handshake that every message is sent after,
    then the sender, its own address as recipient, and one elsewhere. All is taken back, and no
    mail is sent. Raises ConfigurationError where the spec's certificates cannot be read.
    """
    opening = Opening(spec, resolver=Resolver(), context=tls_context(spec), timeouts=timeouts)
    session = opening.session
    try:
        for step, take in opening.steps():
            try:
                said = await take()
            except Exception as error:  # noqa: BLE001 - as in the pool: a failure is a value
                yield _failed(step, classify(error, opening.stage), spec)
                return
            yield _seen(step, said, opening, spec)
        if sender is not None:
            async for finding in _envelope(session, sender, spec):
                yield finding
    finally:
        await opening.leave()


def _failed(step: str, failure: Failure, spec: RelaySpec) -> Finding:
    said = f"{spec.host}: {failure.reply}" if step == "DNS" else failure.reply
    return Finding(step, False, said, remedy(failure.name, spec))


def _seen(step: str, said: str, opening: Opening, spec: RelaySpec) -> Finding:
    ends_at, warning = None, ""
    if step in ("TLS", "STARTTLS") and (ends_at := _certificate_end(opening.session)):
        said = f"{said}; certificate until {ends_at:%Y-%m-%d}"
        if ends_at - datetime.now(UTC) < EXPIRING:
            warning = f"the certificate ends soon, on {ends_at:%Y-%m-%d}"
    elif step == "EHLO" and spec.tls is Tls.NONE and "STARTTLS" in opening.offered:
        said = f"{said}; STARTTLS is offered: smtp+starttls:// would protect what is sent"
    elif step == "login" and spec.login_in_clear:
        warning = LOGIN_IN_CLEAR
    return Finding(step, True, said, warning=warning, certificate_ends_at=ends_at)


def _certificate_end(session: Session) -> datetime | None:
    """Until when the relay's certificate is good."""
    found = session.about("peercert")
    if not found or "notAfter" not in found:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)


async def _envelope(
    session: Session, envelope: Envelope, spec: RelaySpec
) -> AsyncIterator[Finding]:
    """Name sender and recipients, and take them back."""
    sender, timeouts = envelope.sender, session.timeouts
    if (unfit := unfit_for(session.features, envelope, 0)) is not None:
        yield _failed("sender", unfit, spec)
        return
    parameters = " SMTPUTF8" if envelope.smtputf8 else ""
    asked = await session.ask(f"MAIL FROM:<{sender}>{parameters}\r\n".encode(), 1, timeouts.mail)
    if not (asked and asked[0].positive):
        said = f"{sender}: {_answer(session, asked)}"
        yield Finding("sender", False, said, sender_remedy(sender) if asked else "")
        return
    yield Finding("sender", True, f"{sender}: {asked[0].line}")
    for recipient in (sender, ELSEWHERE):
        asked = await session.ask(f"RCPT TO:<{recipient}>\r\n".encode(), 1, timeouts.rcpt)
        finding = _recipient(recipient, session, asked, spec, own=recipient == sender)
        yield finding
        if not finding.ok:
            return
    await session.ask(b"RSET\r\n", 1, timeouts.rset)


def _recipient(
    recipient: str, session: Session, asked: list[Reply], spec: RelaySpec, *, own: bool
) -> Finding:
    """
    Whether the relay takes mail of ours at all. One that takes it for its own domains alone may
    be meant so; an address that is refused by itself says nothing of the others.
    """
    said = f"{recipient}: {_answer(session, asked)}"
    if not asked:
        return Finding("recipient", False, said)
    reply = asked[0]
    if reply.positive:
        return Finding("recipient", True, said)
    ours = refusal(Stage.RCPT, reply).scope is Scope.RELAY or _DENIED.search(reply.line)
    if not ours:
        return Finding("recipient", True, said, warning="the relay refuses this one address")
    if own:
        return Finding("recipient", False, said, relaying_remedy(spec))
    return Finding("recipient", True, said, warning=relaying_remedy(spec))


def _answer(session: Session, asked: list[Reply]) -> str:
    if asked:
        return asked[0].line
    return session.breach.reason if session.breach is not None else "no answer"
