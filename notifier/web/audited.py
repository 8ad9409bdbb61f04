"""Records in the audit each call that changes something, once it has succeeded."""

from typing import Any

import structlog
from litestar.types import Send
from msgspec import Struct

from notifier.errors import NotifierError
from notifier.service import Notifier
from notifier.web.bodies import AnyRequest

NOTE = "notifier_audit_note"  # in the request's state

log = structlog.get_logger()


class Note(Struct, frozen=True):
    """What a handler reports about a call."""

    on: str = ""
    count: int = 1
    detail: str = ""


def add_note(request: AnyRequest, *, on: str = "", count: int = 1, detail: str = "") -> None:
    """Record more of a call than its path and query do."""
    request.scope["state"][NOTE] = Note(on, count, detail)


def audited(service: Notifier, scope: Any, send: Send, *, by: str, act: str) -> Send:
    """
    Writes the call into the audit when its answer begins, unless the answer is an error. Once the
    caller has the answer, the record is stored.
    """

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] < 400:
            note = scope["state"].get(NOTE) or _of_call(scope, message)
            try:
                await service.audit.note(by, act, on=note.on, count=note.count, detail=note.detail)
            except NotifierError as error:  # the call is done, and the answer must say so
                log.error("audit_failed", by=by, what=act, on=note.on, reason=str(error))  # noqa: TRY400  the reason is all there is to know
        await send(message)

    return sending


def _of_call(scope: Any, answer: Any) -> Note:
    named = [str(value) for value in scope.get("path_params", {}).values()]
    if not named:  # Location has the id of what was created
        places = (value for name, value in answer["headers"] if name == b"location")
        named = [value.decode("latin-1").rpartition("/")[2] for value in places]
    return Note(" ".join(named), 1, scope["query_string"].decode("latin-1"))
