"""
Admission of messages: check them, compose them, and put them into the journal.

`submission` is the entrance; `admission` checks a message and composes it; `sources` reads mails
that come as a whole; `copies` makes a message of an earlier one; `rates` limits how much each API
key may send, `storms` how many messages one recipient gets, and `allowance` is what one submission
takes of both.
"""
