"""
The three calls of the service that notifier replaces, and the list of carriers.

`emails` is `/send-email/` and `/send-async/`; `sms` is `/send-sms/` and `/v1/carriers`.
"""
