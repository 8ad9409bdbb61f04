"""
Turns a caller's request into what the journal keeps. A message that could later fail because of its
content is refused here, with the field named. The bytes that are sent are composed here, once.
"""

import contextlib
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from notifier.attempts import USUAL_REPORTS, Envelope, Notify
from notifier.chains import CHAINED, Chains, chain_of
from notifier.compose import Composed, address, compose, readdressed
from notifier.compose.source import compose_source
from notifier.deliveries import Delivery, Priority, Route, Status
from notifier.domains import SIMULATOR_DOMAIN
from notifier.errors import Fault, Forbidden, InvalidMessage, Rejected
from notifier.intake.copies import Copy, Readdressed
from notifier.journal import Entry
from notifier.keys import Key, KeyKind, KeyScope
from notifier.messages import Email, Message, Sms, Source
from notifier.recipients import Recipient, in_parts, part_of
from notifier.settings import Settings
from notifier.sms import Carriers, admit, join, segments, to_emails, to_text
from notifier.templates import Templates

FALLBACK_SENDER = "notifier@localhost"  # so that a first try needs nothing configured
NO_SENDER = (
    f"the sender is {FALLBACK_SENDER}, because neither the message nor NOTIFIER_DEFAULT_FROM names "
    "one; a relay would refuse it"
)
TEXTS_DOMAIN = "sms.notifier"  # the simulator's address for texts that a provider would get
PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_SIMULATED = f"@{SIMULATOR_DOMAIN}"
MOST_REFUSED = 20  # recipients whom no relay takes that are listed
LATEST = timedelta(days=366)  # how far ahead a message may be scheduled


class Admitted(Entry, frozen=True):
    """
    A message that may be sent, in the form that the journal keeps, and its cost if the key has a
    rate.
    """

    cost: int = 0

    def of(self, delivery: Delivery) -> "Admitted":
        """The same message with its delivery changed."""
        if delivery is self.delivery:
            return self
        return Admitted(delivery, self.content, self.cost)


def cost(message: Message | Rejected) -> int:
    """
    What a message takes of a key's rate: one for each recipient of a mail, one for each segment of
    a text. For a text from a template this is known only once the text is made.
    """
    if isinstance(message, Email):
        return len(message.to) + len(message.cc) + len(message.bcc)
    if isinstance(message, Source):
        return len(message.to)
    if isinstance(message, Sms) and message.text is not None:
        return segments(message).segments
    if isinstance(message, Readdressed):
        return len(message.to)
    if isinstance(message, Copy):
        return cost(message.what)
    return 1


