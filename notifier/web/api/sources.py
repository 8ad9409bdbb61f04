"""Mails that are submitted as a whole: `POST /v1/messages` with `message/rfc822`."""

from functools import partial

from notifier.attempts import USUAL_REPORTS
from notifier.intake.sources import Treatment, read_source
from notifier.journal import Entry
from notifier.messages import Source
from notifier.service import IdempotencyKey, Notifier, Render, Submission
from notifier.web.api.queries import SourceQuery
from notifier.web.auth import caller_of, key_of
from notifier.web.bodies import AnyRequest, kind_of, read_octets
from notifier.web.parameters import read_query
from notifier.web.submissions import Submissions, read_idempotency

RFC822 = "message/rfc822"
SMALL = 64 * 1024  # octets: to read more than this could stall the loop


def is_source(request: AnyRequest) -> bool:
    """Whether the body says that it is a mail as a whole."""
    return any(
        name == b"content-type" and kind_of(value) == RFC822
        for name, value in request.scope["headers"]
    )


class Sources:
    """The common part of all calls that submit a mail as a whole."""

    def __init__(self, service: Notifier, submissions: Submissions) -> None:
        self._service = service
        self._submissions = submissions
        self._limit = service.settings.max_body

    async def take(self, request: AnyRequest, render: Render) -> Submission:
        """Admit the mail as its caller. Raises what `Submissions.take` raises."""
        headers = dict(request.scope["headers"])
        source, idempotency = await self._read(request, headers)
        submitting = self._submissions.hand_in(request, headers, (source,), idempotency, render)
        del source  # a reference would keep its memory until it is on disk
        return await submitting

    async def preview(self, request: AnyRequest) -> Entry:
        """What would be sent."""
        source, _ = await self._read(request, dict(request.scope["headers"]))
        return await self._service.preview(source, key=key_of(request))

    async def _read(
        self, request: AnyRequest, headers: dict[bytes, bytes]
    ) -> tuple[Source, IdempotencyKey | None]:
        query = read_query(request, SourceQuery)
        body = await read_octets(request, headers, limit=self._limit)
        given = None
        if b"idempotency-key" in headers:
            variant = b"source\0" + request.scope["query_string"]
            given = read_idempotency(request, headers, body, variant=variant)
        read = partial(_read, body, query)
        small = len(body) <= SMALL
        del body
        if small:
            source, own = read()
        else:
            source, own = await self._service.threads.run(caller_of(request), read)
        return source, given or own


def _read(body: bytes, query: SourceQuery) -> tuple[Source, IdempotencyKey | None]:
    return read_source(
        with_crlf(body),
        to=query.to,
        sender=query.sender or "",
        smtputf8=True,
        notify=query.notify or USUAL_REPORTS,
        asked=Treatment(
            reference=query.reference,
            tags=query.tag,
            priority=query.priority,
            send_at=query.send_at,
            expires_at=query.expires_at,
            ttl=query.ttl,
            collapse_key=query.collapse_key,
            user_id=query.user_id,
        ),
        protocol="http",
    )


def with_crlf(content: bytes) -> bytes:
    """
    The mail with CRLF. A mail with LF alone, as Unix files have, is converted; a mail with any CR
    stays as it is.
    """
    return content if b"\r" in content else content.replace(b"\n", b"\r\n")
