"""Rules over addresses, of API keys and of relays: `a@x.org` is an address, `@x.org` a domain."""

import re

from notifier.domains import domain_to_ascii

DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_LOCAL_PART = re.compile(r"[^\x00-\x20\x7f@\"(),:;<>\[\\\]]{1,64}")


def address_parts(address: str) -> tuple[str, str]:
    """
    Local part and domain in the form in which they are compared; two empty texts if it is not an
    address.

    Case is ignored in the local part, too: RFC 5321 (2.4) would let a host tell A from a there, but
    allow-lists do not mean that.
    """
    local, _, domain = address.rpartition("@")
    return (local.lower(), ascii_domain(domain)) if local and domain else ("", "")


def ascii_domain(domain: str) -> str:
    """The domain in lower case and ASCII. A domain that cannot be written so matches nothing."""
    try:
        return domain_to_ascii(domain)
    except ValueError:
        return ""


def covers(rules: tuple[str, ...], address: str) -> bool:
    """Whether one of the rules is this address or its domain."""
    return covers_parts(rules, *address_parts(address))


def covers_parts(rules: tuple[str, ...], local: str, domain: str) -> bool:
    """The same for the parts of an address, as `address_parts` gives them."""
    return f"@{domain}" in rules or f"{local}@{domain}" in rules


def read_rules(written: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError, which names the one that is wrong."""
    return tuple(read_rule(address) for address in written)


def read_rule(written: str) -> str:
    """The rule in the form in which it is compared. Raises ValueError."""
    local, at, domain = written.rpartition("@")
    if not at or not DOMAIN.fullmatch(ascii_domain(domain)):
        raise ValueError(f"{written!r} is neither an address nor a domain; write a@x.org or @x.org")
    if local and not _LOCAL_PART.fullmatch(local):
        raise ValueError(f"{written!r} is not an address; write a@x.org")
    return f"{local.lower()}@{ascii_domain(domain)}"
