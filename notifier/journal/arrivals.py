"""How the dispatcher learns that there may be something to claim."""

from collections.abc import Callable, Iterable

from notifier.deliveries import Delivery, Route


class Arrivals:
    """
    Calls its listener with the route of each delivery that begins to wait, as soon as a claim made
    now would find it. That can be before the commit: the claim then joins the same transaction.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Route], None]] = []

    def listen(self, listener: Callable[[Route], None]) -> None:
        """Set the listener that is called with each route. It must be quick."""
        self._listeners.append(listener)

    def tell(self, routes: Iterable[Route]) -> None:
        for route in set(routes):
            for listener in self._listeners:
                listener(route)

    def tell_of(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the listener the routes of those deliveries that wait."""
        self.tell([each.route for each in deliveries if each.status.waiting])
