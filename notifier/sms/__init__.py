"""
Text messages: by a carrier's mail gateway, or by a provider over HTTP.

`notifier.sms.provider` and `.providerspec` are imported where a provider is configured, and
only there: the HTTP client takes its time to load.
"""

from notifier.sms.carriers import Carrier, Carriers, GatewayStatus, Quirk
from notifier.sms.gateway import admit, segments, to_emails, to_text
from notifier.sms.numbers import Number, is_region, parse
from notifier.sms.parts import Parts, addresses, join
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
    "addresses",
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
