"""
Wipes the places on this machine: the built-in mailbox, the log's files, and memory. Each process
wipes its own, in portions that delay nothing else. A wipe that was interrupted can be repeated.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from notifier.capture import Mailbox
from notifier.compose.addresses import address
from notifier.erasure.person import Person
from notifier.erasure.wiping import Count
from notifier.intake.storms import Brake
from notifier.logs.rewriting import rewrite, slices
from notifier.threads import in_daemon_thread

CALLER = "erasure"  # as whom it takes turns with those who read
THREAD = "log-files"
_RUN = re.compile(rb"[a-z0-9]+")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class CapturedMails:
    """Deletes each mail that mentions the person: it is a copy, kept for trying things out."""

    name = "captured_mails"

    def __init__(self, mailbox: Callable[[], Mailbox]) -> None:
        self._mailbox = mailbox  # there is one once the service is open

    async def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """Each mail from or to the person, and its file. Other recipients are not named."""
        mailbox = self._mailbox()
        async for id in mailbox.find(person.mentions.within, caller=CALLER):
            summary = await mailbox.look(id, lambda mail: (mail.sender, mail.recipients))
            content = await mailbox.source(id, caller=CALLER)
            if summary is not None and content is not None:
                sender, recipients = summary
                own = [each for each in recipients if person.mentions.within(each)]
                if own or person.mentions.within(sender):
                    yield {"id": id, "from": sender, "to": own, "content": content}

    async def wipe(self, person: Person, count: Count) -> None:
        """Delete the mails, and refuse the person no more."""
        mailbox = self._mailbox()
        async for id in mailbox.find(person.mentions.within, caller=CALLER):
            count(self.name, await mailbox.delete((id,)))
        mailbox.refusals.forget(person.mentions.within)


class Memory:
    """The addresses that were parsed last, and the recipient whom an alert names."""

    name = "memory"

    def __init__(self, brake: Brake) -> None:
        self._brake = brake

    async def wipe(self, person: Person, _count: Count) -> None:
        """Forget it; the counts of messages hold no address."""
        address.cache_clear()
        self._brake.forget(person.has, person.erased)


class LogFiles:
    """Replaces each value in the log that mentions the person with the pseudonym."""

    name = "log_files"

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder) if folder else None

    async def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """Each line. Raises OSError."""
        if self._folder is None:
            return
        all_of_them, lines = slices(self._folder), _Lines(person)
        while (found := await in_daemon_thread(THREAD, partial(lines.next, all_of_them))) != []:
            for line in found:
                yield {"line": line.decode("utf-8", "replace").rstrip("\n")}

    async def wipe(self, person: Person, count: Count) -> None:
        """Rewrite the files that mention the person, while the log is written on."""
        if self._folder is not None:
            change = _Lines(person).forgotten
            done = await in_daemon_thread(THREAD, partial(rewrite, self._folder, change))
            count(self.name, done.changed)


class _Lines:
    """Lines of the log, as JSON. Only lines with signs of the person are parsed."""

    def __init__(self, person: Person) -> None:
        self._person = person
        # No usual encoding but base64 changes letters and digits, and the log has none of that.
        local, _, domain = person.address.encode().rpartition(b"@")
        pieces = (local, domain) if local else (person.address.encode(),)
        runs = [_RUN.findall(each) for each in pieces if b"xn--" not in each]
        self._signs = [max(each, key=len) for each in runs if each]

    def next(self, all_of_them: Iterator[bytes]) -> list[bytes]:
        """The lines of the next slice that has any; none: there are no more."""
        for lines in all_of_them:
            if self._shows_signs(lines):
                found = [each for each in lines.splitlines(keepends=True) if self._mentions(each)]
                if found:
                    return found
        return []

    def forgotten(self, lines: bytes) -> bytes:
        """The lines without the person."""
        if not self._shows_signs(lines):
            return lines
        return b"".join(
            self._line(each) if self._mentions(each) else each
            for each in lines.splitlines(keepends=True)
        )

    def _shows_signs(self, lines: bytes) -> bool:
        small = lines.lower()
        return all(sign in small for sign in self._signs)

    def _mentions(self, line: bytes) -> bool:
        return self._shows_signs(line) and self._person.mentions.within(line)

    def _line(self, line: bytes) -> bytes:
        end = b"\n" if line.endswith(b"\n") else b""
        try:
            changed = _encode(self._value(_decode(line)))
        except msgspec.DecodeError:
            changed = b""
        if not changed or self._person.mentions.within(changed):
            changed = _encode({"event": self._person.erased})
        return changed + end

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._value(name): self._value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._value(each) for each in value]
        return self._person.erased if self._person.mentions.within(str(value)) else value
