"""Hand in the messages of a request, once: the only way from a route to the desk."""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import Rejected
from notifier.messages import Message
from notifier.service import Idempotent, Notifier
from notifier.web.auth import key_of, session_of
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import read_traceparent
from notifier.web.problems import BadHeader

Rendering: TypeAlias = Callable[[Sequence[Delivery | Rejected]], bytes]

REPLAYED = (b"idempotency-replayed", b"true")
# For the OpenAPI document: what such a request may say, and what its answer may.
IDEMPOTENCY: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "The same key with the same body gets the answer that was given before, "
        "and no second message is made.",
        "schema": {"type": "string", "pattern": r"^[!-~]{1,255}$"},
    }
}
REPLAY = {"Idempotency-Replayed": "`true`: given before, and nothing was added."}

_KEY = re.compile(rb"[!-~]{1,255}")


class Submitted(Struct, frozen=True):
    """The answer to a submission, and whether it is the one that was given before."""

    body: bytes
    replayed: bool
    deliveries: tuple[Delivery, ...] = ()  # that were accepted now: none of a repetition

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [REPLAYED] if self.replayed else []


class _IdOnly(Struct):
    """What of a stored answer is needed to find its message."""

    id: str


_stored = msgspec.json.Decoder(_IdOnly)


def id_of(submitted: Submitted) -> str:
    """The id of the one message that a submission was of, now or before."""
    if submitted.replayed:
        return _stored.decode(submitted.body).id
    return submitted.deliveries[0].id


async def submit(
    service: Notifier,
    request: AnyRequest,
    headers: dict[bytes, bytes],
    body: bytes,
    messages: Sequence[Message | Rejected],
    *,
    render: Rendering,
    variant: bytes = b"",
    strict: bool = True,
) -> Submitted:
    """
    Hand in messages as the caller that the door has let in, with its `traceparent` and its
    `Idempotency-Key`. The key stands for this path, this `variant` of it and this body: where
    they were handed in before, what `render` wrote then is the answer. Raises BadHeader, and
    what `Intake.submit` raises.
    """
    written = _Written(render)
    receipt = await service.intake.submit(
        messages,
        key=key_of(request),
        traceparent=read_traceparent(headers),
        by=session_of(request),
        idempotent=_idempotent(request, headers, body, variant, written),
        strict=strict,
    )
    if receipt.replayed is not None:
        return Submitted(receipt.replayed, replayed=True)
    return Submitted(written(receipt.results), replayed=False, deliveries=receipt.deliveries)


class _Written:
    """A rendering that keeps what it has written, so that it need not be written twice."""

    __slots__ = ("_body", "_render")

    def __init__(self, render: Rendering) -> None:
        self._body: bytes | None = None
        self._render = render

    def __call__(self, results: Sequence[Delivery | Rejected]) -> bytes:
        if self._body is None:
            self._body = self._render(results)
        return self._body


def _idempotent(
    request: AnyRequest,
    headers: dict[bytes, bytes],
    body: bytes,
    variant: bytes,
    render: Rendering,
) -> Idempotent | None:
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise BadHeader("Idempotency-Key", "1 to 255 visible ASCII characters are allowed")
    if sum(name == b"idempotency-key" for name, _ in request.scope["headers"]) > 1:
        raise BadHeader("Idempotency-Key", "it is given twice")
    stands_for = blake2b(request.scope["path"].encode(), digest_size=20)
    stands_for.update(b"\0" + variant)
    stands_for.update(body)
    return Idempotent(key.decode(), stands_for.digest(), render)
