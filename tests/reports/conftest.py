"""A journal of each kind, as the journals' own tests have it."""

from tests.journal.conftest import journal, journal_here

__all__ = ["journal", "journal_here"]
