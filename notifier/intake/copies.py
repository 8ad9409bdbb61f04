"""Copies: the content of an earlier message for other recipients, as a message of its own."""

from collections.abc import Sequence
from typing import Any

from notifier.attempts import USUAL_REPORTS, Notify
from notifier.deliveries import Delivery, Route
from notifier.errors import Fault, InvalidMessage, WrongState
from notifier.messages import Message, Sms

PRUNED = "the content of this message has been deleted (NOTIFIER_BODY_RETENTION)"


class Readdressed(Message, tag="readdressed", frozen=True, kw_only=True):
    """A mail that was composed before, for other recipients."""

    to: tuple[str, ...]
    sender: str
    subject: str
    content: bytes
    notify: tuple[Notify, ...] = USUAL_REPORTS


class Copy(Message, tag="copy", frozen=True, kw_only=True):
    """The content to send again, and the id of the message that it comes from."""

    of: str
    what: Readdressed | Sms


def copy_of(original: Delivery, content: bytes, to: Sequence[str]) -> Copy:
    """
    A copy for these recipients, with what the original was found by: reference, tags, metadata,
    user id; also its priority and its policies. Raises InvalidMessage; WrongState for a message
    whose content cannot be taken apart again.
    """
    kept: dict[str, Any] = {
        "priority": original.priority.name.lower(),
        "reference": original.reference or None,
        "tags": original.tags,
        "metadata": original.metadata,
        "user_id": original.user_id or None,
        "on_uncertain": original.on_uncertain,
    }
    what: Readdressed | Sms
    if original.channel == "sms":
        if len(to) != 1:
            raise InvalidMessage(Fault("/to", "a text message has one recipient"))
        what = Sms(to=to[0], text=_text(original, content), **kept)
    elif not original.sender:
        raise WrongState(f"the message cannot be copied: {original.reason}")
    else:
        what = Readdressed(
            to=tuple(to),
            sender=original.sender,
            subject=original.subject,
            content=content,
            notify=original.notify,
            **kept,
        )
    return Copy(of=original.id, what=what)


def _text(original: Delivery, content: bytes) -> str:
    if original.route is not Route.PROVIDER:
        raise WrongState(
            "a text message to a carrier's gateway cannot be copied, because it was "
            "composed for this carrier; send the text as a new message"
        )
    from notifier.sms.provider import text_in  # the HTTP client takes its time to load

    return text_in(content)