class Admission:
    """
    Checks and composes messages. It has no side effects but reading templates, and may run in
    several threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        templates: Templates,
        carriers: Carriers,
    ) -> None:
        self._settings = settings
        self._templates = templates
        self._carriers = carriers
        self._return_path = settings.return_path or ""
        self._chains = Chains(settings.relays)
        self._lifetime = timedelta(seconds=settings.expire_after)
        self._fallback = None if settings.relays else FALLBACK_SENDER
        self._sender = settings.default_from or self._fallback
        self._sms_sender = settings.sms_from or self._sender

    def admit(
        self,
        message: Message,
        *,
        id: str,
        key: Key | None,
        now: datetime,
        traceparent: str = "",
        by: str = "",
    ) -> Admitted:
        """A delivery and its content. Raises InvalidMessage, Forbidden."""
        due_at, expires_at = now, now + self._lifetime
        if message.send_at or message.expires_at or message.ttl is not None:
            due_at, expires_at = self._term(message, now)
        return_path, notify = self._return_path, USUAL_REPORTS
        if message.template is not None:
            message = self._fill(message)
        if isinstance(message, Sms):
            channel = "sms"
            route, handed_to, composed = self._compose_sms(
                message, id=id, key=key, now=now, at=due_at
            )
        elif isinstance(message, Email | Readdressed | Source):
            channel, handed_to = "email", ""
            if message.notify is not USUAL_REPORTS:
                notify = tuple([each for each in Notify if each in message.notify])
            route, composed = self._compose_email(message, id=id, key=key, at=due_at)
        else:
            assert isinstance(message, Copy)  # noqa: S101  there is no other kind
            made = self.admit(message.what, id=id, key=key, now=now, traceparent=traceparent, by=by)
            return made.of(replace(made.delivery, copy_of=message.of))
        if key is not None:
            if message.despite_suppression and not key.may(KeyScope.MANAGE):
                objection = key.objection_to_scope(KeyScope.MANAGE)
                raise Forbidden(f"despite_suppression: {objection}")
            _check(key, channel, route, composed)
            return_path = key.return_path or return_path
            if key.kind is KeyKind.TEST:
                route = Route.SIMULATOR
        envelope, later = composed.envelope, due_at > now
        chain = ""
        if self._chains.conditional and route in CHAINED:
            chain = self._chain(message, envelope, key=key)
        delivery = Delivery(
            id=id,
            channel=channel,
            subject=composed.subject,
            sender=envelope.sender,
            recipients=tuple(map(Recipient, envelope.recipients)),
            size=len(composed.content),
            created_at=now,
            due_at=due_at,
            expires_at=expires_at,
            send_at=due_at if later else None,
            status=Status.SCHEDULED if later else Status.QUEUED,
            route=route,
            chain=chain,
            priority=PRIORITIES[message.priority],
            on_uncertain=message.on_uncertain,
            smtputf8=envelope.smtputf8,
            eight_bit=envelope.eight_bit,
            return_path=return_path if route in CHAINED else "",
            notify=notify,
            handed_to=handed_to,
            warnings=composed.warnings,
            key="" if key is None else key.name,
            by=by,
            user_id="" if message.user_id is None else str(message.user_id),
            reference=message.reference or "",
            tags=message.tags,
            metadata=message.metadata,
            collapse_key=message.collapse_key or "",
            traceparent=traceparent,
            despite_suppression=message.despite_suppression,
        )
        limited = key is not None and key.limited
        return Admitted(delivery, composed.content, cost(message) if limited else 0)

    def _chain(self, message: Message, envelope: Envelope, *, key: Key | None) -> str:
        """
        The name of the message's chain. Raises InvalidMessage if no relay takes one of the
        recipients.
        """
        parts = self._chains.parts(
            envelope.sender,
            envelope.recipients,
            key="" if key is None else key.name,
            priority=PRIORITIES[message.priority],
        )
        if (refused := parts.get(None)) is None:
            return chain_of(parts)
        places = _places(message)
        faults = [
            Fault(places.get(each, "/to"), self._chains.refusal(envelope.sender, [each]))
            for each in refused[:MOST_REFUSED]
        ]
        raise InvalidMessage(*faults)

    def _term(self, message: Message, now: datetime) -> tuple[datetime, datetime]:
        """When the message is due, and when it expires."""
        due_at = now
        if message.send_at is not None:
            due_at = max(now, _utc(message.send_at))
            if due_at - now > LATEST:
                raise InvalidMessage(Fault("/send_at", f"is more than {LATEST.days} days ahead"))
        if message.ttl is not None:
            if message.expires_at is not None:
                raise InvalidMessage(Fault("/ttl", "give one of ttl and expires_at, not both"))
            return due_at, due_at + timedelta(seconds=message.ttl)
        if message.expires_at is None:
            return due_at, due_at + self._lifetime
        expires_at = _utc(message.expires_at)
        if expires_at <= due_at:
            raise InvalidMessage(Fault("/expires_at", "is not after the time when it is due"))
        return due_at, expires_at

    def _fill(self, message: Message) -> Message:
        name = message.template or ""
        if isinstance(message, Sms):
            if message.text is not None:
                raise InvalidMessage(
                    Fault("/text", "must be left out, because the template gives it")
                )
            filled = self._templates.fill(name, message.data)
            if filled.text is None:
                raise InvalidMessage(Fault("/template", f"the template {name} has no text"))
            return replace(message, text=filled.text)
        if not isinstance(message, Email):
            raise TypeError(message)
        given = ("text", message.text), ("html", message.html)
        if faults := [
            Fault(f"/{field}", "must be left out, because the template gives it")
            for field, it in given
            if it is not None
        ]:
            raise InvalidMessage(*faults)
        filled = self._templates.fill(name, message.data)
        subject = message.subject if filled.subject is None else filled.subject
        return replace(message, subject=subject, text=filled.text, html=filled.html)

    def _compose_email(
        self, mail: Email | Readdressed | Source, *, id: str, key: Key | None, at: datetime
    ) -> tuple[Route, Composed]:
        """The route of an email, its recipients and its content."""
        sender, restricted = self._sender, False
        if key is not None:
            sender, restricted = key.default_sender or sender, _has_rules(key)
        if isinstance(mail, Email):
            composed = compose(mail, id=id, sender=sender, at=at, restricted=restricted)
            unnamed = mail.sender is None
        elif isinstance(mail, Source):
            composed = compose_source(mail, id=id, sender=sender, at=at, restricted=restricted)
            unnamed = sender in composed.authors
        else:
            composed = readdressed(
                mail.content,
                mail.to,
                sender=mail.sender,
                subject=mail.subject,
                id=id,
                at=at,
                restricted=restricted,
            )
            unnamed = False
        if unnamed and sender is not None and sender is self._fallback:
            composed = replace(composed, warnings=(*composed.warnings, NO_SENDER))
        recipients = composed.envelope.recipients
        simulated = [each for each in recipients if each.lower().endswith(_SIMULATED)]
        if 0 < len(simulated) < len(recipients):
            raise InvalidMessage(
                Fault("/to", f"{simulated[0]} is simulated; send to it without real recipients")
            )
        return Route.SIMULATOR if simulated else Route.RELAY, composed

    def _compose_sms(
        self, sms: Sms, *, id: str, key: Key | None, now: datetime, at: datetime
    ) -> tuple[Route, str, Composed]:
        """The route, recipients and content of a text message."""
        if sms.text is None:
            raise InvalidMessage(Fault("/text", "is missing; give text or a template"))
        provider = self._settings.sms_provider is not None
        admitted = admit(
            sms,
            carriers=self._carriers,
            region=self._settings.sms_region,
            today=now.date(),
            provider=provider,
            countries=self._settings.sms_countries,
        )
        if key is not None and (objection := key.objection_to_country(admitted.number.region)):
            raise Forbidden(objection)
        counted = admitted.segments
        warnings = (
            *admitted.warnings,
            f"{counted.segments} segment(s) in {counted.encoding.value}",
        )
        if admitted.carrier is None and key is not None and key.kind is KeyKind.TEST:
            composed = _stand_in(sms, admitted.number.e164, id=id, at=at, warnings=warnings)
            return Route.SIMULATOR, "provider", composed
        if admitted.carrier is None:
            composed = _for_provider(sms, admitted.number.e164, id=id, warnings=warnings)
            return Route.PROVIDER, "provider", composed
        if self._sms_sender is not None and self._sms_sender is self._fallback:
            warnings = (*warnings, NO_SENDER)
        mails = to_emails(sms, admitted.carrier, number=admitted.number, sender=self._sms_sender)
        made = [
            compose(mail, id=f"{id}-{place}" if len(mails) > 1 else id, sender=None, at=at)
            for place, mail in enumerate(mails, 1)
        ]
        envelope = made[0].envelope
        envelope = replace(envelope, recipients=in_parts(envelope.recipients[0], len(made)))
        content = join([each.content for each in made])
        return Route.GATEWAY, "gateway", Composed(envelope, content, warnings=warnings)


def _for_provider(sms: Sms, number: str, *, id: str, warnings: tuple[str, ...]) -> Composed:
    from notifier.sms.provider import content  # the HTTP client takes its time to load

    envelope = Envelope("", (number,))
    return Composed(envelope, content(id, number, to_text(sms)), warnings=warnings)


def _utc(at: datetime) -> datetime:
    """A time in UTC, as all others are shown. One that UTC cannot represent stays as written."""
    with contextlib.suppress(OverflowError):
        return at.astimezone(UTC)
    return at


def _stand_in(
    sms: Sms, number: str, *, id: str, at: datetime, warnings: tuple[str, ...]
) -> Composed:
    """The mail that the simulator gets in place of a provider's text."""
    mail = Email(to=(f"{number[1:]}@{TEXTS_DOMAIN}",), text=to_text(sms))
    made = compose(mail, id=id, sender=f"notifier@{TEXTS_DOMAIN}", at=at)
    return replace(made, warnings=warnings)


