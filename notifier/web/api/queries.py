"""The query parameters of the calls about messages."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from notifier.attempts import Notify
from notifier.deliveries import Status
from notifier.journal import Filter
from notifier.messages import Label, Mailbox

Word = Annotated[str, Meta(max_length=998, pattern=r"^[^\x00]*$")]
Moment = Annotated[datetime, Meta(tz=True)]
_AS_JSON = "Of a `message/rfc822`: as the field of this name in JSON (`tag`: `tags`)."


class Filters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects messages."""

    status: tuple[Status, ...] = ()
    channel: Word | None = None
    user_id: Word | None = None
    reference: Word | None = None
    tag: Word | None = None
    to: Annotated[Word, Meta(description="The whole address of a recipient.")] | None = None
    relay: Annotated[Word, Meta(description="The relay of the last attempt.")] | None = None
    key: (
        Annotated[Word, Meta(description="The name of the API key that sent the message.")] | None
    ) = None
    reason: (
        Annotated[
            Word,
            Meta(description="The whole reason of the status, such as `storm`. It has no index."),
        ]
        | None
    ) = None
    bounced: (
        Annotated[
            bool,
            Meta(description="Whether a recipient's server returned it after a relay took it."),
        ]
        | None
    ) = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: (
        Annotated[
            Word,
            Meta(
                description="Words. Each of them must occur in the subject, sender, recipients, "
                "reference, user id, tags, id or reason. This search has no index: a page may "
                "have fewer than `limit` messages, and `next_cursor` leads to the next one."
            ),
        ]
        | None
    ) = None

    def filter(self) -> Filter:
        given = {name: getattr(self, name) for name in Filters.__struct_fields__}
        return Filter(**given | {"q": (self.q and self.q.strip()) or None})


class MessageQuery(Filters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects messages, and a page of them."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: (
        Annotated[str, Meta(min_length=1, description="The `next_cursor` of the page before.")]
        | None
    ) = None


class SendQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How to treat a submitted message."""

    dry_run: Annotated[
        bool,
        Meta(
            description="Check and compose the message without accepting it, and answer with "
            "what would be sent."
        ),
    ] = False


class SourceQuery(SendQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to treat a submitted message, also a mail submitted as a whole (`message/rfc822`)."""

    to: Annotated[
        tuple[Mailbox, ...],
        Meta(
            max_length=100,
            description="Of a `message/rfc822`: a recipient; may be repeated. Default: those that "
            "the mail names in To, Cc and Bcc.",
        ),
    ] = ()
    sender: (
        Annotated[
            Mailbox,
            Meta(description="Of a `message/rfc822`: the envelope's sender. Default: the author."),
        ]
        | None
    ) = msgspec.field(name="from", default=None)
    reference: Annotated[Label, Meta(description=_AS_JSON)] | None = None
    tag: Annotated[tuple[Label, ...], Meta(max_length=20, description=_AS_JSON)] = ()
    priority: Annotated[Literal["urgent", "normal", "bulk"], Meta(description=_AS_JSON)] | None = (
        None
    )
    send_at: Annotated[Moment, Meta(description=_AS_JSON)] | None = None
    expires_at: Annotated[Moment, Meta(description=_AS_JSON)] | None = None
    ttl: Annotated[int, Meta(ge=1, le=366 * 86400, description=_AS_JSON)] | None = None
    collapse_key: Annotated[Label, Meta(description=_AS_JSON)] | None = None
    user_id: Annotated[Label, Meta(description=_AS_JSON)] | None = None
    notify: Annotated[
        tuple[Notify, ...],
        Meta(max_length=3, description=f"{_AS_JSON} Default: as there."),
    ] = ()


class ShowQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How to look at one message."""

    wait: Annotated[
        int,
        Meta(
            ge=0,
            le=3600,
            description="Seconds to wait for a new status or attempt, unless the message is "
            "final; at most NOTIFIER_WAIT_LIMIT.",
        ),
    ] = 0
