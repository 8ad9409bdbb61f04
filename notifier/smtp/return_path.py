"""The envelope that a relay gets: from the return path, where there is one."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from notifier.attempts import Attempt, Envelope, Failure, Scope
from notifier.smtp.outcomes import Offers
from notifier.verp import STAR, Verp

Send = Callable[[Envelope, bytes], Awaitable[Attempt]]


async def send_from(
    path: str, verp: Verp, envelope: Envelope, content: bytes, send: Send
) -> Attempt:
    """
    Send a message from this return path. With a star in it each recipient has a transaction of
    its own, one after another. Where one fails because of the relay, or its outcome is
    uncertain, the others are not tried any more.
    """
    if STAR not in path:
        return await send(replace(envelope, sender=path, return_path=path), content)
    offers = Offers(envelope)
    left = list(envelope.recipients)
    failures: dict[str, Failure] = {}
    while left:
        address = left.pop(0)
        sender = verp.address(path, envelope.id, address)
        one = replace(envelope, sender=sender, recipients=(address,), return_path=path)
        outcome = await send(one, content)
        offers.add(outcome)
        failure = outcome.failures.get(address)
        if outcome.uncertain:
            break
        if failure is not None and failure.scope is Scope.RELAY:
            failures = dict.fromkeys(left, failure)
            break
    whole = offers.as_one()
    return replace(whole, failures=whole.failures | failures) if failures else whole
