"""
Take a message in: admit it, compose it, put it into the journal.

`submission` is the way in; `admission` judges a message and composes it; `rates` limits how much
each API key may hand in.
"""
