"""What is wrong, what is well, and what is neither."""

from datetime import timedelta

from msgspec.structs import replace

from notifier.alerts import conditions
from notifier.alerts.conditions import ENOUGH_DISK_BYTES, LOW_DISK_BYTES, Conditions
from notifier.deliveries import Status
from notifier.housekeeping.health import Health
from notifier.settings import Settings
from tests.clocks import Clock
from tests.deliveries import NOW

WELL = Health(
    ready=True, reasons=(), relays=(), counts={}, oldest_due_at=None, paused=False, held_since=None
)


def test_message_held_for_long_raises_an_alert_with_its_deadline():
    """The alert comes after `alert_after`, and ends once nothing is held."""
    clock = Clock(NOW)
    watched = Conditions(Settings(alert_after=600.0, held_retention=86400.0), clock=clock)

    def look(since):
        return watched.look(replace(WELL, counts={Status.HELD: 2}, held_since=since))

    name = ("messages_held", "held")
    assert name in look(NOW).unclear
    clock.now = NOW + timedelta(seconds=600)
    since, words = look(NOW).wrong[name]
    assert since == NOW
    ends = (NOW + timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    assert words == (
        f"2 held messages wait for a decision (retry, cancel or settle); "
        f"the oldest expires at {ends} UTC"
    )
    none = look(None)
    assert name not in none.wrong
    assert name not in none.unclear


def test_a_disk_alert_has_hysteresis(monkeypatch):
    """So an alert does not come and go with each file; its end needs a quarter more."""
    watched = Conditions(Settings(), clock=Clock(NOW))

    def seen(free):
        def free_bytes(_):
            if free is None:
                raise FileNotFoundError
            return free

        monkeypatch.setattr(conditions, "free_bytes", free_bytes)
        found = watched.look(WELL)
        return {name for name, _ in found.wrong}, {name for name, _ in found.unclear}

    assert seen(LOW_DISK_BYTES - 1) == ({"disk_low"}, set())
    assert seen(LOW_DISK_BYTES) == (set(), {"disk_low"})
    assert seen(ENOUGH_DISK_BYTES - 1) == (set(), {"disk_low"})
    assert seen(ENOUGH_DISK_BYTES) == (set(), set())
    assert seen(None) == (set(), {"disk_low"})
