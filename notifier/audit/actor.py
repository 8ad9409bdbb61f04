"""Who acts where nobody calls: the user of the system."""

import os
import pwd


def actor() -> str:
    """As in timelines: `cli:` and the user's name, or the number if the system has no name."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"cli:{name}"
