"""Listens for clients that submit mail, and says who may send what, as over HTTP."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Self

import structlog

from notifier.attempts import USUAL_REPORTS, Notify
from notifier.clock import utc_now
from notifier.compose import address
from notifier.deliveries import Delivery
from notifier.errors import ConfigurationError, Draining, NotifierError, Refusal
from notifier.intake.sources import read_source
from notifier.keys import Key
from notifier.messages import MOST_SOURCE_RECIPIENTS
from notifier.relayspec import is_loopback
from notifier.service import Notifier
from notifier.settings import variable
from notifier.smtp_server import Bounds, Server
from notifier.submission_agent.connection import Arrived, Submitter
from notifier.submission_agent.memory import Memory
from notifier.submission_agent.replies import STOPPING, line, reply_to

SMALL = 64 * 1024  # octets: to read more than this could stall the loop
CONNECTIONS = 200  # at a time
CONTENT_SECONDS = 300.0  # for a whole mail
FAILED_LOGIN_SECONDS = 1.0  # that the answer to a wrong key is kept back

log = structlog.get_logger()


class Agent(contextlib.AbstractAsyncContextManager["Agent"]):
    """
    A mail that was answered with `250` is on disk, as a message that was answered with `202`.

    While there is no API key, clients on this machine may send. From the first key on each client
    logs in: the user is the key's name, the password the key.
    """

    def __init__(self, service: Notifier) -> None:
        settings = service.settings
        self._service = service
        self._keys = service.keys
        self._anonymous = settings.anonymous != "never" and not settings.sign_in_header
        self._name = settings.ehlo_name or socket.gethostname()
        self._memory = Memory()
        self._server = Server(
            settings.smtp_listen,
            self._connection,
            bounds=Bounds(
                connections=CONNECTIONS,
                octets=settings.max_body,
                content_seconds=CONTENT_SECONDS,
            ),
        )

    def _connection(self, server: Server, context: ssl.SSLContext | None) -> Submitter:
        return Submitter(server, self, self._memory, hostname=self._name, tls_context=context)

    @property
    def ports(self) -> tuple[int, ...]:
        return self._server.ports

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._server.connections)

    async def __aenter__(self) -> Self:
        try:
            await self._server.open()
        except ConfigurationError as error:
            raise ConfigurationError(f"{variable('smtp_listen')}: {error}") from None
        log.info("smtp_listening", ports=self.ports)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._server.close()

    def stop(self) -> None:
        """Take no more clients. Those whose mail is being taken get their answer."""
        self._server.stop()

    # ------------------------------------------------------------------ who may send what

    async def log_in(self, client: Submitter, user: str, password: str) -> str:
        self._keys.reload_if_changed()
        now = utc_now()
        key = self._keys.authenticate(password, now)
        if key is not None and key.name == user:
            if not self._service.keys_remembered:
                await self._service.remember_keys()
            client.key = key
            return ""
        if key is not None:
            why = "the user must be the name of the API key"
        else:
            why = self._keys.why_not(password, now)
        await self._service.audit.note_refused_sign_in(on=client.client, detail=f"SMTP: {why}")
        await asyncio.sleep(FAILED_LOGIN_SECONDS)
        return line(f"535 5.7.8 {why}")

    async def mail(self, client: Submitter, sender: str) -> str:
        if self._service.draining:
            return STOPPING
        if refusal := self._refusal_of(client):
            return refusal
        if not sender:
            return ""
        try:
            spec = address(sender).spec
        except ValueError as error:
            return line(f"553 5.1.7 {error}")
        objection = client.key.objection_to_sender(spec) if client.key else ""
        return line(f"550 5.7.1 {objection}") if objection else ""

    def _refusal_of(self, client: Submitter) -> str:
        """Why the client may send nothing at all."""
        self._keys.reload_if_changed()
        if not self._keys.configured:
            if not (self._anonymous and is_loopback(client.client)):
                return "550 5.7.1 the service has no API key yet, so only local clients may send"
            client.key = None
            return ""
        if client.key is None:
            how = "log in" if client.private else "begin TLS and log in"
            return f"530 5.7.0 {how}: the user is the name of an API key, the password the key"
        key: Key | None = self._keys.find(client.key.id)
        if key is None or (lapsed := key.lapsed(utc_now())):
            client.key = None
            return line(f"535 5.7.8 {lapsed if key else 'the API key has been removed'}")
        client.key = key  # its rules may have changed
        objection = key.objection_to_channel("email")
        return line(f"550 5.7.1 {objection}") if objection else ""

    def rcpt(self, client: Submitter, address_: str, before: Sequence[str]) -> str:
        if len(before) >= MOST_SOURCE_RECIPIENTS:
            return (
                f"452 4.5.3 at most {MOST_SOURCE_RECIPIENTS} recipients in a mail; send "
                "another mail to the others"
            )
        try:
            spec = address(address_).spec
        except ValueError as error:
            return line(f"553 5.1.3 {error}")
        objection = client.key.objection_to_recipient(spec) if client.key else ""
        return line(f"550 5.7.1 {objection}") if objection else ""

    # ------------------------------------------------------------------ a mail

    async def take(self, client: Submitter, mail: Arrived) -> str:
        try:
            if self._service.draining:
                raise Draining("the service is stopping")
            if refusal := self._refusal_of(client):
                return refusal
            return f"250 2.0.0 queued as {await self._taken(client, mail)}"
        except NotifierError as error:
            return reply_to(error)

    async def _taken(self, client: Submitter, mail: Arrived) -> str:
        """The id of the message, now or when the mail came before. Raises NotifierError."""
        key = client.key
        read = partial(
            read_source,
            mail.content,
            to=mail.recipients,
            sender=mail.sender,
            smtputf8=mail.smtputf8,
            notify=_notify(mail.notify),
            protocol="smtp",
        )
        size = len(mail.content)
        del mail
        if size <= SMALL:
            source, idempotency = read()
        else:
            whose = key.name if key else client.client
            source, idempotency = await self._service.threads.run(whose, read)
        del read
        submitting = self._service.submit(
            (source,), key=key, idempotency=idempotency, render=_id_of
        )
        del source
        submission = await submitting
        return submission.answer.decode()

    def answered(self, client: Submitter, reply: str) -> None:
        self._service.tally.smtp_replies[reply[:3]] += 1
        if reply.startswith("250"):
            return
        log.warning(
            "smtp_refused",
            reply=reply,
            client=client.client,
            key="" if client.key is None else client.key.name,
        )


def _id_of(results: Sequence[Delivery | Refusal]) -> bytes:
    (delivery,) = results
    return delivery.id.encode() if isinstance(delivery, Delivery) else b""


def _notify(asked: Sequence[str]) -> tuple[Notify, ...]:
    """What is to be reported: a message has one answer, so what is asked for anybody counts."""
    if not any(asked):
        return USUAL_REPORTS
    words: set[str] = set()
    for each in asked:
        words.update(each.lower().split(",") if each else USUAL_REPORTS)
    return tuple([each for each in Notify if each.value in words])
