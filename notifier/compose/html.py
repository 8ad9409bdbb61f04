"""Facts about HTML without parsing it: whether a text is HTML, and which files it shows."""

import re
from html import unescape
from urllib.parse import unquote

# RFC 2392. The scheme is case-insensitive, the id is not; HTML and URLs may escape the id.
CID_URL = re.compile(r"""cid:([^"'()<>\s]{1,800})""", re.IGNORECASE)

# Only HTML's own tags count: `<name>` in a form letter is text.
_NAMES = (
    "a abbr address area article aside audio b base bdi bdo big blockquote body br button canvas "
    "caption center cite code col colgroup data dd del details dfn div dl dt em fieldset "
    "figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input "
    "ins kbd label legend li link main map mark meta nav object ol optgroup option p picture pre "
    "q s samp script section select small source span strike strong style sub summary sup svg "
    "table tbody td template textarea tfoot th thead time title tr tt u ul var video wbr"
)
_ELEMENTS = frozenset(_NAMES.split())
_ATTRIBUTES = 65_536  # characters of one tag's that are looked through
_TAG = re.compile(
    rf"<(?:/?([a-z][a-z0-9]{{0,9}})(?:\s[^<>]{{0,{_ATTRIBUTES}}})?/?>|!doctype\s|!--)",
    re.IGNORECASE,
)
_WINDOW = 1024 * 1024  # characters that are searched at a time: other threads get a turn between


def is_html(text: str) -> bool:
    """Whether the text has a tag of HTML."""
    for start in range(0, len(text), _WINDOW):
        for tag in _TAG.finditer(text, start, start + _WINDOW + _ATTRIBUTES):
            if tag[1] is None or tag[1].lower() in _ELEMENTS:
                return True
    return False


def content_id_of(written: str) -> str:
    """The Content-ID that a `cid:` URL means."""
    return unquote(unescape(written))
