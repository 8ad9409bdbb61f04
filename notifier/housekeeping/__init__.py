"""
What the service does every now and then.

`figures` keeps the backlog's figures fresh; `pruning` drops old messages; `set_back` moves due
times when the clock is set back; `history` counts by the minute over a day; `replicas` heeds what
other replicas do; `health` says how the service is, at a glance.
"""
