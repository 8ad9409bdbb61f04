"""/v1/carriers: the carriers whose gateways take text messages."""

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.clock import utc_now
from notifier.service import Notifier
from notifier.sms import Carrier
from notifier.web.api import examples
from notifier.web.routes import READ_OWN, DocumentedAnswer, Operation, get


class CarrierList(Struct, frozen=True):
    """Every known carrier, by name."""

    items: tuple[Carrier, ...]


class Carriers:
    """/v1/carriers."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [get("/v1/carriers", self.list, READ_OWN, LIST)]

    async def list(self) -> CarrierList:
        """Each with the state of its gateway today, since when, and the source of that."""
        return CarrierList(self._service.carriers.all(utc_now().date()))


LIST = Operation(
    id="listCarriers",
    summary="List the carriers",
    tag="text messages",
    answers={200: DocumentedAnswer("All known carriers.", CarrierList, examples.CARRIERS)},
)