def _places(message: Message) -> dict[str, str]:
    """Where a mail names its recipients, as JSON pointers."""
    if isinstance(message, Source):
        return {address(written).spec: f"/to/{number}" for number, written in enumerate(message.to)}
    if not isinstance(message, Email | Readdressed):
        return {}
    return {
        address(written).spec: f"/{field}/{number}"
        for field in ("bcc", "cc", "to")  # what `to` names is named there
        for number, written in enumerate(getattr(message, field, ()))
    }


def _has_rules(key: Key) -> bool:
    """Whether the key has a rule that a provider's header could bypass."""
    rules = (key.senders, key.recipients, key.recipient_domains, key.rate, key.daily)
    return key.kind is not KeyKind.LIVE or any(rules)


def _check(key: Key, channel: str, route: Route, composed: Composed) -> None:
    """Raises Forbidden where the key does not allow this channel, sender or recipient."""
    envelope = composed.envelope
    objections = [key.objection_to_channel(channel)]
    if envelope.sender and route is not Route.GATEWAY:
        objections.append(key.objection_to_sender(envelope.sender))
    # Of a mail that was submitted as a whole readers see another sender than the envelope's.
    others = [each for each in composed.authors if each != envelope.sender]
    objections += map(key.objection_to_sender, others)
    if route is not Route.SIMULATOR:
        bare = dict.fromkeys(part_of(each)[0] for each in envelope.recipients)
        objections += map(key.objection_to_recipient, bare)
    if found := [each for each in objections if each]:
        raise Forbidden("; ".join(found))
