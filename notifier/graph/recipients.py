"""
The recipients of a message that goes through Microsoft Graph.

There is no envelope: the mail goes to everybody in To, Cc and Bcc. So hidden recipients are added
as a Bcc field, which Exchange removes. A message whose headers name others than its recipients
cannot be sent this way, because they would get it, too.
"""

from email.parser import HeaderParser
from email.utils import getaddresses

FOLD = "\r\n "  # RFC 5322, section 2.2.3
LONGEST_HEADER = 256 * 1024  # octets of all fields


def addressed(content: bytes, recipients: tuple[str, ...]) -> bytes | None:
    """The source that reaches these recipients and nobody else. None: that is impossible."""
    end = content.find(b"\r\n\r\n")
    if not 0 <= end <= LONGEST_HEADER:
        return None
    fields = HeaderParser().parsestr(content[: end + 2].decode("utf-8", "surrogateescape"))
    named = [value for name in ("To", "Cc", "Bcc") for value in fields.get_all(name, [])]
    visible = {address.casefold() for _, address in getaddresses(named) if address}
    wanted = {address.casefold(): address for address in recipients}
    if not visible <= wanted.keys():
        return None
    hidden = [address for folded, address in wanted.items() if folded not in visible]
    if not hidden:
        return content
    return f"Bcc: {f',{FOLD}'.join(f'<{each}>' for each in hidden)}\r\n".encode() + content
