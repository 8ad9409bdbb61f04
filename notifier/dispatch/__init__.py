"""
Claim deliveries that are due, send them, and record what came of each.

`dispatcher` runs the claims and the workers; `shares` says how much of the workers and of the
window each way out may have; `recorder` writes outcomes, whatever the journal's state;
`transports` opens the ways out: relays, gateways, the simulator, an SMS provider.
"""
