"""
Send the messages of a request: read its body, admit its messages, and answer a repeated request
only once, as `Idempotency-Key` asks.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from notifier.errors import Fault, InvalidMessage, Rejected
from notifier.keys import Key
from notifier.messages import Message
from notifier.service import IdempotencyKey, Notifier, Render, Submission
from notifier.web.auth import KEY, caller_of, session_of
from notifier.web.bodies import AnyRequest, BytesResponse, read_json
from notifier.web.body_memory import SMALL
from notifier.web.parameters import read_traceparent
from notifier.web.problems import BadHeader

# Makes messages of a body. Also the caller's names of their fields, where they differ from
# ours: JSON pointers by ours, the longer ones first.
Read: TypeAlias = Callable[[bytes], tuple[Sequence[Message | Rejected], Mapping[str, str]]]

REPLAYED = (b"idempotency-replayed", b"true")
# For the OpenAPI document: the header fields of such a request, and of its answer.
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


class _IdOnly(Struct):
    """The field of a stored answer that finds its message."""

    id: str


_stored = msgspec.json.Decoder(_IdOnly)


def stored_id(answer: bytes) -> str:
    """The id of the one message that was submitted before, from the stored answer."""
    return _stored.decode(answer).id


def replay(submitted: Submission) -> Sequence[tuple[bytes, bytes]]:
    """The header fields that tell the caller whether the answer is an earlier request's."""
    return (REPLAYED,) if submitted.replayed else ()


def answer_of(submitted: Submission, *, status: int) -> BytesResponse:
    """The response with the stored or new answer that `render` made."""
    return BytesResponse(submitted.answer, status=status, headers=replay(submitted))


class Submissions:
    """The common part of all calls that send messages."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    async def take(
        self,
        request: AnyRequest,
        read: Read,
        render: Render,
        *,
        strict: bool = True,
        variant: bytes = b"",
        threaded: bool = False,
    ) -> Submission:
        """
        Admit the messages of a request as its caller.

        If the request was made before under its idempotency key, the stored answer is given again;
        `render` wrote it then. The key stands for this path, this `variant` of it and this body.
        `threaded`: reading a large body is heavy. Raises what `Notifier.submit` raises, and
        HTTPException for a body that cannot be read.
        """
        headers = dict(request.scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        idempotency = None
        if b"idempotency-key" in headers:
            idempotency = read_idempotency(request, headers, body, variant=variant)
        if threaded and len(body) > SMALL:
            reading = self._service.threads.run(caller_of(request), partial(read, body))
            messages, names = await reading
        else:
            messages, names = read(body)
        submitting = self.hand_in(request, headers, messages, idempotency, render, strict=strict)
        # References to these would keep their memory until the messages are on disk.
        del messages, body
        try:
            return await submitting
        except InvalidMessage as error:
            raise _renamed(error, names) if names else error from None

    def hand_in(
        self,
        request: AnyRequest,
        headers: dict[bytes, bytes],
        messages: Sequence[Message | Rejected],
        idempotency: IdempotencyKey | None,
        render: Render,
        *,
        strict: bool = True,
    ) -> Coroutine[None, None, Submission]:
        """Admit messages that have been read. The only way from the web to the intake."""
        key: Key | None = request.scope["state"].get(KEY)
        return self._service.submit(
            messages,
            key=key,
            by="" if key is None else session_of(request),
            traceparent=read_traceparent(headers) if b"traceparent" in headers else "",
            idempotency=idempotency,
            strict=strict,
            render=render,
        )


def _renamed(error: InvalidMessage, names: Mapping[str, str]) -> InvalidMessage:
    """The faults under the caller's field names."""
    faults = []
    for fault in error.faults:
        pointer = fault.pointer
        for ours, theirs in names.items():
            if pointer == ours or pointer.startswith(f"{ours}/"):
                pointer = theirs + pointer.removeprefix(ours)
                break
        faults.append(Fault(pointer, fault.message))
    return InvalidMessage(*faults)


def read_idempotency(
    request: AnyRequest, headers: Mapping[bytes, bytes], body: bytes, *, variant: bytes = b""
) -> IdempotencyKey:
    """The idempotency key of a request, and what it stands for. Raises BadHeader."""
    key = headers[b"idempotency-key"]
    if not _KEY.fullmatch(key):
        raise BadHeader("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    if sum(name == b"idempotency-key" for name, _ in request.scope["headers"]) > 1:
        raise BadHeader("Idempotency-Key", "must be given only once")
    stands_for = blake2b(request.scope["path"].encode(), digest_size=20)
    stands_for.update(b"\0" + variant)
    stands_for.update(body)
    return IdempotencyKey(key.decode(), stands_for.digest())
