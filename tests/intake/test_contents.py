"""What a message consists of, from templates and attachments to its end in the journal."""

import asyncio
import email
import email.policy
import threading
from datetime import timedelta
from functools import partial

import pytest

from notifier.deliveries import Status
from notifier.errors import InvalidMessage, MessageNotFound, WrongState
from notifier.housekeeping import pruning
from notifier.intake.submission import HEAVY
from notifier.journal import Filter, Idempotency
from notifier.messages import Attachment
from tests.relay import ScriptedRelay
from tests.service import email as mail_to
from tests.service import ended, notifying, now, submit_one

DAY = timedelta(days=1)


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


def received(relay):
    return [
        email.message_from_bytes(raw, policy=email.policy.default) for _, _, raw in relay.received
    ]


# --- templates ----------------------------------------------------------------------------------


@pytest.fixture
def templates(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "welcome.subject.txt").write_text("Welcome, {{ name }}")
    (folder / "welcome.txt").write_text("Hello {{ name }}, you live in {{ address.city }}.")
    (folder / "welcome.html").write_text("<p>Hello {{ name }}</p>")
    (folder / "note.txt").write_text("Dear {{ name }}")
    return str(folder)


def filled(template="welcome", **data):
    return mail_to(subject="", text=None, template=template, data=data)


async def test_a_template_is_filled_with_the_data(templates, relay, tmp_path):
    """Subject, text and HTML; what callers give is escaped in the HTML and nowhere else."""
    async with notifying(tmp_path, relay, templates=templates) as service:
        data = {"name": "<b>Ann & Co</b>", "address": {"city": "Graz"}}
        sent = await ended(service, await submit_one(service, filled(**data)))
    assert sent.status is Status.SENT
    assert sent.subject == "Welcome, <b>Ann & Co</b>"
    (mail,) = received(relay)
    assert mail["Subject"] == "Welcome, <b>Ann & Co</b>"
    text = mail.get_body(("plain",)).get_content()
    assert text.strip() == "Hello <b>Ann & Co</b>, you live in Graz."
    html = mail.get_body(("html",)).get_content()
    assert "<p>Hello &lt;b&gt;Ann &amp; Co&lt;/b&gt;</p>" in html


async def test_missing_variables_are_named_each(templates, relay, tmp_path):
    """Refused at the door, each by its place in the data; nothing is kept."""
    async with notifying(tmp_path, relay, templates=templates) as service:
        with pytest.raises(InvalidMessage) as caught:
            await submit_one(service, filled(address={}))
        backlog = await service.journal.backlog()
    pointers = {fault.pointer for fault in caught.value.faults}
    assert pointers == {"/data/name", "/data/address/city"}
    assert not sum(backlog.counts.values())


@pytest.mark.parametrize(
    ("message", "pointer"),
    [
        (filled("nothing"), "/template"),
        (mail_to(template="note", data={"name": "x"}, text="too"), "/text"),
        (mail_to(template="note", data={"name": "x"}, text=None, html="<p>too</p>"), "/html"),
        (filled(name="two\nlines", address={"city": "x"}), "/data"),
    ],
)
async def test_data_that_does_not_fit_the_template_is_rejected(
    message, pointer, templates, relay, tmp_path
):
    """Unknown name, content given twice, a subject of two lines."""
    async with notifying(tmp_path, relay, templates=templates) as service:
        with pytest.raises(InvalidMessage) as caught:
            await submit_one(service, message)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


async def test_a_template_without_a_subject_leaves_the_callers(templates, relay, tmp_path):
    """`note` has only a text."""
    async with notifying(tmp_path, relay, templates=templates) as service:
        message = mail_to(subject="Mine", text=None, template="note", data={"name": "Ann"})
        await ended(service, await submit_one(service, message))
    (mail,) = received(relay)
    assert mail["Subject"] == "Mine"
    assert mail.get_content().strip() == "Dear Ann"


async def test_accepted_message_keeps_its_rendered_content(templates, relay, tmp_path):
    """A template that is changed later changes nothing that waits."""
    async with notifying(tmp_path, relay, templates=templates) as service:
        await service.pause()
        id = await submit_one(service, filled("note", name="Ann"))
        (tmp_path / "templates" / "note.txt").write_text("Changed")
        await service.resume()
        await ended(service, id)
    assert received(relay)[0].get_content().strip() == "Dear Ann"


