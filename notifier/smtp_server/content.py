"""The content of a mail as it arrives, up to its final dot. RFC 5321, section 4.1.1.4."""

import asyncio

DOT = b"\r\n.\r\n"


class Content:
    """
    Kept as octets: aiosmtpd makes an object of every line, of which there may be millions. Of what
    is longer than `largest` octets only the end is looked for.
    """

    def __init__(self, largest: int) -> None:
        self.complete: asyncio.Future[bytearray | None] = asyncio.get_running_loop().create_future()
        self._largest = largest
        self._octets = bytearray(b"\r\n")  # so that a dot on the first line ends it, too
        self._too_much = False

    def feed(self, data: bytes) -> bytes | None:
        """
        Take more octets. None: the content is not complete; else the octets after the final dot.
        `complete` then has the content; None: it was too long.
        """
        before = len(self._octets)
        self._octets += data
        end = self._octets.find(DOT, max(before - len(DOT) + 1, 0))
        if end < 0:
            if len(self._octets) > self._largest + len(DOT):
                del self._octets[: -len(DOT)]
                self._too_much = True
            return None
        behind = bytes(self._octets[end + len(DOT) :])
        content, self._octets = self._octets, bytearray()
        del content[end + 2 :], content[:2]  # in place: a large mail is in memory once
        if not self.complete.done():
            too_much = self._too_much or len(content) > self._largest
            self.complete.set_result(None if too_much else _without_stuffing(content))
        return behind


def _without_stuffing(content: bytearray) -> bytearray:
    """RFC 5321, section 4.5.2."""
    if content.startswith(b"."):
        del content[:1]
    return content.replace(b"\r\n.", b"\r\n") if b"\r\n." in content else content
