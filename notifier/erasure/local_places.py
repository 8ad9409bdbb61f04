"""The mails in the built-in mailbox, and the recipients whom it refuses for tests."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from notifier.capture import Mailbox
from notifier.erasure.person import Person
from notifier.erasure.places import Count

CALLER = "erasure"  # as whom it takes turns with those who read


class CapturedMails:
    """
    A mail that mentions the person anywhere is deleted as a whole: it is a copy, kept for somebody
    who tries things out.
    """

    name = "captured_mails"
    local = True

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
