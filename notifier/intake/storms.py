"""
The storm brake: no recipient gets more messages in a period than a quota. So a program that runs in
a loop cannot send a thousand messages to one mailbox. The periods are those of a clock: with `20/h`
twenty messages that are due between 12:00 and 13:00. The counts are in memory, of this process
alone, and begin at zero after a restart. A message that is held or refused does not count.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from notifier.deliveries import WAITING, Delivery, Route
from notifier.errors import RecipientRate, Refusal
from notifier.housekeeping.health import Trouble
from notifier.intake.admission import Admitted
from notifier.keys import Key
from notifier.quotas import Quota, read_quota
from notifier.recipients import part_of
from notifier.screening import stormy
from notifier.settings import Settings
from notifier.threads import Turn

MOST = 100_000  # recipients whose messages are counted: those that got one last


class Storm(Struct, frozen=True):
    """Messages that were held or refused since the alert was raised, until the period is over."""

    since: datetime
    ends: float  # seconds since 1970
    recipient: str  # the first one that got too many
    quota: Quota
    count: int  # of the messages


class Counts:
    """How often each of many things was counted; those that were not counted lately are dropped."""

    def __init__(self, most: int = MOST) -> None:
        self._half = most // 2
        self._latest: dict[int, int] = {}
        self._earlier: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._latest) + len(self._earlier)

    def of(self, it: int) -> int:
        return self._latest.get(it) or self._earlier.get(it, 0)

    def add(self, it: int, n: int) -> None:
        count = self.of(it) + n
        if it not in self._latest:
            self._earlier.pop(it, None)
            if len(self._latest) >= self._half:
                self._earlier, self._latest = self._latest, {}
        self._latest[it] = max(count, 0)


class Brake:
    """Knows how many messages each recipient got, and which were held or refused for that."""

    def __init__(self, settings: Settings) -> None:
        self.stopped = 0  # messages that were held or refused
        self.counts = Counts()
        self.refuses = settings.on_storm == "refuse"
        self.quota = settings.per_recipient  # of everybody; a key may have its own
        self._storm: Storm | None = None

    def passage(self, key: Key | None) -> "Passage | None":
        """
        The passage of one request's messages. The key's own quota holds, else the service's. None:
        there is no limit.
        """
        if key is not None and key.per_recipient is not None:
            return Passage(self, key.name, read_quota(key.per_recipient))
        return None if self.quota is None else Passage(self, "", self.quota)

    def storm(self, now: datetime) -> Storm | None:
        """The storm of this period; None: there is none."""
        if self._storm is not None and now.timestamp() >= self._storm.ends:
            self._storm = None
        return self._storm

    def forget(self, is_person: Callable[[str], bool], name: str) -> None:
        """Replace the name of the storm's recipient, if this person is erased."""
        if self._storm is not None and is_person(self._storm.recipient):
            self._storm = replace(self._storm, recipient=name)

    def troubles(self, now: datetime) -> tuple[Trouble, ...]:
        """The storm, as an alert."""
        if (storm := self.storm(now)) is None:
            return ()
        done = "refused" if self.refuses else "held"
        several = (
            f"{storm.count} messages were {done}" if storm.count > 1 else f"a message was {done}"
        )
        text = f"{several} (reason: storm): {storm.recipient} gets no more than {storm.quota.words}"
        return (Trouble("storm", "recipients", storm.since, text),)

    def note(self, stopped: "Stopped") -> None:
        """Another message was held or refused."""
        self.stopped += 1
        storm = self.storm(stopped.at)
        if storm is None:
            self._storm = Storm(stopped.at, stopped.ends, stopped.recipient, stopped.quota, 1)
        else:
            ends = max(stopped.ends, storm.ends)
            self._storm = replace(storm, ends=ends, count=storm.count + 1)


class Stopped(Struct, frozen=True):
    """A message that was held or refused, and the recipient that has had its quota."""

    at: datetime
    ends: float  # of the time that the quota is for, in seconds since 1970
    recipient: str
    quota: Quota


class Passage:
    """
    Holds or refuses the messages of one request that are beyond the quota, and counts the others,
    unless they are given back.
    """

    def __init__(self, brake: Brake, scope: str, quota: Quota) -> None:
        self._brake = brake
        self._counts = brake.counts
        self._scope = scope
        self._quota = quota
        self._counted: list[int] = []
        self._stopped: list[Stopped] = []

    async def through(
        self, admitted: Sequence[Admitted | Refusal], *, strict: bool
    ) -> list[Admitted | Refusal]:
        """
        The same, with the messages beyond the quota held or refused. Strict: the first that is
        refused is raised, with its place in the batch.
        """
        passed: list[Admitted | Refusal] = []
        turn = Turn()
        for position, each in enumerate(admitted):
            if turn.over:
                await turn.next()
            result = self._passed(each) if isinstance(each, Admitted) else each
            if strict and isinstance(result, RecipientRate):
                raise _placed(result, position, len(admitted))
            passed.append(result)
        return passed

    def _passed(self, admitted: Admitted) -> Admitted | Refusal:
        delivery = admitted.delivery
        if delivery.status not in WAITING or delivery.route is Route.SIMULATOR:
            return admitted
        counted, most = self._names(delivery), self._quota.count
        over = next((to for to, name in counted.items() if self._counts.of(name) >= most), None)
        if over is None:
            for name in counted.values():
                self._counts.add(name, 1)
            self._counted += counted.values()
            return admitted
        stopped = Stopped(delivery.created_at, self._ends(delivery), over, self._quota)
        why = f"{over} gets no more than {self._quota.words}"
        if self._brake.refuses:
            self._brake.note(stopped)
            wait = max(1, round(stopped.ends - stopped.at.timestamp()))
            return RecipientRate(f"{why}; more are allowed in {wait} s", retry_after=wait)
        self._stopped.append(stopped)
        return admitted.of(stormy(delivery, why, delivery.created_at))

    def keep(self, superseded: Sequence[Delivery]) -> None:
        """Count the messages, which were accepted. Those that they supersede do not count."""
        for stopped in self._stopped:
            self._brake.note(stopped)
        for delivery in superseded:
            for name in self._names(delivery).values():
                self._counts.add(name, -1)

    def give_back(self) -> None:
        """Count nothing, because nothing was accepted."""
        for name in self._counted:
            self._counts.add(name, -1)

    def _names(self, delivery: Delivery) -> dict[str, int]:
        """
        The names under which the message counts, one for each recipient in the period in which the
        message is due.
        """
        time = int(delivery.due_at.timestamp()) // self._quota.seconds
        to = delivery.pending.recipients
        if delivery.handed_to:  # a text may be in parts
            to = tuple(part_of(each)[0] for each in to)
        scope = (self._scope, self._quota.seconds, time)
        return {each: hash((scope, each.lower())) for each in to}

    def _ends(self, delivery: Delivery) -> float:
        """When the period in which the message is due ends, in seconds since 1970."""
        seconds = self._quota.seconds
        return (int(delivery.due_at.timestamp()) // seconds + 1) * seconds


def _placed(refusal: RecipientRate, position: int, count: int) -> RecipientRate:
    if count == 1:
        return refusal
    reason = f"message {position} of the batch (the first is 0): {refusal}"
    return RecipientRate(reason, retry_after=refusal.retry_after)
