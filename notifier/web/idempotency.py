"""Hand in the messages of a request, and a repeated request once: `Idempotency-Key`."""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import Rejected
from notifier.messages import Message
from notifier.service import IdempotencyKey, Notifier
from notifier.web.auth import key_of, session_of
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import read_traceparent
from notifier.web.problems import BadHeader

Render: TypeAlias = Callable[[Sequence[Delivery | Rejected]], bytes]

REPLAYED = (b"idempotency-replayed", b"true")
# For the OpenAPI document: what such a request may say, and what its answer may.
IDEMPOTENCY: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "A repeated request with the same key and body gets the first answer "
        "again, and no second message is made.",
        "schema": {"type": "string", "pattern": r"^[!-~]{1,255}$"},
    }
}
REPLAY = {
    "Idempotency-Replayed": "`true`: this is the answer to the first request with this key; no "
    "message was added."
}

_KEY = re.compile(rb"[!-~]{1,255}")


class Submitted(Struct, frozen=True):
    """The answer to a submission, and whether an earlier request was given it first."""

    body: bytes
    replayed: bool
    deliveries: tuple[Delivery, ...] = ()  # accepted now; none for a repeated request

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [REPLAYED] if self.replayed else []


class _IdOnly(Struct):
    """The part of a stored answer that finds its message."""

    id: str


_stored = msgspec.json.Decoder(_IdOnly)


def id_of(submitted: Submitted) -> str:
    """The id of the one message that was submitted, now or before."""
    if submitted.replayed:
        return _stored.decode(submitted.body).id
    return submitted.deliveries[0].id


async def submit(
    service: Notifier,
    request: AnyRequest,
    headers: dict[bytes, bytes],
    messages: Sequence[Message | Rejected],
    *,
    idempotency: IdempotencyKey | None,
    render: Render,
    strict: bool = True,
) -> Submitted:
    """
    Hand in messages as the request's caller, with its `traceparent`. Where they were handed in
    before under this idempotency key, the answer that `render` wrote then is given again. Raises
    what `Notifier.admit` and `Notifier.accept` raise. A caller that holds on to the body or to
    the messages holds on to memory until they are on disk.
    """
    submission = await service.admit(
        messages,
        key=key_of(request),
        traceparent=read_traceparent(headers),
        by=session_of(request),
        idempotency=idempotency,
        strict=strict,
    )
    del messages
    if submission.replayed is not None:
        return Submitted(submission.replayed, replayed=True)
    answer = render(submission.results)
    replayed = await service.accept(submission, answer)
    if replayed is not None:
        return Submitted(replayed, replayed=True)
    return Submitted(answer, replayed=False, deliveries=submission.deliveries)


def read_idempotency_key(request: AnyRequest, headers: dict[bytes, bytes]) -> bytes | None:
    """Raises BadHeader."""
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise BadHeader("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    if sum(name == b"idempotency-key" for name, _ in request.scope["headers"]) > 1:
        raise BadHeader("Idempotency-Key", "must be given only once")
    return key


def read_idempotency(
    request: AnyRequest, headers: dict[bytes, bytes], body: bytes, *, variant: bytes = b""
) -> IdempotencyKey | None:
    """The key, which stands for this path, this `variant` of it and this body. Raises BadHeader."""
    key = read_idempotency_key(request, headers)
    if key is None:
        return None
    stands_for = blake2b(request.scope["path"].encode(), digest_size=20)
    stands_for.update(b"\0" + variant)
    stands_for.update(body)
    return IdempotencyKey(key.decode(), stands_for.digest())
