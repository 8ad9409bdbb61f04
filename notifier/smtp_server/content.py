"""The content of a mail as it arrives, up to its final dot. RFC 5321, section 4.1.1.4."""

import asyncio

DOT = b"\r\n.\r\n"


class Content:
    """
    Kept as octets: aiosmtpd makes an object of every line, of which there may be millions. Of what
    is longer than `largest` octets only the end is looked for. `kept`: so many octets are enough of
    what is longer than that.
    """

    def __init__(self, largest: int, kept: int | None = None) -> None:
        self.complete: asyncio.Future[bytearray | None] = asyncio.get_running_loop().create_future()
        self._largest = largest
        self._kept = kept
        self._head = b""  # of a content of which not all is kept
        self._dropped = 0  # octets
        self._octets = bytearray(b"\r\n")  # so that a dot on the first line ends it, too

    @property
    def held(self) -> int:
        """How many octets of it are in memory."""
        return len(self._octets)

    def feed(self, data: bytes) -> bytes | None:
        """
        Take more octets. None: the content is not complete; else the octets after the final dot.
        `complete` then has the content; None: it was too long.
        """
        before = len(self._octets)
        self._octets += data
        end = self._octets.find(DOT, max(before - len(DOT) + 1, 0))
        if end < 0:
            self._bound()
            return None
        behind = bytes(self._octets[end + len(DOT) :])
        content, self._octets = self._octets, bytearray()
        del content[end + 2 :], content[:2]  # in place: a large mail is in memory once
        if not self.complete.done():
            too_much = self._dropped + len(content) > self._largest
            if self._head:
                content = bytearray(self._head)
            self.complete.set_result(None if too_much else _without_stuffing(content))
        return behind

    def _bound(self) -> None:
        """Drop what need not be kept, but the end, where the dot may begin."""
        size = len(self._octets)
        if self._kept is not None and not self._head and size > self._kept + 2 * len(DOT):
            self._head = bytes(self._octets[2 : self._kept + 2])
        if self._head or self._dropped + size > self._largest + len(DOT):
            del self._octets[: -len(DOT)]
            self._dropped += size - len(DOT)


def _without_stuffing(content: bytearray) -> bytearray:
    """RFC 5321, section 4.5.2."""
    if content.startswith(b"."):
        del content[:1]
    return content.replace(b"\r\n.", b"\r\n") if b"\r\n." in content else content
