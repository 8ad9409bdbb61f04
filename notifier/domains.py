"""Domains in the form of DNS and SMTP: one spelling wherever domains are compared."""

from functools import cache
from types import ModuleType

SIMULATOR_DOMAIN = "simulator.notifier"  # addresses there are played by `capture.simulator`


@cache
def email_validator() -> ModuleType:
    """The library, which is loaded with the first address that is not plain ASCII."""
    import email_validator

    # Internal mail uses `localhost`, `.test` and `.local`, too: the relay decides about them.
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    return email_validator


def domain_to_ascii(domain: str) -> str:
    """
    A domain in lower case, each label that is not ASCII as an A-label (IDNA 2008, RFC 5891, after
    the mapping of UTS 46, so `ß` stays a letter). An ASCII domain is put in lower case and not
    checked. Raises ValueError.
    """
    if domain.isascii():
        return domain.lower()
    library = email_validator()
    try:
        found = library.syntax.validate_email_domain_name(domain, globally_deliverable=False)
    except library.EmailSyntaxError as error:
        raise ValueError(str(error)) from None
    return str(found["ascii_domain"])


def domain_to_unicode(domain: str) -> str:
    """A domain in ASCII, as people read it: with each A-label in its own letters."""
    if "xn--" not in domain:
        return domain
    library = email_validator()
    try:
        found = library.syntax.validate_email_domain_name(domain, globally_deliverable=False)
    except library.EmailSyntaxError:
        return domain
    return str(found["domain"])
