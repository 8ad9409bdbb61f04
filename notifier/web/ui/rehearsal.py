"""What tests of programs need of the mailbox: refused recipients, and a reset between tests."""

import asyncio
from typing import Annotated, Any

import structlog
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.capture import Refusal
from notifier.deliveries import WAITING, Status
from notifier.errors import WrongState
from notifier.journal import Filter
from notifier.journal.statements import Statement
from notifier.service import Notifier
from notifier.settings import CAPTURE
from notifier.web.audited import add_note
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest, BodyDecoder
from notifier.web.routes import MANAGE, delete, post
from notifier.web.ui.layout import SECURE

LONGEST = 4096  # octets of JSON
SENDING_SECONDS = 5.0  # seconds for messages that are being sent to arrive
LOOK_SECONDS = 0.01
FORGET_KEYS = Statement("DELETE FROM idempotency")

log = structlog.get_logger()


class RefusedRecipient(Struct, frozen=True, forbid_unknown_fields=True):
    """A recipient whom the mailbox is to refuse, and how often; without `times`: always."""

    address: Annotated[
        str, Meta(pattern=r"^[^\x00-\x20\x7f]+@[^\x00-\x20\x7f]+(?![\s\S])", max_length=254)
    ]
    code: Annotated[int, Meta(ge=400, le=599)] = 550
    text: Annotated[str, Meta(pattern=r"^[ -~]*(?![\s\S])", max_length=400)] = ""
    times: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Emptied(Struct, frozen=True):
    """How many messages were cancelled, and how many mails and refusals are gone."""

    cancelled: int
    mails: int
    refusals: int


_refused = BodyDecoder(RefusedRecipient)


class Rehearsal:
    """/inbox/refusals and /inbox/reset."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            post("/inbox/refusals", self.refuse, MANAGE, act="refuse-recipient"),
            delete("/inbox/refusals", self.refuse_nobody, MANAGE, act="refuse-nobody"),
            post("/inbox/reset", self.reset, MANAGE, act="reset-inbox"),
        ]

    async def refuse(self, request: AnyRequest) -> Response[RefusedRecipient]:
        """From now on the mailbox refuses this recipient, as a relay does, in answer to RCPT."""
        refused = await _refused.read(request, limit=LONGEST)
        refusal = Refusal(refused.code, refused.text, refused.times)
        self._service.mailbox.refusals.add(refused.address, refusal)
        add_note(request, on=refused.address, detail=f"{refused.code} {refused.text}".strip())
        return Response(refused, headers=SECURE)

    async def refuse_nobody(self, request: AnyRequest) -> Response[dict[str, int]]:
        count = self._service.mailbox.refusals.clear()
        add_note(request, on="inbox", count=count)
        return Response({"count": count}, headers=SECURE)

    async def reset(self, request: AnyRequest) -> Response[Any]:
        """
        Take back refusals, cancel what waits, forget idempotency keys, and delete all mails. Only
        where the mailbox is the only relay: elsewhere it would do harm.
        """
        relays = self._service.settings.relays
        if relays not in ((), (CAPTURE,)):
            raise WrongState(
                "there are other relays than the built-in mailbox; reset works only for "
                "tests, where the mailbox is the only relay"
            )
        by = by_of(request)
        refusals = self._service.mailbox.refusals.clear()
        cancelled = await self._cancel(by)
        await self._until_sent()
        cancelled += await self._cancel(by)  # messages that could not be sent in time
        await self._service.journal.execute(FORGET_KEYS)
        mails = await self._service.mailbox.delete_all()
        add_note(request, on="inbox", count=mails)
        log.info("inbox_reset", cancelled=cancelled, mails=mails, by=by)
        return Response(Emptied(cancelled, mails, refusals), headers=SECURE)

    async def _cancel(self, by: str) -> int:
        waiting = Filter(status=(*WAITING, Status.HELD))
        return await self._service.change_all("cancel", waiting, by=by)

    async def _until_sent(self) -> None:
        """Wait until nothing is being sent, for a limited time."""
        sending = Filter(status=(Status.SENDING,))
        until = asyncio.get_running_loop().time() + SENDING_SECONDS
        while await self._service.count(sending, most=1):
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(LOOK_SECONDS)