# --- attachments --------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "apart"), [(HEAVY + 1, True), (1000, False)])
async def test_only_heavy_messages_are_composed_in_a_thread(
    size, apart, relay, tmp_path, monkeypatch
):
    """An attachment above the limit leaves the loop alone; a small one costs no thread hop."""
    threads = []
    async with notifying(tmp_path, relay) as service:
        admit = service.intake._admission.admit

        def watched(*args, **kwargs):
            threads.append(threading.current_thread())
            return admit(*args, **kwargs)

        monkeypatch.setattr(service.intake._admission, "admit", watched)
        content = bytes(range(256)) * (size // 256 + 1)
        file = Attachment(filename="data.bin", content=content)
        await ended(service, await submit_one(service, mail_to(attachments=(file,))))
    assert [thread is not threading.main_thread() for thread in threads] == [apart]
    (attached,) = received(relay)[0].iter_attachments()
    assert attached.get_content() == content
    assert attached.get_filename() == "data.bin"


@pytest.mark.parametrize(
    ("fields", "apart"),
    [
        ({"html": "<p>x" * 5_000}, True),
        ({"html": "<p>x" * 5_000, "text": "x"}, False),
        ({"html": "<p>x" * 1_000}, False),
    ],
)
async def test_html_that_takes_long_to_read_leaves_the_loop(
    fields, apart, relay, tmp_path, monkeypatch
):
    """To make text of it costs more than to send it, and is weighed so."""
    threads = []
    async with notifying(tmp_path, relay) as service:
        admit = service.intake._admission.admit

        def watched(*args, **kwargs):
            threads.append(threading.current_thread())
            return admit(*args, **kwargs)

        monkeypatch.setattr(service.intake._admission, "admit", watched)
        await submit_one(service, mail_to(**{"text": None} | fields))
    assert [thread is not threading.main_thread() for thread in threads] == [apart]


async def test_a_large_message_does_not_hold_up_small_ones(relay, tmp_path):
    """While ten megabytes are at the relay's door, others are accepted and sent."""
    async with notifying(tmp_path, relay) as service:
        file = Attachment(filename="large.bin", content=bytes(10_000_000))
        large = asyncio.ensure_future(submit_one(service, mail_to(attachments=(file,))))
        small = [await submit_one(service, mail_to(subject=f"s{n}")) for n in range(20)]
        for id in small:
            assert (await ended(service, id)).status is Status.SENT
        assert (await ended(service, await large)).status is Status.SENT
    assert max(len(raw) for _, _, raw in relay.received) > 13_000_000


# --- retention ----------------------------------------------------------------------------------


async def test_contents_go_after_a_week_and_messages_after_a_month(relay, tmp_path):
    """By the time of their end; what still waits is never touched, however old."""
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service)
        finished = (await ended(service, id)).finished_at
        waiting = await submit_one(service, mail_to(send_at=now() + 300 * DAY))
        journal, prune = service.journal, partial(pruning.prune, service.journal, service.settings)

        await prune(finished + 7 * DAY - timedelta(seconds=1))
        assert await journal.content(id)
        await prune(finished + 7 * DAY + timedelta(seconds=1))
        with pytest.raises(MessageNotFound):
            await journal.content(id)
        assert (await journal.get(id)).status is Status.SENT

        await prune(finished + 30 * DAY - timedelta(seconds=1))
        assert (await journal.get(id)).status is Status.SENT
        await prune(finished + 30 * DAY + timedelta(seconds=1))
        with pytest.raises(MessageNotFound):
            await journal.get(id)

        await prune(finished + 299 * DAY)
        assert (await journal.get(waiting)).status is Status.SCHEDULED
        assert await journal.content(waiting)
        await service.send_now(waiting)
        assert (await ended(service, waiting)).status is Status.SENT


async def test_retention_is_what_the_settings_say(relay, tmp_path):
    """An hour for contents, two for messages; in as many portions as it takes."""
    async with notifying(tmp_path, relay, body_retention=3600.0, retention=7200.0) as service:
        receipt = await service.submit([mail_to(subject=str(n)) for n in range(600)])
        ids = [delivery.id for delivery in receipt.deliveries]
        for id in ids:
            await ended(service, id)
        later = now() + timedelta(minutes=61)
        assert await pruning.prune(service.journal, service.settings, later)
        assert (await service.journal.get(ids[-1])).status is Status.SENT
        with pytest.raises(MessageNotFound):
            await service.journal.content(ids[-1])
        await pruning.prune(service.journal, service.settings, later + timedelta(hours=1))
        page = await service.journal.find(Filter())
        assert not page.deliveries


async def test_message_without_content_cannot_be_retried(relay, tmp_path):
    """Alone it is refused in words, in a crowd it is left out: no worker finds out too late."""
    relay.answer("RCPT", "550 5.1.1 nobody here", times=2)
    passed = timedelta()
    async with notifying(tmp_path, relay, clock=lambda: now() + passed) as service:
        old = await submit_one(service)
        assert (await ended(service, old)).status is Status.FAILED
        passed = 7 * DAY
        young = await submit_one(service)
        assert (await ended(service, young)).status is Status.FAILED
        await pruning.prune(service.journal, service.settings, now() + passed)
        with pytest.raises(WrongState, match="NOTIFIER_BODY_RETENTION"):
            await service.retry(old)
        assert await service.change_all("retry", Filter(status=(Status.FAILED,))) == 1
        assert (await ended(service, young)).status is Status.SENT
        assert (await service.journal.get(old)).status is Status.FAILED
    assert len(relay.received) == 1


async def test_idempotency_keys_go_when_they_are_over(relay, tmp_path):
    """A day after the message is due the same key means a new request."""
    async with notifying(tmp_path, relay) as service:
        at = now()
        key = Idempotency(scope="", key="k", fingerprint=b"f", answer=b"first", expires_at=at + DAY)
        await service.journal.add([], key)
        await pruning.prune(service.journal, service.settings, at + DAY - timedelta(seconds=1))
        assert (await service.journal.add([], key)).replayed == b"first"
        await pruning.prune(service.journal, service.settings, at + DAY + timedelta(seconds=1))
        assert (await service.journal.add([], key)).replayed is None
