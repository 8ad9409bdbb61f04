"""
Takes mail from SMTP clients, for callers that speak nothing else: message submission, RFC 6409.

`agent` listens, and says who may send what; what it takes goes the way of every message, through
the intake. `connection` is one client, and `memory` bounds the mails of all. `replies` writes
replies, also those for errors.
"""

from notifier.submission_agent.agent import Agent

__all__ = ["Agent"]
