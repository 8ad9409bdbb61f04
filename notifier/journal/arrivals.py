"""How the dispatcher learns that there may be something to claim."""

from collections.abc import Callable, Iterable

from notifier.deliveries import Delivery


class Arrivals:
    """
    Calls its listener with the queue of each delivery that begins to wait, as soon as a claim made
    now would find it. That can be before the commit: the claim then joins the same transaction.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        """
        Set the listener that is called with each queue. It must be quick. A Route stands for all
        queues of that route.
        """
        self._listeners.append(listener)

    def tell(self, queues: Iterable[str]) -> None:
        for queue in set(queues):
            for listener in self._listeners:
                listener(queue)

    def tell_of(self, deliveries: Iterable[Delivery]) -> None:
        """Call the listener with the queues of the deliveries that wait."""
        self.tell([each.queue for each in deliveries if each.status.waiting])
