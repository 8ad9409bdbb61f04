"""Domains in the form of DNS and SMTP: one spelling wherever domains are compared."""

import email_validator
from email_validator import EmailSyntaxError
from email_validator.syntax import validate_email_domain_name

SIMULATOR_DOMAIN = "simulator.notifier"  # addresses there are played by `capture.simulator`

# Internal mail uses `localhost`, `.test` and `.local`, too: the relay decides about them.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def domain_to_ascii(domain: str) -> str:
    """
    A domain in lower case, each label that is not ASCII as an A-label (IDNA 2008, RFC 5891, after
    the mapping of UTS 46, so `ß` stays a letter). An ASCII domain is put in lower case and not
    checked. Raises ValueError.
    """
    if domain.isascii():
        return domain.lower()
    try:
        return validate_email_domain_name(domain, globally_deliverable=False)["ascii_domain"]
    except EmailSyntaxError as error:
        raise ValueError(str(error)) from None


def domain_to_unicode(domain: str) -> str:
    """A domain in ASCII, as people read it: with each A-label in its own letters."""
    if "xn--" not in domain:
        return domain
    try:
        return validate_email_domain_name(domain, globally_deliverable=False)["domain"]
    except EmailSyntaxError:
        return domain
