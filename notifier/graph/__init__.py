"""
Send mail through Microsoft Graph, for tenants of Microsoft 365 where SMTP is off.

`carrier` posts messages as a relay's carrier, in the place of connections over SMTP, and looks at a
mailbox for `notifier check`. `answers` says what an answer means.
"""
