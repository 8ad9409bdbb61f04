"""
Text messages by a carrier's mail gateway, which turns a mail into a text.

`carriers` knows the gateways (`carriers.toml`), and what an operator adds to them. `mails` makes
the mails of a text, and sends those of a long one in order.
"""

from notifier.sms.gateway.carriers import Carrier, Carriers, GatewayStatus, Quirk
from notifier.sms.gateway.mails import Parts, join, to_emails

__all__ = ["Carrier", "Carriers", "GatewayStatus", "Parts", "Quirk", "join", "to_emails"]
