"""Check a relay step by step, and say what is wrong and what to do."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from notifier.attempts import Envelope, Failure, Scope, Stage
from notifier.findings import Finding
from notifier.relayspec import RelaySpec, Tls
from notifier.smtp.connect import Opening, tls_context
from notifier.smtp.failures import classify, refusal, relay_failure
from notifier.smtp.remedies import LOGIN_IN_CLEAR, remedy
from notifier.smtp.resolver import Resolver
from notifier.smtp.session import USUAL_TIMEOUTS, Breach, Session, Timeouts
from notifier.smtp.transaction import unfit_for
from notifier.tokens import Tokens

EXPIRING = timedelta(days=21)  # a certificate with less time left gets a warning
# Nobody is there, RFC 2606; no mail is sent, only the relay is asked whether it would take it.
ELSEWHERE = "postmaster@example.com"


async def probe(
    spec: RelaySpec,
    *,
    sender: Envelope | None = None,
    timeouts: Timeouts = USUAL_TIMEOUTS,
    tokens: Tokens | None = None,
) -> AsyncIterator[Finding]:
    """
    Each step's finding as it is made: those of the handshake that every message is sent after,
    then the sender, its own address as recipient, and one elsewhere. All is taken back, and no
    mail is sent. Raises ConfigurationError where the spec's certificates cannot be read.
    """
    opening = Opening(
        spec,
        resolver=Resolver(),
        context=tls_context(spec),
        timeouts=timeouts,
        tokens=tokens,
    )
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
    """Until when the relay's certificate is valid."""
    found = session.about("peercert")
    if not found or "notAfter" not in found:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)


async def _envelope(
    session: Session, envelope: Envelope, spec: RelaySpec
) -> AsyncIterator[Finding]:
    """Name sender and recipients, and reset."""
    sender, timeouts = envelope.sender, session.timeouts
    if (unfit := unfit_for(session.features, envelope, 0)) is not None:
        yield _failed("sender", unfit, spec)
        return
    mail = f"MAIL FROM:<{sender}>{' SMTPUTF8' if envelope.smtputf8 else ''}"
    reply, failure = await _asked(session, mail, Stage.MAIL, timeouts.mail)
    said = f"{sender}: {reply}"
    if failure is not None:
        fault = failure.name or "sender_not_allowed"
        yield Finding("sender", False, said, remedy(fault, spec, sender=sender))
        return
    yield Finding("sender", True, said)
    for recipient in (sender, ELSEWHERE):
        reply, failure = await _asked(session, f"RCPT TO:<{recipient}>", Stage.RCPT, timeouts.rcpt)
        said, own = f"{recipient}: {reply}", recipient == sender
        advice = "" if failure is None else remedy(failure.name, spec, sender=sender)
        if failure is None:
            yield Finding("recipient", True, said)
        elif failure.scope is not Scope.RELAY:
            yield Finding("recipient", True, said, warning="the relay refuses this one address")
        elif own or session.breach is not None:
            yield Finding("recipient", False, said, advice)
            return
        else:  # it may be intended: a relay for its own domains alone
            yield Finding("recipient", True, said, warning=advice)
    await session.ask(b"RSET\r\n", 1, timeouts.rset)


async def _asked(
    session: Session, command: str, stage: Stage, seconds: float
) -> tuple[str, Failure | None]:
    """The reply, and what a refusal or silence means."""
    replies = await session.ask(f"{command}\r\n".encode(), 1, seconds)
    if replies:
        reply = replies[0]
        return reply.line, None if reply.positive else refusal(stage, reply)
    breach = session.breach or Breach("connection_lost", "the connection was lost")
    return breach.reason, relay_failure(stage, breach.name, breach.reason)
