"""
What the service does every now and then.

`upkeep` keeps figures fresh, prunes, and watches the clock; `history` counts by the minute over a
day; `replicas` heeds what other replicas do; `health` is how the service is, at a glance.
"""
