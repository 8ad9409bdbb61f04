"""A mail's HTML and files come from strangers: show them so that they do no harm."""

import base64
import re
from urllib.parse import quote

from litestar import Response
from litestar.exceptions import NotFoundException

from notifier.capture import OpenedMail
from notifier.compose import CID_URL, content_id_of
from notifier.web.bodies import AnyRequest
from notifier.web.ui.layout import HTML, SECURE

# Pictures that a mail carries with it are shown in it; RFC 2392.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
LARGEST_SHOWN = 1_000_000  # octets of one picture
MOST_SHOWN = 20

LARGEST_PREVIEW = 4_000_000  # octets of all pictures, each counted as often as it is shown

# No scripts, no forms, nothing from the network, an origin of its own. Only our pages may frame it.
PREVIEW = {
    **SECURE,
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
# A file is downloaded as it is, and never opened in the browser.
FILE = {
    **SECURE,
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}


def framed(mail: OpenedMail) -> Response[bytes] | None:
    """
    A mail's HTML for a frame of our page, with the mail's own pictures inlined, because a frame
    without an origin has no cookie to fetch them with. None: the mail has no HTML. Call it in a
    thread.
    """
    if not (html := mail.html):
        return None
    pictures: dict[str, str] = {}
    for file in mail.pictures(SHOWN, largest=LARGEST_SHOWN, most=MOST_SHOWN):
        data = base64.b64encode(file.content).decode()
        pictures[file.about.content_id] = f"data:{file.about.type};base64,{data}"
    left = LARGEST_PREVIEW

    def shown(found: re.Match[str]) -> str:
        nonlocal left
        picture = pictures.get(content_id_of(found[1]), "")
        if not picture or len(picture) > left:
            return found[0]
        left -= len(picture)
        return picture

    text = CID_URL.sub(shown, html)
    return Response(text.encode("utf-8", "replace"), media_type=HTML, headers=PREVIEW)


def download(name: str, content: bytes) -> Response[bytes]:
    """A file to be saved, whatever type it claims. RFC 6266."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name) or "attachment"
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {**FILE, "content-disposition": disposition}
    return Response(content, media_type="application/octet-stream", headers=headers)


def number_of(request: AnyRequest) -> int:
    """The number of the attachment in the path. Raises 404 where it is not a number."""
    number: str = request.scope["path_params"]["number"]
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise NotFoundException("the message has no such attachment")
    return int(number)
