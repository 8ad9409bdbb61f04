"""
Searches octets for what may be left of an address, independent of how notifier searches: for pieces
of its local part, which must be long and of nobody else, in every encoding that a caller, a mail, a
log or a database may use.
"""

import base64
import quopri
from urllib.parse import quote

PIECE = 12  # characters: a page of a database may end within the address


def pieces(local):
    """Each of them stands in the local part, and one at least is whole where it is cut in two."""
    step = PIECE // 2
    starts = [*range(0, len(local) - PIECE, step), max(len(local) - PIECE, 0)]
    return [local[start : start + PIECE] for start in starts]


def _encoded(text):
    octets = text.encode()
    yield octets
    yield octets.hex().encode()
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        yield text.encode(encoding)
    yield "".join(f"%{octet:02X}" for octet in octets).encode()
    yield "".join(f"={octet:02X}" for octet in octets).encode()
    yield "".join(f"\\u{octet:04x}" for octet in octets).encode()
    yield "".join(f"&#{octet};" for octet in octets).encode()
    yield quote(text, safe="").encode()
    yield quopri.encodestring(octets)
    for offset in range(3):
        run = base64.b64encode(b"\0" * offset + octets)
        # The first letters and the last ones may also stand for octets beside the piece.
        yield run[(0, 2, 3)[offset] : (offset + len(octets)) * 8 // 6]


def needles(local):
    """What is searched, and what it is."""
    found = {}
    for piece in pieces(local):
        for spelling in {piece, piece.lower(), piece.upper()}:
            for each in _encoded(spelling):
                found[each.lower()] = spelling
    return found


def remains(data, local):
    """What is found of a local part in some octets, also across lines, with what stands around."""
    small = data.lower()
    return [
        text[max(place - 60, 0) : place + 60]
        for text in (small, small.translate(None, b"\r\n"))
        for each in needles(local)
        if (place := text.find(each)) >= 0
    ]
