"""
Deliver envelopes over SMTP: the only part of notifier that speaks it.

`Relays` offers a message to the relays in turn and returns an `Attempt`; `failures` says
what each trouble means, and is the place to change it. `connect` is the one handshake, for
messages and for `notifier check` alike (`probe`).
"""

from notifier.breaker import Rests, State
from notifier.smtp.relay import Relay, RelayState, Trouble
from notifier.smtp.relays import Relays
from notifier.smtp.session import Timeouts

__all__ = ["Relay", "RelayState", "Relays", "Rests", "State", "Timeouts", "Trouble"]
