"""The URLs by which HTML shows the files that came with it: RFC 2392."""

import re
from html import unescape
from urllib.parse import unquote

# A scheme's case does not count, the id's does. The id may be written as HTML and URLs write it.
CID_URL = re.compile(r"""cid:([^"'()<>\s]{1,800})""", re.IGNORECASE)


def content_id_of(written: str) -> str:
    """The Content-ID that is meant by what stands behind `cid:`."""
    return unquote(unescape(written))
