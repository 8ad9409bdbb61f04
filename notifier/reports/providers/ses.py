"""
Amazon SES, whose events come by SNS.

* https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
* https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any

import structlog

from notifier.recipients import LaterState
from notifier.reports.providers.certificates import Certificates
from notifier.reports.providers.event import (
    BadSignature,
    Received,
    Unreadable,
    items,
    moment,
    object_of,
    text,
)
from notifier.reports.report import Report

ARN = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{1,40}):[0-9]{12}:[A-Za-z0-9_.-]{1,260}"
)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]

log = structlog.get_logger()


class Ses:
    """Reads what SNS brings of these topics, and confirms subscriptions to them."""

    name = "ses"

    def __init__(self, topics: Sequence[str], certificates: Certificates) -> None:
        self._topics = frozenset(topics)
        self._certificates = certificates

    async def read(self, received: Received) -> Sequence[Report]:
        outer = object_of(received.body)
        topic, kind = text(outer, "TopicArn"), text(outer, "Type")
        if topic not in self._topics:
            raise BadSignature("the topic is not the one that is configured for ses")
        if kind not in _SIGNED:
            raise Unreadable("Type must be Notification or SubscriptionConfirmation")
        await self._check(outer, kind, host_of(topic))
        if kind == "Notification":
            message = outer.get("Message")
            return list(_reports(object_of(message if isinstance(message, str) else b"")))
        if kind == "SubscriptionConfirmation":
            await self._certificates.confirm(text(outer, "SubscribeURL"), host_of(topic))
            log.info("subscription_confirmed", provider=self.name, topic=topic)
        else:
            log.warning("subscription_ended", provider=self.name, topic=topic)
        return []

    async def _check(self, outer: dict[str, Any], kind: str, host: str) -> None:
        """Raises BadSignature."""
        pairs = [(name, outer[name]) for name in _SIGNED[kind] if outer.get(name) is not None]
        if not all(isinstance(value, str) for _, value in pairs):
            raise Unreadable("its fields must be texts")
        signed = "".join(f"{name}\n{value}\n" for name, value in pairs)
        try:
            signature = base64.b64decode(text(outer, "Signature"), validate=True)
        except binascii.Error:
            signature = b""
        await self._certificates.check(
            signature,
            signed.encode(errors="surrogatepass"),
            version=text(outer, "SignatureVersion"),
            url=text(outer, "SigningCertURL"),
            host=host,
        )


def host_of(topic: str) -> str:
    """The host of SNS in the region of a topic."""
    found = ARN.fullmatch(topic)
    if found is None:
        raise ValueError(f"{topic!r} is not the ARN of a topic")
    end = "amazonaws.com.cn" if found[1] == "aws-cn" else "amazonaws.com"
    return f"sns.{found[2]}.{end}"


def _reports(event: dict[str, Any]) -> Iterator[Report]:
    """What an event says of each recipient. It may be of a topic or of a configuration set."""
    kind = text(event, "notificationType") or text(event, "eventType")
    mail = event.get("mail")
    about = Report(
        state=LaterState.BOUNCED,
        road=Ses.name,
        paths=tuple(filter(None, (text(mail, "source"),))),
        message_id=_message_id(mail),
    )
    match kind:
        case "Bounce":
            yield from _bounces(event.get("bounce"), about)
        case "Complaint":
            yield from _complaints(event.get("complaint"), about)
        case "Delivery":
            said = event.get("delivery")
            for address in items(said, "recipients"):
                words = text(said, "smtpResponse")
                yield _of(about, LaterState.DELIVERED, said, address, words)
        case "DeliveryDelay":
            said = event.get("deliveryDelay")
            for each in items(said, "delayedRecipients"):
                words = text(each, "diagnosticCode") or text(said, "delayType")
                yield _of(about, LaterState.DELAYED, said, each, words, text(each, "status"))
        case "Reject":
            for address in items(mail, "destination"):
                words = f"SES rejected it: {text(event, 'reject', 'reason')}"
                yield _of(about, LaterState.BOUNCED, mail, address, words)


def _bounces(said: Any, about: Report) -> Iterator[Report]:
    for each in items(said, "bouncedRecipients"):
        status, action = text(each, "status"), text(each, "action").lower()
        # Of a transient bounce SES does not always say that it has given up; it may also be the
        # automatic answer of a reader.
        final = text(said, "bounceType") == "Permanent" or action == "failed" or status[:1] == "5"
        words = text(each, "diagnosticCode") or " ".join(
            filter(None, (text(said, "bounceType"), text(said, "bounceSubType")))
        )
        state = LaterState.BOUNCED if final else LaterState.DELAYED
        yield _of(about, state, said, each, words, status)


def _complaints(said: Any, about: Report) -> Iterator[Report]:
    kind = text(said, "complaintFeedbackType")
    if kind == "not-spam":
        return
    for each in items(said, "complainedRecipients"):
        yield _of(about, LaterState.COMPLAINED, said, each, kind or "complaint")


def _of(
    about: Report, state: LaterState, said: Any, who: Any, words: str, code: str = ""
) -> Report:
    address = who if isinstance(who, str) else text(who, "emailAddress")
    return Report(
        state=state,
        road=about.road,
        at=moment(text(said, "timestamp")),
        code=code,
        text=words,
        paths=about.paths,
        message_id=about.message_id,
        recipients=(address,),
    )


def _message_id(mail: Any) -> str:
    """Our Message-ID, which SES replaces, and tells where original headers are included."""
    for each in items(mail, "headers"):
        if text(each, "name").lower() == "message-id":
            return text(each, "value")
    return text(mail, "commonHeaders", "messageId")
