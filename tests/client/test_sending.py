"""The clients send, look and act, by a real server."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from notifier.client import (
    AsyncNotifier,
    Attachment,
    MessageNotFound,
    Notifier,
    NotYet,
    Problem,
    Rejected,
    WrongState,
)

LETTER = {"from_": "us@example.org", "subject": "Hello", "text": "It works."}


class Both:
    """Either client, called the same way."""

    def __init__(self, client):
        self.client = client

    def __getattr__(self, name):
        def call(*arguments, **options):
            return self._result(getattr(self.client, name)(*arguments, **options))

        return call

    async def _result(self, result):
        if inspect.isasyncgen(result):
            return [each async for each in result]
        if inspect.isawaitable(result):
            return await result
        return list(result) if inspect.isgenerator(result) else result


@pytest.fixture(params=["sync", "async"])
async def client(request, notifier_mailbox):
    if request.param == "sync":
        with Notifier(notifier_mailbox.url) as client:
            yield Both(client)
    else:
        async with AsyncNotifier(notifier_mailbox.url) as client:
            yield Both(client)


async def test_a_message_is_sent(client, notifier_mailbox):
    """What `send` returns has an id, and the mail arrives."""
    message = await client.send("ann@example.org", **LETTER)
    assert message.status in {"queued", "sending", "sent"}
    mail = notifier_mailbox.wait(to="ann@example.org")
    assert (mail.subject, mail.sender, mail.text.strip()) == (
        "Hello",
        "us@example.org",
        "It works.",
    )
    assert (await client.wait(message.id, timeout=30)).sent


async def test_send_can_wait(client):
    """With `wait` the message that comes back has been sent."""
    message = await client.send("ann@example.org", wait=30, **LETTER)
    assert message.sent
    assert message.attempts[0].code == 250
    assert message.recipients[0].status == "accepted"


async def test_every_field_arrives(client, notifier_mailbox, tmp_path):
    """Python's own types are enough: bytes, paths, times, a single address or many."""
    (tmp_path / "notes.txt").write_text("as said")
    tag = uuid4().hex
    await client.send(
        ["Ann <ann@example.org>", "bob@example.org"],
        cc="carl@example.org",
        bcc=["dora@example.org"],
        reply_to="desk@example.org",
        html='<p>Hello</p><img src="cid:logo">',
        attachments=[
            Attachment(filename="logo.png", content=b"\x89PNG", content_id="logo"),
            tmp_path / "notes.txt",
        ],
        headers={"X-Ticket": "17"},
        send_at=datetime.now(UTC) - timedelta(seconds=1),
        ttl=timedelta(hours=1),
        priority="urgent",
        tags=tag,
        metadata={"order": 17},
        **{name: value for name, value in LETTER.items() if name != "text"},
    )
    mail = notifier_mailbox.wait(to="dora@example.org")
    assert set(mail.recipients) == {
        f"{name}@example.org" for name in ("ann", "bob", "carl", "dora")
    }
    assert mail.header("to") == "Ann <ann@example.org>, bob@example.org"
    assert mail.header("reply-to") == "desk@example.org"
    assert mail.header("x-ticket") == "17"
    assert [(each.name, each.type) for each in mail.attachments] == [
        ("logo.png", "application/octet-stream"),
        ("notes.txt", "text/plain"),
    ]
    [message] = await client.list(tag=tag, status=["sent", "sending", "queued"])
    assert message.metadata == {"order": 17}
    assert message.expires_at - message.due_at == timedelta(hours=1)


async def test_a_text_message_has_one_recipient(client):
    """For a text message `to` is a number, not a list."""
    with pytest.raises(Rejected, match="carrier"):
        await client.send("+12025550123", channel="sms", carrier="nobody", text="Hello")


async def test_a_batch_is_accepted_as_a_whole(client, notifier_mailbox):
    """All messages of a batch arrive, or, if one is wrong, none."""
    drafts = [{"to": f"n{number}@example.org", **LETTER} for number in range(3)]
    messages = await client.batch(drafts)
    assert [each.recipients[0].address for each in messages] == [each["to"] for each in drafts]
    for draft in drafts:
        notifier_mailbox.wait(to=draft["to"])
    with pytest.raises(Rejected) as caught:
        await client.batch([*drafts, {"to": "nobody", **LETTER}])
    assert caught.value.errors[0].pointer == "/3/to/0"
    assert len(notifier_mailbox.messages) == 3


