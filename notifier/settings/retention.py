"""Settings of how long things are kept."""

from typing import Annotated

from msgspec import Meta, Struct

from notifier.settings.parsers import DURATION


class Retention(Struct, frozen=True, kw_only=True):
    """The fields of Settings about that. A Struct has one base, so they follow one another."""

    retention: Annotated[
        float, DURATION, Meta(description="How long finished messages are kept.")
    ] = 30 * 86400.0
    body_retention: Annotated[
        float, DURATION, Meta(description="How long the contents of finished messages are kept.")
    ] = 7 * 86400.0
    held_retention: Annotated[
        float,
        DURATION,
        Meta(description="How long a `held` message waits for a decision before it expires."),
    ] = 30 * 86400.0
    audit_retention: Annotated[
        float, DURATION, Meta(description="How long the audit is kept, which tells who did what.")
    ] = 366 * 86400.0
