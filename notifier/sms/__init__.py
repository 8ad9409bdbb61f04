"""
Text messages, by two ways: a carrier's mail gateway, or a provider over HTTP.

`numbers` reads telephone numbers, `segments` counts and splits texts, and `admission` judges a
text message, whichever way it goes. The ways are rooms of their own: `gateway` (the carriers,
and the mails that their gateways turn into texts) and `provider`. The latter is imported only
where a provider is configured: its HTTP client takes time to load.
"""

from notifier.sms.admission import admit, segments, to_text
from notifier.sms.gateway import Carrier, Carriers, GatewayStatus, Parts, Quirk, join, to_emails
from notifier.sms.numbers import Number, is_region, parse
from notifier.sms.segments import Encoding, Segments, count, downgrade, split

__all__ = [
    "Carrier",
    "Carriers",
    "Encoding",
    "GatewayStatus",
    "Number",
    "Parts",
    "Quirk",
    "Segments",
    "admit",
    "count",
    "downgrade",
    "is_region",
    "join",
    "parse",
    "segments",
    "split",
    "to_emails",
    "to_text",
]
