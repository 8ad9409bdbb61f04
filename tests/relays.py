"""What tests of sending share: envelopes, short time limits, relays for scripted ones."""

import contextlib
from collections import Counter

from msgspec.structs import replace

from notifier.attempts import Envelope
from notifier.smtp import Relay, Relays, Rests, Timeouts
from notifier.smtp.session import USUAL_TIMEOUTS

SOURCE = b"Subject: Hello\r\n\r\nGood day.\r\n"
ANN, BOB, EVE = (f"{name}@example.org" for name in ("ann", "bob", "eve"))

# For relays that keep us waiting. The others get the usual limits: this machine may be slow.
SHORT = Timeouts(
    connect=0.5,
    greeting=0.5,
    tls=0.5,
    ehlo=0.5,
    auth=0.5,
    mail=0.5,
    rcpt=0.5,
    data=0.5,
    block=0.5,
    dot=0.5,
    rset=0.5,
    quit=0.2,
)
SHORT_DOT = Timeouts(block=0.3, dot=0.3)
SOON = Rests(first=0.05, first_after_login=0.05, longest=0.05)


def envelope(*recipients, sender="us@example.org", smtputf8=False):
    return Envelope(sender, recipients or (ANN,), smtputf8)


@contextlib.asynccontextmanager
async def sending(*specs, timeouts=USUAL_TIMEOUTS, rests=SOON, changes=None, **options):
    """Relays over these specs (each with `changes`)."""
    relays = Relays(
        [
            Relay(replace(spec, **(changes or {})), timeouts=timeouts, rests=rests, **options)
            for spec in specs
        ]
    )
    try:
        yield relays
    finally:
        await relays.close()


def copies(relay):
    """How often each recipient got something."""
    return Counter(each for _, recipients, _ in relay.received for each in recipients)
