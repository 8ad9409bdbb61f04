"""Code as users write it, for mypy --strict alone: types are known, and mistakes are found."""

from collections.abc import Iterator
from datetime import timedelta
from typing import assert_type

from notifier.client import (
    AsyncNotifier,
    Draft,
    Message,
    Notifier,
    Problem,
    Rejected,
    verify_callback,
)


def run(client: Notifier, drafts: list[Draft]) -> str:
    sent = client.send("ann@example.org", from_="us@example.org", text="Hello", ttl=timedelta(1))
    assert_type(sent, Message)
    assert_type(client.batch([{"to": "ann@example.org", "text": "Hello"}]), list[Message])
    assert_type(client.batch(drafts, permissive=True), list[Message | Problem])
    assert_type(client.list(status="failed"), Iterator[Message])
    try:
        client.cancel(sent.id)
    except Rejected as error:
        return error.errors[0].pointer or ""
    # mypy must find these; it warns of an ignore that it does not need.
    client.send("ann@example.org", subjekt="Hello")  # type: ignore[call-arg]
    client.send(17, text="Hello")  # type: ignore[arg-type]
    client.batch([{"text": "Hello"}])  # type: ignore[list-item]
    return verify_callback({"webhook-id": "1"}, b"{}", ["whsec_a2V5"]).message.id


async def arun(client: AsyncNotifier) -> None:
    assert_type(await client.wait("m1", timeout=5), Message)
    async for message in client.list(tag="orders"):
        assert_type(message, Message)
