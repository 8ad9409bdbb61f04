"""When a message is tried again."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import WrongState


class RetryPolicy(Struct, frozen=True):
    """
    Waits as the schedule says (in seconds), and repeats the last wait.

    There is no limit on the number of attempts: a message ends by its age, so that a relay's outage
    of an hour costs no mail. `spread` varies the waits, so that a crowd does not come
    back at once.
    """

    schedule: tuple[float, ...] = (30, 60, 120, 300, 600, 1200, 2400, 3600)
    spread: float = 0.2
    random: Callable[[], float] = random.random

    def next_try(self, *, tries: int, now: datetime) -> datetime:
        """The time of the next attempt after this many charged ones."""
        wait = self.schedule[min(max(tries, 1), len(self.schedule)) - 1]
        return now + timedelta(seconds=wait * (1 + self.spread * (2 * self.random() - 1)))


def retry(delivery: Delivery, now: datetime, *, kept: timedelta, by: str = "") -> Delivery:
    """
    The delivery, put back in the queue by a person, if its content has not been deleted yet. Raises
    WrongState.
    """
    if delivery.finished_at is not None and delivery.finished_at + kept <= now:
        raise WrongState("the content of this message has been deleted (NOTIFIER_BODY_RETENTION)")
    return delivery.retried(now, by)
