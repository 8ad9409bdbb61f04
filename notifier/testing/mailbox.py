"""The mailbox as a test sees it."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import httpx2
import msgspec
from msgspec import Struct

from notifier.client import Message, Notifier

WAIT_SECONDS = 10.0
LOOK_SECONDS = 0.02
PAGE = 200  # mails
MOST_SHOWN = 20


class File(Struct, frozen=True, kw_only=True):
    """An attachment of a mail."""

    number: int
    name: str
    type: str
    size: int  # octets
    content_id: str = ""


class Mail(Struct, frozen=True, kw_only=True):
    """A mail that has arrived. `recipients` and `sender` are those of the envelope."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[File, ...]

    def header(self, name: str) -> str | None:
        """The first field of this name, in either case."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)

    def __repr__(self) -> str:
        return f"<Mail {self.subject!r} to {', '.join(self.recipients)}>"


class Mails(tuple[Mail, ...]):
    """Mails in the order in which they arrived. What a failing assertion shows of them is short."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self))}]"


class Mailbox:
    """
    The mailbox of a real server, in which everything arrives that is sent to it.

    `url`: of the server; `<url>/inbox` shows the mails in a browser.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, trust_env=False, timeout=30.0)
        self._client = Notifier(url, "", timeout=30.0)  # no key: NOTIFIER_KEY is another server's
        self._mails: dict[str, Mail] = {}  # that were read already
        self._since = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<notifier mailbox at {self.url}/inbox: {self.sent!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()
        self._client.close()

    @property
    def sent(self) -> Mails:
        """The mails that have arrived since the test began, the oldest first."""
        ids: list[str] = []
        total, before = 1, ""
        while len(ids) < total:
            page = self._asked("GET", f"/inbox/messages?limit={PAGE}{before}")
            ids += [each["id"] for each in page["items"]]
            total = page["total"]
            if page["next_before"] is None:
                break
            before = f"&before={page['next_before']}"
        for id in ids:
            if id not in self._mails:
                mail = self._asked("GET", f"/inbox/messages/{id}")
                self._mails[id] = msgspec.convert(mail, Mail)
        return Mails(self._mails[id] for id in reversed(ids))

    @property
    def messages(self) -> Sequence[Message]:
        """What the server says of every message of the test, the oldest first."""
        return [*self._client.list(created_after=self._since)][::-1]

    def wait(
        self,
        *,
        to: str | None = None,
        subject: str | None = None,
        where: Callable[[Mail], bool] | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> Mail:
        """
        The first mail to this address (also as Cc or Bcc), with this text in its subject, and for
        which `where` is true. Waits until it arrives; after `timeout` seconds the test fails, and
        says what has arrived.
        """

        def fits(mail: Mail) -> bool:
            return (
                (to is None or to.lower() in (each.lower() for each in mail.recipients))
                and (subject is None or subject in mail.subject)
                and (where is None or where(mail))
            )

        until = time.monotonic() + timeout
        while True:
            found = next(filter(fits, self.sent), None)
            if found is not None:
                return found
            if time.monotonic() >= until:
                break
            time.sleep(LOOK_SECONDS)
        wanted = [f"to {to}"] * (to is not None) + [f"with {subject!r}"] * (subject is not None)
        raise AssertionError(
            f"no mail {' '.join(wanted) or 'that fits'} within {timeout:g} s\n{self.state()}"
        )

    def fail(
        self, address: str, code: int = 550, text: str = "", *, times: int | None = None
    ) -> None:
        """
        Refuse this recipient with an SMTP code, 400 to 599, until the test ends or so many times.
        4xx: the message is tried again after 0.2 s. `text`: what follows the code in the reply,
        such as `5.2.2 mailbox full`.
        """
        body = {"address": address, "code": code, "text": text, "times": times}
        self._asked("POST", "/inbox/refusals", body)

    def empty(self) -> None:
        """As new: no mails, no refusals, nothing waits, and idempotency keys are forgotten."""
        self._asked("POST", "/inbox/reset")
        self._mails.clear()
        self._since = datetime.now(UTC)

    def state(self) -> str:
        """What has arrived and what has not, for a person."""
        mails = self.sent
        lines = [f"arrived at {self.url}/inbox: {len(mails) or 'nothing'}"]
        lines += [
            f"  {each.subject!r} to {', '.join(each.recipients)}" for each in mails[:MOST_SHOWN]
        ]
        others = [each for each in self.messages if each.status != "sent" or each.partial]
        if others:
            lines.append(f"not sent, or not to all: {len(others)}")
            lines += [_described(each) for each in others[:MOST_SHOWN]]
        return "\n".join(lines)

    def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        if answer.status_code >= 400:
            raise ValueError(_problem(answer.text))
        found: dict[str, Any] = answer.json()
        return found


def _described(message: Message) -> str:
    to = ", ".join(f"{each.address} ({each.reply or each.status})" for each in message.recipients)
    reason = f": {message.reason}" if message.reason else ""
    return f"  {message.subject!r} to {to} is {message.status}{reason}"


def _problem(text: str) -> str:
    problem = json.loads(text)
    return "; ".join(
        f"{each.get('pointer', '').lstrip('/')}: {each['message']}"
        for each in problem.get("errors", ())
    ) or str(problem.get("detail"))
