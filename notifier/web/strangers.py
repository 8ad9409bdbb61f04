"""What somebody else wrote, shown so that it can do no harm: a mail's texts, HTML and files."""

import base64
import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from litestar.exceptions import NotFoundException

from notifier.capture import CaughtAttachment
from notifier.compose import CID_URL, content_id_of
from notifier.web.answers import NO_STORE, Answer
from notifier.web.bodies import AnyRequest
from notifier.web.shell import HTML, SECURE, STRANGER

# Pictures that a mail carries with it are shown in it; RFC 2392.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
LARGEST_SHOWN = 1_000_000  # octets of one picture
MOST_SHOWN = 20

Fetch = Callable[[int], Awaitable[bytes | None]]

# A file of theirs is handed over as it is, and never opened in place.
FILE = (
    *SECURE,
    NO_STORE,
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
)


async def framed(html: str, attachments: Sequence[CaughtAttachment], fetch: Fetch) -> Answer:
    """HTML to be put in a frame of ours, with the pictures that came with it in place."""
    pictures: dict[str, str] = {}
    for each in attachments:
        fits = each.type in SHOWN and each.size <= LARGEST_SHOWN and each.content_id
        if fits and len(pictures) < MOST_SHOWN and (content := await fetch(each.number)):
            data = base64.b64encode(content).decode()
            pictures[each.content_id] = f"data:{each.type};base64,{data}"
    text = CID_URL.sub(lambda found: pictures.get(content_id_of(found[1]), found[0]), html)
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
