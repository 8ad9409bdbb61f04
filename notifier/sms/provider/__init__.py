"""
Text messages through an SMS provider by HTTP.

`spec` reads the settings of a provider, and `provider` is the client. `request` makes the body of a
request and follows its progress. `policy` decides what an answer means for the message and for the
provider; `acceptance` tells whether a 2xx has accepted the text.
"""

from notifier.sms.provider.provider import Provider, ProviderState
from notifier.sms.provider.request import content, text_in
from notifier.sms.provider.spec import ProviderSpec, read_provider

__all__ = ["Provider", "ProviderSpec", "ProviderState", "content", "read_provider", "text_in"]
