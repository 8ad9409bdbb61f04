"""
SMTP to relays. No other part of notifier sends mail.

`relays` offers a message to one relay after the other and returns an `Attempt`; `relay` is one of
them, with its `pool` of connections, or another `carrier`. `turns` makes messages wait for a
place with it, `pacing` for its rate, and `pipelining` says whether the next message's commands
may go ahead, behind the dot of the one before. `outcomes` joins the outcomes of several offers;
`states` are for people.

A connection is opened by `connect` (with `resolver`, `tunnel` and `login`), is a `session`, and
reads `replies`. A `transaction` is one message over it, in an envelope by `return_path`; `dsn`
asks for reports about it.

`failures` is the policy: what each failure means; `known_replies` are its rows for what providers
are known to say. `remedies` tells an operator what to do about it, and `probe` looks at a relay
step by step for `notifier check`.
"""

from notifier.breaker import Rests, State
from notifier.smtp.relay import Relay
from notifier.smtp.relays import Relays
from notifier.smtp.session import Timeouts
from notifier.smtp.states import RelayState, Trouble

__all__ = ["Relay", "RelayState", "Relays", "Rests", "State", "Timeouts", "Trouble"]
