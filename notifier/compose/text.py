"""Tell HTML from text, and make text of HTML."""

import re

from turbohtml import parse

from notifier.compose.plaintext import Walk

HTML_CHARACTERS = 512 * 1024  # so much of an HTML is made into text: its tree takes memory
TEXT_CHARACTERS = 1024 * 1024  # and so much text is written

# Pictures that stand in the HTML itself. They can be most of it, and are not read.
_EMBEDDED = re.compile(r"""data:image/[^"'()<>\s]{256,}""")
# A tag is one that HTML knows: `<name>` in a letter to fill in is text.
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
    """Whether a tag of HTML is in it."""
    for start in range(0, len(text), _WINDOW):
        for tag in _TAG.finditer(text, start, start + _WINDOW + _ATTRIBUTES):
            if tag[1] is None or tag[1].lower() in _ELEMENTS:
                return True
    return False


def text_of(html: str) -> tuple[str, tuple[str, ...]]:
    """HTML as it reads without its looks, links as footnotes; and what a caller should know."""
    warnings: tuple[str, ...] = ()
    if len(html) > HTML_CHARACTERS:
        html = _EMBEDDED.sub("", html)
    if len(html) > HTML_CHARACTERS:
        html = html[:HTML_CHARACTERS]
        warnings = (f"the text was made from the first {HTML_CHARACTERS} characters of the html",)
    try:
        text, whole = Walk(TEXT_CHARACTERS).text(parse(html))
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader has the HTML all the same
        return "", (f"no text could be made from the html: {error}",)
    if not whole:
        warnings = (*warnings, f"the text was cut after {TEXT_CHARACTERS} characters")
    return text, warnings
