"""Check a mailbox, and say what is wrong. No mail is sent."""

from collections.abc import AsyncIterator

import httpx2

from notifier.exchange import Exchange
from notifier.findings import Finding
from notifier.graph.answers import judge
from notifier.graph.carrier import ANSWER_SECONDS, client, post, url_of
from notifier.relayspec import RelaySpec
from notifier.tokens import NoToken, Tokens

# Invalid base64. Graph checks permission first, so a caller that may send gets this error.
NO_MESSAGE = b"!"


async def probe(spec: RelaySpec, tokens: Tokens) -> AsyncIterator[Finding]:
    """The finding of each step, as it is made. A failed one has the fault's name as its remedy."""
    try:
        token = await tokens.get()
    except NoToken as error:
        yield Finding("token", False, str(error), error.name)
        return
    until = f"{token.good_until:%Y-%m-%d %H:%M:%S} UTC"
    yield Finding("token", True, f"from {token.source}, good until {until}")
    async with client(spec, answer_seconds=ANSWER_SECONDS) as asking:
        try:
            answer = await post(asking, url_of(spec), token, NO_MESSAGE, Exchange())
        except (httpx2.HTTPError, OSError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            yield Finding("sendMail", False, said, "connect_failed")
            return
    failure = judge(answer).failure
    if answer.status == httpx2.codes.BAD_REQUEST and failure is not None and not failure.name:
        said = f"{spec.mailbox} may send; what was not a message was refused: {answer.reply}"
        yield Finding("sendMail", True, said)
    else:
        yield Finding("sendMail", False, answer.reply, failure.name if failure else "")
