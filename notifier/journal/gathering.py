"""How long a writer waits after a transaction, so that more messages share the next one."""

# While messages come from several callers: a third less CPU a message.
SHARED_SECONDS = 0.003
SEEN_BATCHES = 4  # with new messages, after which several callers at a time are forgotten
# After a transaction without new messages, for each call in it and at most: workers wait for their
# outcomes. Twice as long takes a tenth less CPU, and a fifth of the rate.
GATHER_SECONDS, GATHER_MOST_SECONDS = 0.00005, 0.002


class Gathering:
    """
    Tells after each batch of several calls how many seconds to wait. A caller that sends one
    message after the other does not wait.
    """

    def __init__(self) -> None:
        self._alone = SEEN_BATCHES  # batches with one new message since there were several in one

    def __call__(self, calls: int, additions: int) -> float:
        if calls == 1:
            return 0.0
        if not additions:
            return min(calls * GATHER_SECONDS, GATHER_MOST_SECONDS)
        self._alone = 0 if additions > 1 else self._alone + 1
        return SHARED_SECONDS if self._alone < SEEN_BATCHES else 0.0
