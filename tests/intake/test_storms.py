"""The storm brake: how many messages one recipient gets, and what becomes of the others."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from notifier.deliveries import Status
from notifier.errors import IdempotencyMismatch, RecipientRate
from notifier.intake.storms import Counts
from notifier.intake.submission import IdempotencyKey
from notifier.journal import Filter
from notifier.keys import new_key
from notifier.messages import Email
from notifier.quotas import Quota, read_quota
from notifier.service import Notifier
from notifier.settings import Settings

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
TWO = Quota(2, "h")


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def braking(folder, clock=None, **settings):
    """A service that sends nothing, with a quota of two an hour."""
    given = {"per_recipient": TWO} | settings
    async with Notifier(Settings(data_dir=str(folder), **given), clock=clock or Clock()) as service:
        await service.pause()
        yield service


def to(*addresses, **changes):
    return Email(**({"to": addresses, "sender": "us@x.org", "text": "Hi."} | changes))


async def send(service, *messages, **given):
    return (await service.submit(messages, **given)).deliveries


def key(name="shop", **terms):
    made, _ = new_key(name, now=NOON, **terms)
    return made


async def test_a_message_beyond_the_quota_is_held(tmp_path):
    """The reason is `storm`; an event says who gets too many; other recipients get theirs."""
    async with braking(tmp_path) as service:
        for _ in range(2):
            (passed,) = await send(service, to("ann@x.org"))
            assert passed.status == "queued"
        (held,) = await send(service, to("bob@x.org", "Ann@x.org"))
        assert (held.status, held.reason) == ("held", "storm")
        assert held.events[-1].what == "held"
        assert held.events[-1].detail == "Ann@x.org gets no more than 2 an hour"
        (bob,) = await send(service, to("bob@x.org"))
        assert bob.status == "queued"
        assert await service.count(Filter(reason="storm"), most=9) == 1
        assert await service.message(held.id) == held


async def test_held_messages_are_released_or_cancelled_by_reason(tmp_path):
    """The bulk acts with `reason=storm` leave messages alone that are held for another reason."""
    async with braking(tmp_path) as service:
        for _ in range(4):
            await send(service, to("ann@x.org"))
        (other,) = await send(service, to("bob@x.org", subject="storm"))
        await service.journal.amend(other.id, lambda each: each.held("the outcome is unknown"))
        which = Filter(reason="storm", status=(Status.HELD,))
        assert await service.count(which, most=9) == 2
        assert await service.change_all("retry", which) == 2
        assert await service.count(which, most=9) == 0
        assert (await service.message(other.id)).status == "held"


async def test_the_next_hour_has_a_quota_of_its_own(tmp_path):
    """A message counts in the hour in which it is due, also one that is scheduled."""
    clock = Clock()
    async with braking(tmp_path, clock) as service:
        later = NOON + timedelta(hours=5)
        scheduled = [to("ann@x.org", send_at=later) for _ in range(3)]
        made = await send(service, *scheduled, to("ann@x.org"), to("ann@x.org"), to("ann@x.org"))
        states = [each.status.value for each in made]
        assert states == ["scheduled", "scheduled", "held", "queued", "queued", "held"]
        clock.now = NOON + timedelta(hours=1)
        (again,) = await send(service, to("ann@x.org"))
        assert again.status == "queued"


async def test_rejected_message_does_not_count(tmp_path):
    """Neither a repeated request, nor one that is refused."""
    async with braking(tmp_path) as service:
        same = IdempotencyKey("k", b"f")
        for _ in range(5):
            await service.submit([to("ann@x.org")], idempotency=same, render=lambda _: b"x")
        with pytest.raises(IdempotencyMismatch):
            await send(service, to("ann@x.org"), idempotency=IdempotencyKey("k", b"other"))
        (second,) = await send(service, to("ann@x.org"))
        assert second.status == "queued"
        (third,) = await send(service, to("ann@x.org"))
        assert third.status == "held"


async def test_superseded_message_does_not_count(tmp_path):
    """Nobody gets it, so the newest one goes."""
    async with braking(tmp_path) as service:
        for _ in range(6):
            (newest,) = await send(service, to("ann@x.org", collapse_key="load"))
            assert newest.status == "queued"


async def test_held_message_supersedes_nothing(tmp_path):
    """The earlier message goes in its place."""
    async with braking(tmp_path) as service:
        await send(service, to("ann@x.org"))
        (waiting,) = await send(service, to("ann@x.org", collapse_key="load"))
        (held,) = await send(service, to("ann@x.org", collapse_key="load"))
        assert held.status == "held"
        assert (await service.message(waiting.id)).status == "queued"


async def test_beyond_the_quota_messages_are_refused_if_that_is_set(tmp_path):
    """A single one and a strict batch as a whole; in a permissive batch that message alone."""
    async with braking(tmp_path, on_storm="refuse") as service:
        await send(service, to("ann@x.org"), to("ann@x.org"))
        with pytest.raises(RecipientRate, match="2 an hour; more are allowed in 3600 s") as refused:
            await send(service, to("ann@x.org"))
        assert refused.value.retry_after == 3600
        with pytest.raises(RecipientRate, match=r"message 1 of the batch .*ann@x\.org"):
            await send(service, to("bob@x.org"), to("ann@x.org"))
        batch = [to("bob@x.org"), to("ann@x.org"), to("bob@x.org")]
        results = []
        await service.submit(batch, strict=False, render=lambda each: results.extend(each) or b"")
        assert [type(each).__name__ for each in results] == [
            "Delivery", "RecipientRate", "Delivery",
        ]  # fmt: skip


async def test_a_key_may_have_a_quota_of_its_own(tmp_path):
    """It holds for the key's messages alone, in place of the service's."""
    async with braking(tmp_path) as service:
        loud = key("loud", per_recipient="3/h")
        made = await send(service, *[to("ann@x.org") for _ in range(4)], key=loud)
        assert [each.status.value for each in made] == ["queued"] * 3 + ["held"]
        others = await send(service, *[to("ann@x.org") for _ in range(3)], key=key())
        assert [each.status.value for each in others] == ["queued"] * 2 + ["held"]


async def test_message_that_never_leaves_does_not_count(tmp_path):
    """Messages to the simulator, and those of a test key."""
    async with braking(tmp_path) as service:
        simulated = await send(service, *[to("success@simulator.notifier") for _ in range(3)])
        tested = await send(service, *[to("a@x.org") for _ in range(3)], key=key(kind="test"))
        assert {each.status.value for each in (*simulated, *tested)} == {"queued"}


async def test_a_storm_is_one_alert(tmp_path):
    """It counts the messages, names the first recipient, and is over with the hour."""
    clock = Clock()
    async with braking(tmp_path, clock) as service:
        await send(service, *[to("ann@x.org") for _ in range(12)])
        (trouble,) = service.health().troubles
        assert (trouble.kind, trouble.subject) == ("storm", "recipients")
        assert trouble.text == (
            "10 messages were held (reason: storm): ann@x.org gets no more than 2 an hour"
        )
        assert service.intake.brake.stopped == 10
        clock.now = NOON + timedelta(hours=1)
        assert service.health().troubles == ()


async def test_held_messages_are_accepted_messages(tmp_path):
    """They are counted as accepted, and do not count as waiting."""
    async with braking(tmp_path) as service:
        await send(service, *[to("ann@x.org") for _ in range(5)])
        assert service.tally.accepted["email"] == 5
        assert service.figures.waiting == 2


def test_counts_are_bounded():
    """The things that were counted last are kept, however many there are."""
    counts = Counts(most=100)
    for number in range(10_000):
        counts.add(number, 1)
        counts.add(-1, 1)
    assert len(counts) <= 100
    assert counts.of(-1) == 10_000
    assert counts.of(9_990) == 1


@pytest.mark.parametrize("text", ["20", "0/h", "20/week", "-1/h", "1.5/h", "99999999/h"])
def test_invalid_quota_is_rejected(text):
    """It says what would be right."""
    with pytest.raises(ValueError, match="write 20/h, 5/min or 100/d"):
        read_quota(text)