async def test_a_permissive_batch_has_a_result_for_each_message(client):
    """What can be sent is sent; in the place of each other message stands its problem."""
    drafts = [{"to": "ann@example.org", **LETTER}, {"to": "nobody", **LETTER}]
    good, bad = await client.batch(drafts, permissive=True)
    assert good.recipients[0].address == "ann@example.org"
    assert isinstance(bad, Problem)
    assert bad.errors[0].pointer == "/to/0"


async def test_a_list_reads_page_after_page(client):
    """Iterating leads over all pages, and filters hold on each."""
    reference = uuid4().hex
    await client.batch(
        [{"to": f"n{number}@example.org", "reference": reference, **LETTER} for number in range(7)]
    )
    await client.send("other@example.org", **LETTER)
    found = await client.list(reference=reference, bounced=False, page_size=3)
    assert [each.recipients[0].address for each in found] == [
        f"n{number}@example.org" for number in reversed(range(7))
    ]


async def test_a_waiting_message_can_be_cancelled(client):
    """A scheduled message is cancelled, once; then its state forbids it."""
    later = datetime.now(UTC) + timedelta(hours=1)
    message = await client.send("ann@example.org", send_at=later, **LETTER)
    assert message.status == "scheduled"
    assert (await client.cancel(message.id)).status == "cancelled"
    with pytest.raises(WrongState):
        await client.cancel(message.id)


async def test_a_failed_message_can_be_retried(client, notifier_mailbox):
    """A message that was refused is sent again, and arrives."""
    notifier_mailbox.fail("ann@example.org", 550, times=1)
    message = await client.send("ann@example.org", wait=30, **LETTER)
    assert message.status == "failed"
    assert message.recipients[0].code == 550
    await client.retry(message.id)
    assert (await client.wait(message.id, timeout=30)).sent


async def test_waiting_ends(client, notifier_mailbox):
    """A message that is not settled in time is NotYet, with its state, and a TimeoutError."""
    notifier_mailbox.fail("ann@example.org", 451)
    message = await client.send("ann@example.org", **LETTER)
    with pytest.raises(NotYet) as caught:
        await client.wait(message.id, timeout=0.5)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.message.id == message.id
    assert str(caught.value).startswith(f"{message.id} is ")


async def test_an_unknown_message_is_named(client):
    """An id that nobody knows is MessageNotFound."""
    with pytest.raises(MessageNotFound, match="no message has the id 'none'"):
        await client.get("none")


async def test_a_wrong_field_is_named(client):
    """The exception has the fields of the problem, and its text names what is wrong."""
    with pytest.raises(Rejected) as caught:
        await client.send(["nobody", "ann@example.org"], colour="red", **LETTER)
    assert caught.value.status == 422
    assert caught.value.type == "urn:notifier:problem:invalid-message"
    assert "/colour" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"send_at": datetime(2030, 1, 1)}, ValueError, "send_at has no time zone"),  # noqa: DTZ001  it is refused
        ({"attachments": [Path("/nowhere/at-all")]}, OSError, "at-all"),
        ({"metadata": {"a": object()}}, TypeError, "object"),
        ({"idempotency_key": "with blank"}, ValueError, "visible ASCII"),
    ],
)
async def test_a_mistake_of_the_program_is_found_before_anything_is_sent(
    client, notifier_mailbox, fields, error, text
):
    """What cannot be written as a request is an ordinary Python error."""
    with pytest.raises(error, match=text):
        await client.send("ann@example.org", **fields, **LETTER)
    assert notifier_mailbox.messages == []


async def test_a_key_of_ones_own_makes_no_second_message(client, notifier_mailbox):
    """Two calls with one idempotency key are one message."""
    first = await client.send("ann@example.org", idempotency_key="order-17", **LETTER)
    again = await client.send("ann@example.org", idempotency_key="order-17", **LETTER)
    assert again.id == first.id
    assert len(notifier_mailbox.messages) == 1


async def test_threads_and_tasks_share_a_client(client, notifier_mailbox):
    """Many calls at once are all carried out."""
    if isinstance(client.client, Notifier):
        sent = await asyncio.gather(
            *(
                asyncio.to_thread(client.client.send, f"n{number}@example.org", **LETTER)
                for number in range(30)
            )
        )
    else:
        sent = await asyncio.gather(
            *(client.send(f"n{number}@example.org", **LETTER) for number in range(30))
        )
    assert len({each.id for each in sent}) == 30
