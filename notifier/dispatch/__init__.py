"""
Claim due deliveries, send them, and record their outcomes.

`dispatcher` runs the claims and the workers; `shares` says how much of the workers and of the
window each queue may have; `sending` sends one claimed delivery and records what came of it,
whatever the journal's state; `chained` sends by the relays whose conditions hold; `transports`
opens the transports: relays, gateways, the simulator, an SMS provider.
"""
