"""
The messages that callers send, as JSON.

The limits here are those that JSON Schema can express, so that the OpenAPI document has them.
`compose` checks what needs more than a schema, such as whether a text is an address.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from notifier.attempts import USUAL_REPORTS, Notify
from notifier.characters import CONTROLS
from notifier.deliveries import OnUncertain

# Control characters end header lines, or worse. RFC 5322, section 2.2.
NO_CONTROLS = rf"^[^{CONTROLS}]*(?![\s\S])"
# In a body only NUL is refused: no relay and no database takes it.
_NO_NUL = r"^[^\x00]*(?![\s\S])"

Mailbox = Annotated[
    str,
    Meta(
        pattern=NO_CONTROLS,
        min_length=3,
        max_length=998,
        description="An address, `ann@example.org`, or with a name, `Ann <ann@example.org>`.",
    ),
]
Line = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=998)]
# A field may have many lines, each folded at a blank; long threads have long References.
HeaderValue = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=8192)]
Label = Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=255)]
# Judged when it is composed: to find that a pattern fails takes 0.2 s for 14 MB.
Body = Annotated[str, Meta(extra_json_schema={"pattern": _NO_NUL})]
Recipients = Annotated[tuple[Mailbox, ...], Meta(max_length=50)]
HeaderName = Annotated[str, Meta(pattern=r"^[!-9;-~]+(?![\s\S])", min_length=1, max_length=50)]


class Attachment(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A file that goes with an email. With a `content_id` the HTML can show it: `cid:logo`."""

    filename: Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=255)]
    content: Annotated[bytes, Meta(description="The file in base64, RFC 4648, section 4.")]
    content_type: Annotated[
        str, Meta(pattern=r"^[ -~]+(?![\s\S])", max_length=255, examples=["application/pdf"])
    ] = "application/octet-stream"
    content_id: (
        Annotated[
            str,
            Meta(pattern=r"^<?[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]+>?(?![\s\S])", max_length=255),
        ]
        | None
    ) = None


Moment = Annotated[datetime, Meta(tz=True)]


class Message(
    Struct,
    tag_field="channel",
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
):
    """The fields of every message, whatever its channel."""

    template: (
        Annotated[
            Label,
            Meta(
                description="Name of a template that makes the content; instead of `text` and "
                "`html`."
            ),
        ]
        | None
    ) = None
    data: Annotated[
        dict[str, Any], Meta(max_length=200, description="The template's variables.")
    ] = {}
    send_at: (
        Annotated[Moment, Meta(description="The message is not sent before this time.")] | None
    ) = None
    expires_at: (
        Annotated[Moment, Meta(description="The message is not sent after this time.")] | None
    ) = None
    ttl: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=366 * 86400,
                description="Seconds after the due time until the message expires; instead of "
                "`expires_at`.",
            ),
        ]
        | None
    ) = None
    priority: Annotated[
        Literal["urgent", "normal", "bulk"],
        Meta(description="Which messages are sent first. Bulk messages never hold up the others."),
    ] = "normal"
    collapse_key: (
        Annotated[
            Label,
            Meta(description="A newer message with the same key supersedes those that still wait."),
        ]
        | None
    ) = None
    reference: (
        Annotated[Label, Meta(description="Your own reference, by which the message can be found.")]
        | None
    ) = None
    tags: Annotated[tuple[Label, ...], Meta(max_length=20)] = ()
    metadata: Annotated[
        dict[Label, Any], Meta(max_length=50, description="At most 32 KiB of JSON.")
    ] = {}
    user_id: Label | Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    on_uncertain: OnUncertain = OnUncertain.RESEND
    despite_suppression: Annotated[
        bool,
        Meta(
            description="Send also to suppressed recipients. Needs a key with the scope `manage`."
        ),
    ] = False


class Email(Message, tag="email", frozen=True, kw_only=True):
    """An email. `text`, `html` or `template` is needed."""

    to: Annotated[tuple[Mailbox, ...], Meta(min_length=1, max_length=50)]
    cc: Recipients = ()
    bcc: Recipients = ()
    sender: Mailbox | None = msgspec.field(name="from", default=None)
    reply_to: Mailbox | None = None
    subject: Line = ""
    text: Body | None = None
    html: Body | None = None
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=20)] = ()
    headers: Annotated[
        dict[HeaderName, HeaderValue],
        Meta(
            max_length=20,
            description="X-*, List-* and other harmless headers. `Auto-Submitted: no` leaves "
            "that field out.",
        ),
    ] = {}
    notify: Annotated[
        tuple[Notify, ...],
        Meta(
            max_length=3,
            description="What the relay is asked to report to the return path; an empty list: "
            "nothing. Needs a return path, and a relay that offers DSN (RFC 3461).",
        ),
    ] = USUAL_REPORTS


# A field of a mail's header: its name in lower case, and all of it as it is written.
HeaderField: TypeAlias = tuple[str, bytes]
MOST_SOURCE_RECIPIENTS = 100  # RFC 5321, section 4.5.3.1.8


class Source(Message, tag="email", frozen=True, kw_only=True):
    """
    An email that was submitted as a whole, RFC 5322. Its recipients are those of the envelope;
    `sender` is the envelope's, empty: the author. `smtputf8`: the client says that the header may
    need RFC 6531. `body` begins with the empty line.
    """

    to: tuple[str, ...]
    fields: tuple[HeaderField, ...]
    body: bytes
    sender: str = ""
    smtputf8: bool = False
    notify: tuple[Notify, ...] = USUAL_REPORTS


class Long(StrEnum):
    """What to do with a text that needs more than one segment."""

    SPLIT = "split"  # several texts, each with its place: (1/3)
    REFUSE = "refuse"
    SEND = "send"  # unchanged; the gateway or provider decides


class Sms(Message, tag="sms", frozen=True, kw_only=True):
    """
    A text message. `carrier` names the carrier whose gateway takes it; it is not needed if the
    service has a provider. `downgrade` replaces typographic quotes, dashes and spaces by plain ones
    if that keeps the text in GSM-7.
    """

    to: Annotated[
        str,
        Meta(
            pattern=NO_CONTROLS,
            min_length=1,
            max_length=64,
            description="A phone number such as `+12025550123`. Without `+` it is a number in the "
            "region `NOTIFIER_SMS_REGION`.",
        ),
    ]
    carrier: Label | None = None
    text: Annotated[str, Meta(pattern=_NO_NUL, min_length=1, max_length=1600)] | None = None
    long: Long = Long.SPLIT
    downgrade: bool = False
