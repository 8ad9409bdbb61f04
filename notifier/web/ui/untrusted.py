"""What somebody else wrote, shown so that it can do no harm: a mail's texts, HTML and files."""

import base64
import re
from urllib.parse import quote

from litestar.exceptions import NotFoundException

from notifier.capture import OpenedMail
from notifier.compose import CID_URL, content_id_of
from notifier.web.bodies import AnyRequest
from notifier.web.responses import NO_STORE, Answer
from notifier.web.ui.layout import HTML, SECURE, STRANGER

# Pictures that a mail carries with it are shown in it; RFC 2392.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
LARGEST_SHOWN = 1_000_000  # octets of one picture
MOST_SHOWN = 20

LARGEST_PREVIEW = 4_000_000  # octets of all pictures, as often as they are shown

# A file of theirs is handed over as it is, and never opened in place.
FILE = (
    *SECURE,
    NO_STORE,
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
)


def framed(mail: OpenedMail) -> Answer | None:
    """
    A mail's HTML to be put in a frame of ours, with the pictures that came with it in place:
    within it, because a frame without an origin has no cookie to ask for them with. None: the
    mail has no HTML. It is not to be called on the loop.
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
    return Answer(text.encode("utf-8", "replace"), content_type=HTML, headers=STRANGER)


def download(name: str, content: bytes) -> Answer:
    """A file to be kept, whatever it says that it is. RFC 6266."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name) or "attachment"
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = [*FILE, (b"content-disposition", disposition.encode())]
    return Answer(content, content_type=b"application/octet-stream", headers=headers)


def number_of(request: AnyRequest) -> int:
    """Which attachment the path names. Raises 404 on what is no number."""
    number: str = request.scope["path_params"]["number"]
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise NotFoundException("the message has no such attachment")
    return int(number)
