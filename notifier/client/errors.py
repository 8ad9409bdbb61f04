"""What can go wrong with a call."""


class NotifierError(Exception):
    """A call did not do what it was to do. Every error of this package is one."""
