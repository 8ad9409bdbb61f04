"""Who calls, and what they may."""

from notifier.keys import Key
from notifier.web.bodies import AnyRequest

KEY = "notifier_key"  # in the request's state


def key_of(request: AnyRequest) -> Key | None:
    """The API key that the guard has let in; None: the caller is anonymous, and may be."""
    key: Key | None = request.scope["state"].get(KEY)
    return key
