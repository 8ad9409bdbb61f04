"""
Events of providers: who sends them is proved by a signature or a secret, and what they say is read.

`secrets` reads the file that NOTIFIER_REPORT_SECRETS names. `event` is what all share. A module
for each provider: `ses` (with `certificates`), `postmark`, `mailgun`, `sendgrid`, `twilio`.
"""
