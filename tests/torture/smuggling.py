"""Mail bodies made of dots and line ends, each of which must stay one message."""

import random

from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying

SMUGGLED = "MAIL FROM:<eve@example.net>"
PIECES = [
    *(
        "\r\n.\r\n",
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\r",
        "\r\n.\n",
        "\r\r\n.\r\n",
        ".",
        "..",
        "\n",
    ),
    *("\r", "\r\n", "x", f"{SMUGGLED}\r\n", "RCPT TO:<eve@example.net>\r\nDATA\r\n", "\r\n..\r\n"),
]


def body_of(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 12)))


async def smuggle(folder, count, seed):
    """Send so many bodies full of dots and line ends: each is to be one message at the relay."""
    rng = random.Random(seed)
    async with (
        ScriptedRelay() as relay,
        notifying(folder, relay, max_backlog=10**6) as service,
    ):
        bodies = [body_of(rng) for _ in range(count)]
        receipt = await service.submit(
            [email(f"n{n}@example.org", text=text) for n, text in enumerate(bodies)], strict=False
        )
        for delivery in receipt.deliveries:
            assert (await ended(service, delivery.id)).status == "sent"
    sent = len(receipt.deliveries)
    assert len(relay.received) == sent
    assert len({recipients for _, recipients, _ in relay.received}) == sent
    assert {sender for sender, _, _ in relay.received} == {"us@example.org"}
    assert not any("eve" in line for line in relay.heard)
    for _, _, content in relay.received:
        rest = content.replace(b"\r\n", b"")
        assert b"\r" not in rest
        assert b"\n" not in rest
    return sent
