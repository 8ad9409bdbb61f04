"""notifier: a notification service in one process, with a journal instead of a broker."""

__version__ = "1.0.0"
