"""When to try again, and whether that is possible."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import WrongState


class RetryPolicy(Struct, frozen=True):
    """
    Wait as the schedule says (seconds), its last step over and over. There is no limit
    on the number of tries: a message ends by its age, so that an hour's outage of the
    relay costs nobody their mail. `spread` keeps a crowd from coming back all at once.
    """

    schedule: tuple[float, ...] = (30, 60, 120, 300, 600, 1200, 2400, 3600)
    spread: float = 0.2
    random: Callable[[], float] = random.random

    def next_try(self, *, tries: int, now: datetime) -> datetime:
        """The time of the try after this many charged ones."""
        wait = self.schedule[min(max(tries, 1), len(self.schedule)) - 1]
        return now + timedelta(seconds=wait * (1 + self.spread * (2 * self.random() - 1)))


def again(delivery: Delivery, now: datetime, *, kept: timedelta, by: str = "") -> Delivery:
    """
    The delivery put back in the queue by a person, where its content, which is kept for so
    long after the end, is there. Raises WrongState.
    """
    if delivery.finished_at is not None and delivery.finished_at + kept <= now:
        raise WrongState("the content of this message has been deleted (NOTIFIER_BODY_RETENTION)")
    return delivery.retried(now, by)
