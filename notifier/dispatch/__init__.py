"""
Claim due deliveries, send them, and record their outcomes.

`dispatcher` runs the claims and the workers; `shares` says how much of the workers and of the
window each queue may have; `chained` sends by the relays whose conditions hold; `recorder` writes
outcomes, whatever the journal's state; `transports` opens the transports: relays, gateways, the
simulator, an SMS provider.
"""
