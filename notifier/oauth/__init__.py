"""
Get access tokens by OAuth 2 (RFC 6749), and have a good one ready for each relay that needs one.

`sections` reads the file that NOTIFIER_OAUTH names, and `grants` says for each relay which token
it needs. `requests` asks a token endpoint, with `assertions` where it wants a signed JWT, and
`programs` runs a command that prints a token; `answers` reads what they say. `refreshing` keeps
the token fresh.
"""

from notifier.oauth.grants import grant_for, grant_to_read, grants_of
from notifier.oauth.sections import Section, read_sections

__all__ = ["Section", "grant_for", "grant_to_read", "grants_of", "read_sections"]
