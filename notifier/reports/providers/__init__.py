"""
Events of providers: checks their signature or secret, and reads them.

`secrets` reads the file that NOTIFIER_REPORT_SECRETS names. `event` is what all share. A module
for each provider: `ses` (with `certificates`), `postmark`, `mailgun`, `sendgrid`, `twilio`.
"""
