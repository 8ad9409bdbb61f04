"""
The plain text of an HTML: its visible text, block by block, with links as footnotes.

`walk` goes through the parser's tree and says what each element means; `nodes` reads the tree.
`styles` finds out what is hidden, `links` numbers the footnotes, `numbering` counts the items of
lists, `tables` lays out rows of short cells in columns, and `lines` joins everything into lines.
"""

import re

HTML_CHARACTERS = (
    512 * 1024
)  # characters of HTML that are made into text, because its tree takes memory
TEXT_CHARACTERS = 1024 * 1024  # longest text that is written

# Pictures inside the HTML. They can be most of it, and are not read.
_EMBEDDED = re.compile(r"""data:image/[^"'()<>\s]{256,}""")


def text_of(html: str) -> tuple[str, tuple[str, ...]]:
    """The text of an HTML without its looks, links as footnotes; and warnings for the caller."""
    warnings: tuple[str, ...] = ()
    if len(html) > HTML_CHARACTERS:
        html = _EMBEDDED.sub("", html)
    if len(html) > HTML_CHARACTERS:
        html = html[:HTML_CHARACTERS]
        warnings = (f"the text was made from the first {HTML_CHARACTERS} characters of the html",)
    from turbohtml import parse  # many a service never sees HTML

    from notifier.compose.plaintext.walk import Walk

    try:
        text, whole = Walk(TEXT_CHARACTERS).text(parse(html))
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader has the HTML all the same
        return "", (f"no text could be made from the html: {error}",)
    if not whole:
        warnings = (*warnings, f"the text was cut after {TEXT_CHARACTERS} characters")
    return text, warnings
