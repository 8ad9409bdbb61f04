"""What is held ends."""

from datetime import timedelta

from notifier.deliveries import Route, Status
from notifier.housekeeping.pruning import Pruning
from notifier.settings import Settings
from notifier.supervisor import Supervisor
from tests.clocks import Clock
from tests.deliveries import NOW, entry


async def test_held_message_ends_after_its_retention(journal):
    """A held message expires after its retention and not before, and listeners are called."""
    ended = []
    settings = Settings(held_retention=3600.0)
    pruning = Pruning(
        journal, settings, supervisor=Supervisor(), clock=Clock(NOW), ended=ended.append
    )
    await journal.add([entry("held")])
    [claim] = await journal.claim(Route.RELAY, 1, now=lambda: NOW)
    await journal.record(claim.delivery.held("nobody can know"))
    await pruning.expire_held(NOW + timedelta(seconds=3599))
    assert (await journal.get("held")).status is Status.HELD
    await pruning.expire_held(NOW + timedelta(seconds=3600))
    assert [(each.id, each.status) for each in ended] == [("held", Status.EXPIRED)]
    assert "nobody can know" in (await journal.get("held")).reason
    assert await journal.content("held") == b"content"
