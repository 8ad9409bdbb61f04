"""A real server for the client's tests."""

from notifier.testing.plugin import notifier_mailbox, notifier_server

__all__ = ["notifier_mailbox", "notifier_server"]
