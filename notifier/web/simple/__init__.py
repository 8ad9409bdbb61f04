"""
The three calls of the service that notifier replaces.

`emails` is `/send-email/` and `/send-async/`; `sms` is `/send-sms/`.
"""
