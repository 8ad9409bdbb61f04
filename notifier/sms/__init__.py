"""Text messages: by a carrier's mail gateway, or by a provider over HTTP."""

from notifier.sms.carriers import Carrier, Carriers, GatewayStatus, Quirk
from notifier.sms.gateway import Admitted, admit, to_emails, to_text
from notifier.sms.numbers import Number, is_region, parse
from notifier.sms.parts import Parts, addresses, join
from notifier.sms.provider import Provider, ProviderState, content
from notifier.sms.providerspec import ProviderSpec, read_provider
from notifier.sms.segments import Encoding, Segments, count, downgrade, split

__all__ = [
    "Admitted",
    "Carrier",
    "Carriers",
    "Encoding",
    "GatewayStatus",
    "Number",
    "Parts",
    "Provider",
    "ProviderSpec",
    "ProviderState",
    "Quirk",
    "Segments",
    "addresses",
    "admit",
    "content",
    "count",
    "downgrade",
    "is_region",
    "join",
    "parse",
    "read_provider",
    "split",
    "to_emails",
    "to_text",
]
