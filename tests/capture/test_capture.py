"""The built-in mailbox and simulator: real SMTP in front, real files behind."""

import asyncio
import base64
import contextlib
import json
import os
import smtplib
import stat
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifier.capture import Capture, Mailbox, Refusal, Simulator
from notifier.capture.parsing import OpenedMail, _envelope, stamped
from notifier.relayspec import RelaySpec, Tls
from tests.waiting import LIMIT

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = b"Subject: Hello\r\nMessage-ID: <1@example.org>\r\n\r\nGood day.\r\n"


class Client:
    """A raw SMTP conversation, one reply at a time."""

    @classmethod
    async def connect(cls, listener, *, login=True):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert (await self.reply()).startswith("220")
        self.greeting = await self.ask("EHLO client.example.org")
        if login:
            spec = listener.spec
            secret = base64.b64encode(f"\0{spec.username}\0{spec.password}".encode()).decode()
            assert (await self.ask(f"AUTH PLAIN {secret}")).startswith("235")
        return self

    async def reply(self):
        """A whole reply; empty: the connection is gone."""
        lines = []
        while not lines or lines[-1][3:4] == "-":
            try:
                line = await asyncio.wait_for(self.reader.readline(), LIMIT)
            except ConnectionResetError:
                line = b""
            if not line:
                return ""
            lines.append(line.decode().rstrip())
        return "\n".join(lines)

    async def ask(self, command):
        self.writer.write(command.encode() + b"\r\n")
        return await self.reply()

    async def send(self, *recipients, source=SOURCE, sender="us@example.org"):
        """The reply to the dot."""
        await self.ask(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            await self.ask(f"RCPT TO:<{recipient}>")
        assert (await self.ask("DATA")).startswith("354")
        self.writer.write(source + b".\r\n")
        return await self.reply()

    def close(self):
        self.writer.close()


@pytest.fixture
async def capture(tmp_path):
    async with Capture(tmp_path / "inbox") as capture:
        yield capture


@pytest.fixture
async def mailbox(tmp_path):
    async with Mailbox(tmp_path / "inbox") as mailbox:
        yield mailbox


@pytest.fixture
async def simulator(mailbox):
    async with Simulator(mailbox, slow=0.05) as simulator:
        yield simulator


async def all_of(mailbox, **which):
    """The mails themselves, of which the list gives summaries."""
    return [await mailbox.get(each.id) for each in await mailbox.list(**which)]


def put(mailbox, source=SOURCE, *, to=("ann@example.org",)):
    return mailbox.put(source, sender="us@example.org", recipients=to)


async def test_capture_is_a_relay_on_loopback(capture):
    """It is described as any other relay is, without TLS and with a login of its own."""
    assert isinstance(capture.spec, RelaySpec)
    assert (capture.spec.name, capture.spec.host) == ("capture", "127.0.0.1")
    assert capture.spec.port == capture.port > 0
    assert (capture.spec.tls, capture.spec.username) == (Tls.NONE, "notifier")
    async with Capture(capture.mailbox) as other:
        assert other.spec.password != capture.spec.password


async def test_wrong_secret_leaves_no_mail(capture):
    """Without a login, or with a wrong one, MAIL is refused; nothing is in the mailbox."""
    client = await Client.connect(capture, login=False)
    assert (await client.ask("MAIL FROM:<us@example.org>")).startswith("530")
    wrong = base64.b64encode(b"\0notifier\0" + b"0" * 32).decode()
    assert (await client.ask(f"AUTH PLAIN {wrong}")).startswith("535")
    assert (await client.ask("MAIL FROM:<us@example.org>")).startswith("530")
    assert not (await client.ask("DATA")).startswith("354")
    assert await capture.mailbox.count() == 0
    client.close()


@pytest.mark.parametrize("piece", [1, 3, 1000])
async def test_client_that_does_not_speak_smtp_is_disconnected(capture, piece):
    """A web page's POST, whose body would be a conversation: none of it is read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", capture.port)
    assert (await reader.readline()).startswith(b"220")
    said = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nEHLO a\r\nMAIL FROM:<a@b.example>\r\n"
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(said), piece):
                writer.write(said[start : start + piece])
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert (await reader.readline()).startswith(b"554")
            assert await reader.read() == b""
    assert await capture.mailbox.count() == 0
    writer.close()


async def test_mail_of_smtplib_is_captured(capture):
    """An ordinary client's mail is in the mailbox with its envelope, its texts and its files."""
    mail = EmailMessage()
    mail["From"] = "Us <us@example.org>"
    mail["To"] = "Ann <ann@example.org>"
    mail["Subject"] = "Grüße"
    mail.set_content("Hellö\n.\n..dots")
    mail.add_alternative("<p>Hellö</p>", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="image", subtype="png", filename="ü.png")

    def send():
        with smtplib.SMTP("127.0.0.1", capture.port) as client:
            client.login(capture.spec.username, capture.spec.password)
            client.send_message(mail, "bounce@example.org", ["ann@example.org", "bcc@example.org"])

    await asyncio.to_thread(send)
    [caught] = await all_of(capture.mailbox)
    assert (caught.sender, caught.recipients) == (
        "bounce@example.org",
        ("ann@example.org", "bcc@example.org"),
    )
    assert (caught.subject, caught.text) == ("Grüße", "Hellö\n.\n..dots\n")
    assert caught.html == "<p>Hellö</p>\n"
    assert ("To", "Ann <ann@example.org>") in caught.headers
    [file] = caught.attachments
    assert (file.name, file.type, file.size) == ("ü.png", "image/png", 2)
    assert (await capture.mailbox.attachment(caught.id, 0)).content == b"\x00\x01"
    assert await capture.mailbox.attachment(caught.id, 1) is None


async def test_the_source_is_what_came_with_the_envelope_on_top(capture):
    """The file on disk is the mail octet for octet, below trace lines as a last relay writes."""
    client = await Client.connect(capture)
    source = b"Delivered-To: forged@example.org\r\nSubject: x\r\n\r\n\xff\x00 raw\r\n"
    assert (await client.send("ann@example.org", source=source)).startswith("250")
    [caught] = await all_of(capture.mailbox)
    kept = await capture.mailbox.source(caught.id)
    assert kept.startswith(
        b"Return-Path: <us@example.org>\r\nDelivered-To: ann@example.org\r\n"
        b"Received: from client.example.org by localhost with ESMTP id " + caught.id.encode()
    )
    assert kept.endswith(b"\r\n" + source)
    assert caught.recipients == ("ann@example.org",)
    assert caught.size == len(source)
    client.close()


async def test_pipelined_commands_are_answered_in_order(capture):
    """Commands that come in one write, for several mails, get each its reply. RFC 2920."""
    client = await Client.connect(capture)
    assert "250-PIPELINING" in client.greeting.splitlines()
    for number in range(3):
        client.writer.write(
            b"MAIL FROM:<us@example.org> SIZE=60 BODY=8BITMIME\r\n"
            b"RCPT nobody\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"
        )
        codes = [(await client.reply())[:3] for _ in range(4)]
        assert codes == ["250", "501", "250", "354"]
        # The dot, and the next mail's first command in the same write.
        client.writer.write(b"Subject: %d\r\n\r\n..\r\n.\r\nNOOP\r\n" % number)
        assert (await client.reply()).startswith("250 2.0.0 kept as ")
        assert (await client.reply()).startswith("250")
    client.writer.write(b"MAIL FROM:<us@example.org>\r\nRCPT nobody\r\nDATA\r\nRSET\r\nQUIT\r\n")
    codes = [(await client.reply())[:3] for _ in range(5)]
    assert codes == ["250", "501", "503", "250", "221"]
    caught = await all_of(capture.mailbox)
    assert [(each.subject, each.text) for each in caught] == [
        ("2", ".\n"),
        ("1", ".\n"),
        ("0", ".\n"),
    ]
    client.close()


async def test_a_pipelined_burst_of_recipients_is_taken_whole(capture):
    """More commands at once than fit into the server's buffer lose nothing."""
    client = await Client.connect(capture)
    everybody = tuple(f"n{number}@example.org" for number in range(500))
    commands = "".join(f"RCPT TO:<{each}>\r\n" for each in everybody)
    client.writer.write(f"MAIL FROM:<us@example.org>\r\n{commands}DATA\r\n".encode())
    codes = [(await client.reply())[:3] for _ in range(502)]
    assert codes == ["250"] * 501 + ["354"]
    client.writer.write(SOURCE + b".\r\n")
    await client.reply()
    [caught] = await all_of(capture.mailbox)
    assert caught.recipients == everybody
    client.close()


async def test_addresses_in_utf8_and_no_sender_are_taken(capture):
    """SMTPUTF8 is offered, and the empty reverse-path of a bounce is no address."""
    client = await Client.connect(capture)
    assert "250-SMTPUTF8" in client.greeting.splitlines()
    await client.ask("MAIL FROM:<> SMTPUTF8")
    assert (await client.ask("RCPT TO:<jörg@exämple.org>")).startswith("250")
    await client.ask("DATA")
    client.writer.write(SOURCE + b".\r\n")
    await client.reply()
    [caught] = await all_of(capture.mailbox)
    assert (caught.sender, caught.recipients) == ("", ("jörg@exämple.org",))
    client.close()


async def test_many_clients_at_once_lose_nothing(capture):
    """Mails that come over several connections at once are all kept, and once."""

    async def send(name):
        client = await Client.connect(capture)
        for number in range(10):
            reply = await client.send(f"{name}.{number}@example.org")
            assert reply.startswith("250")
        client.close()

    await asyncio.gather(*map(send, "abcdefgh"))
    caught = await all_of(capture.mailbox, limit=1000)
    assert sorted(each.recipients[0] for each in caught) == sorted(
        f"{name}.{number}@example.org" for name in "abcdefgh" for number in range(10)
    )


async def test_mail_that_cannot_be_kept_is_rejected(capture, tmp_path):
    """A mailbox that cannot be written answers 452, so that the mail is tried again."""
    client = await Client.connect(capture)
    (tmp_path / "inbox").rename(tmp_path / "elsewhere")
    assert (await client.send("ann@example.org")).startswith("452 4.3.1")
    assert await capture.mailbox.count() == 0
    (tmp_path / "elsewhere").rename(tmp_path / "inbox")
    assert (await client.send("ann@example.org")).startswith("250")
    client.close()


async def test_closing_hangs_up_on_clients(tmp_path):
    """A client that lingers, even in the midst of its data, cannot hold up the end."""
    capture = Capture(tmp_path / "inbox")
    await capture.open()
    client = await Client.connect(capture)
    await client.ask("MAIL FROM:<us@example.org>")
    await client.ask("RCPT TO:<ann@example.org>")
    await client.ask("DATA")
    client.writer.write(b"Subject: never ends\r\n")
    await asyncio.wait_for(capture.close(), LIMIT)
    assert await client.reply() in ("", "421 4.3.2 the service is stopping")
    assert await client.reply() == ""
    client.close()


async def test_ids_sort_by_arrival_even_where_the_clock_goes_back(tmp_path):
    """The newest is first in the list whatever the clock says; `at` comes from the id."""
    times = iter([NOW, NOW, NOW - timedelta(hours=1), NOW + timedelta(seconds=1)])
    async with Mailbox(tmp_path, clock=lambda: next(times)) as mailbox:
        ids = [await put(mailbox) for _ in range(4)]
        caught = await all_of(mailbox)
    assert ids == sorted(ids)
    assert [each.id for each in caught] == ids[::-1]
    assert (caught[-1].at, caught[0].at) == (NOW, NOW + timedelta(seconds=1))


async def test_the_mailbox_survives_a_restart(tmp_path):
    """What is in the folder is in the mailbox; what a crash left half written is removed."""
    async with Mailbox(tmp_path) as mailbox:
        ids = [await put(mailbox, to=(f"n{number}@example.org",)) for number in range(3)]
    half = tmp_path / f"{ids[0]}.tmp"
    half.write_bytes(b"Subject: ha")
    (tmp_path / "notes.eml").write_bytes(b"not ours")
    async with Mailbox(tmp_path, clock=lambda: NOW - timedelta(days=9999)) as mailbox:
        assert [each.id for each in await mailbox.list()] == ids[::-1]
        assert await put(mailbox) > ids[-1]
        assert await mailbox.count() == 4
    assert not half.exists()
    assert (tmp_path / "notes.eml").exists()


async def test_a_mail_is_synced_before_its_name_is(mailbox, tmp_path, monkeypatch):
    """The file first, then the folder that it stands in: a crash leaves no empty mail."""
    synced, fsync = [], os.fsync

    def noted(descriptor):
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    id = await put(mailbox)
    folder = tmp_path / "inbox"
    assert synced == [(folder / f"{id}.eml").stat().st_ino, folder.stat().st_ino]


async def test_mail_is_for_its_owner_alone(mailbox, tmp_path):
    """Neither the folder nor a file can be read by other users of the machine."""
    id = await put(mailbox)
    folder = tmp_path / "inbox"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{id}.eml").stat().st_mode) == 0o600


async def test_only_the_newest_are_kept(tmp_path):
    """Past its number of mails the oldest go, from disk too; also when opened with fewer."""
    async with Mailbox(tmp_path, keep=3) as mailbox:
        ids = [await put(mailbox) for _ in range(5)]
        assert [each.id for each in await mailbox.list()] == ids[:1:-1]
    assert sorted(path.stem for path in tmp_path.iterdir()) == ids[2:]
    async with Mailbox(tmp_path, keep=1) as mailbox:
        assert await mailbox.count() == 1
    assert [path.stem for path in tmp_path.iterdir()] == ids[4:]


async def test_no_more_octets_are_kept_than_allowed(tmp_path):
    """The limit in octets removes the oldest, but never the mail that has just come."""
    async with Mailbox(tmp_path, octets=5000) as mailbox:
        ids = [await put(mailbox, SOURCE + b"x" * 2000) for _ in range(4)]
        assert [each.id for each in await mailbox.list()] == ids[:1:-1]
        big = await put(mailbox, SOURCE + b"x" * 9000)
        assert [each.id for each in await mailbox.list()] == [big]
    assert [path.stem for path in tmp_path.iterdir()] == [big]


async def test_the_list_is_read_page_by_page(mailbox):
    """`before` goes on where a page ended, also when that mail has gone meanwhile."""
    ids = [await put(mailbox) for _ in range(5)]
    pages = [await mailbox.list(limit=2)]
    pages.append(await mailbox.list(limit=2, before=pages[0][-1].id))
    pages.append(await mailbox.list(limit=2, before=pages[1][-1].id))
    assert [each.id for page in pages for each in page] == ids[::-1]
    assert await mailbox.list(before=ids[0]) == []
    assert [each.id for each in await mailbox.list(before=f"{ids[1]}~")] == [ids[1], ids[0]]


async def test_the_list_is_searched(mailbox):
    """`q` finds addresses, subjects and texts, in any letter case; the limit counts finds."""
    ann = await put(mailbox, to=("Ann@example.org",))
    bob = await put(
        mailbox, b"Subject: Bill\r\n\r\nThe SUM is 7 \xe2\x82\xac.\r\n", to=("bob@x.org",)
    )
    assert [each.id for each in await mailbox.list(q="ann@")] == [ann]
    assert [each.id for each in await mailbox.list(q="BILL")] == [bob]
    assert [each.id for each in await mailbox.list(q="sum is 7 €")] == [bob]
    assert [each.id for each in await mailbox.list(q="us@example", limit=1)] == [bob]
    assert await mailbox.list(q="nobody") == []


async def test_all_can_be_deleted(mailbox, tmp_path):
    """Afterwards there is nothing, neither in the list nor on disk nor by id."""
    ids = [await put(mailbox) for _ in range(3)]
    assert await mailbox.get(ids[0]) is not None
    assert await mailbox.delete_all() == 3
    assert (await mailbox.list(), await mailbox.count()) == ([], 0)
    assert await mailbox.get(ids[0]) is None
    assert list((tmp_path / "inbox").iterdir()) == []
    assert await mailbox.delete_all() == 0


async def test_a_listener_hears_of_new_mail(mailbox):
    """A listener is called with each id once the mail can be read, until it stops listening."""
    heard = []
    end = mailbox.listen(heard.append)
    first = await put(mailbox)
    assert heard == [first]
    await mailbox.delete_all()
    assert heard == [first, ""]
    end()
    await put(mailbox)
    assert len(heard) == 2


async def test_a_client_that_gives_up_leaves_the_mail_counted(mailbox):
    """A mail whose writer was cut off is either wholly there or wholly not."""
    putting = asyncio.create_task(put(mailbox))
    await asyncio.sleep(0)  # it has begun
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    async with asyncio.timeout(LIMIT):
        while not await mailbox.count():
            await asyncio.sleep(0.001)
    [caught] = await all_of(mailbox)
    assert caught.subject == "Hello"


@pytest.mark.parametrize(
    "id", ["", "..", "../inbox/x", "/etc/passwd", "0" * 24, "0" * 23 + "\n", "\x00", "%2e%2e"]
)
async def test_an_unknown_id_finds_nothing(mailbox, id, tmp_path):
    """Ids are looked up, never made into paths: no trick leads out of the folder."""
    await put(mailbox)
    (tmp_path / "x.eml").write_bytes(b"Subject: secret\r\n\r\n")
    assert await mailbox.get(id) is None
    assert await mailbox.source(id) is None
    assert await mailbox.attachment(id, 0) is None


async def test_a_file_removed_by_hand_is_passed_over(mailbox, tmp_path):
    """The user may delete files of the folder: that is not an error."""
    gone, left = await put(mailbox), await put(mailbox)
    (tmp_path / "inbox" / f"{gone}.eml").unlink()
    assert [each.id for each in await mailbox.list()] == [left]
    assert await mailbox.get(gone) is None
    assert await mailbox.source(gone) is None


PIECES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/mixed\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: message/delivery-status\r\n",
        b"Content-Type: text/html; charset=idna\r\n",
        b"Content-Type: text/plain; charset=utf-7\r\n",
        b"Content-Type: text/plain; charset=zlib\r\n",
        b"Content-Type: text/plain; charset*=x''%ff\r\n",
        b"Content-Type: text/plain; charset=utf-16\r\n",
        b"Content-Type: ;;/\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: uuencode\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b'Content-Disposition: attachment; filename="../../a\r\n b"\r\n',
        b"Content-Disposition: attachment; filename*0*=utf-8''%ff; filename*2=x\r\n",
        b"Content-Disposition: \r\n",
        b"Content-ID: <\xff>\r\n",
        b"Subject: =?utf-8?q?=ff?= =?x?b?\r\n",
        b"Subject: =?unicode_escape?q?=5cud800?=\r\n",
        b"To: a:b:c;<@,\r\n",
        b"From: \x00\xed\xa0\x80 <>\r\n",
        b"Date: 99 99\r\n",
        b"Message-ID: <[\r\n",
        b"MIME-Version: \r\n",
        b": nameless\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"\r\n",
        b"begin 644 x\r\n#####\r\n",
        b"=D8=00=\r\n",
        b"2AA=\r\n",
    ]
)
BROKEN = st.lists(PIECES | st.binary(max_size=40), max_size=30).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(BROKEN)
@example(b"X-Long: \xff" + b"x" * 5000 + b"\r\n\r\n")
@example(b"Content-Type: text/plain; charset=utf-16le\r\n\r\n\x00\xd8\x00\xd8")
@example(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: \xff/\xff\r\n\r\n")
def test_any_bytes_can_be_read(source):
    """Whatever a mail is made of, it can be shown, as JSON too, and its files taken out."""
    caught = OpenedMail(source).caught(id="0" * 24, at=NOW)
    assert json.loads(msgspec.json.encode(caught))["size"] == caught.size
    for about in caught.attachments:
        part = OpenedMail(source).attachment(about.number)
        assert part.about == about
        assert len(part.content) == about.size
        assert "/" not in about.name
        assert about.name.isprintable() or not any(ord(char) < 32 for char in about.name)
        assert about.type.count("/") == 1


@pytest.mark.parametrize(
    "source",
    [
        b"Subject: Deep\r\n" + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 20_000,
        b"Subject: Deep\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 20_000,
        b"Subject: Deep\r\nTo: " + b'"' * 500_000,
        b"Subject: Deep\r\nContent-Type: text/plain; " + b"a=b;" * 100_000,
        b"Subject: Deep\r\nContent-Disposition: attachment; filename=" + b'"' * 100_000,
    ],
    ids=["parts", "mails", "addresses", "parameters", "quotes"],
)
@pytest.mark.timeout(60)
def test_a_mail_made_to_be_slow_is_read_soon(source):
    """What the standard library takes minutes over is shown undigested instead."""
    caught = OpenedMail(source).caught(id="0" * 24, at=NOW)
    assert caught.subject == "Deep"
    assert msgspec.json.encode(caught)


ADDRESSES = st.text(max_size=30)


@given(st.binary(max_size=200), ADDRESSES, st.lists(ADDRESSES, max_size=4), ADDRESSES)
def test_the_envelope_comes_back_from_the_file(source, sender, recipients, client):
    """Whatever the envelope was, the mail comes back octet for octet, with as many recipients."""
    kept = stamped(source, id="0" * 24, at=NOW, sender=sender, recipients=recipients, client=client)
    found, everybody, start = _envelope(kept)
    assert kept[start:] == source
    assert len(everybody) == len(recipients)
    for told, came in zip([sender, *recipients], [found, *everybody], strict=True):
        if told.isprintable():
            assert came == told


async def test_every_subject_line_stays_one(mailbox):
    """A header whose encoded word hides a line break is shown on one line."""
    await put(mailbox, b"Subject: =?utf-8?q?a=0d=0aBcc:_x?=\r\n\r\n")
    [caught] = await all_of(mailbox)
    assert "\n" not in caught.subject
    assert "Bcc: x" in caught.subject


async def test_files_are_numbered_in_order_and_named_without_a_path(mailbox):
    """A file's name from the mail leads nowhere; one that says nothing is numbered."""
    mail = EmailMessage()
    mail.set_content("Two texts")
    mail.add_attachment("../../etc/passwd", filename="../../etc/passwd")
    mail.add_attachment("C:\\x", filename="C:\\temp\\x.txt")
    mail.add_attachment("..", filename="..")
    id = await put(mailbox, mail.as_bytes())
    caught = await mailbox.get(id)
    assert caught.text == "Two texts\n"
    assert [file.name for file in caught.attachments] == ["passwd", "x.txt", "part-2"]
    assert [(await mailbox.attachment(id, number)).content for number in range(3)] == [
        b"../../etc/passwd\n",
        b"C:\\x\n",
        b"..\n",
    ]


async def test_an_image_in_the_html_is_found_by_its_content_id(mailbox):
    """An inline part is an attachment that names its content id, as `cid:` links do."""
    mail = EmailMessage()
    mail.set_content("<img src='cid:logo@x'>", subtype="html")
    mail.add_related(b"GIF89a", maintype="image", subtype="gif", cid="<logo@x>")
    await put(mailbox, mail.as_bytes())
    [caught] = await all_of(mailbox)
    [image] = caught.attachments
    assert (image.content_id, image.type, image.name) == ("logo@x", "image/gif", "part-0")


async def test_success_and_labels(simulator, mailbox):
    """`success@` takes mail at once, with a label and in any letter case."""
    client = await Client.connect(simulator)
    assert simulator.spec.name == "simulator"
    assert (await client.send("Success+April@SIMULATOR.notifier")).startswith("250")
    assert await mailbox.count() == 1
    client.close()


async def test_a_temporary_failure_passes(simulator, mailbox):
    """`temp-fail@` answers 451 to each mail's first try, and takes it on the second."""
    client = await Client.connect(simulator)
    other = SOURCE.replace(b"<1@", b"<2@")
    to = "temp-fail+x@simulator.notifier"
    assert (await client.send(to)).startswith("451 4.3.0")
    assert (await client.send(to, source=other)).startswith("451")
    assert await mailbox.count() == 0
    assert (await client.send(to)).startswith("250")
    assert (await client.send(to, source=other)).startswith("250")
    assert (await client.send(to.replace("+x", ""))).startswith("451")
    assert await mailbox.count() == 2
    client.close()


async def test_a_permanent_failure_is_one(simulator):
    """`perm-fail@` is refused with 550 as a recipient, and others of the mail are not."""
    client = await Client.connect(simulator)
    await client.ask("MAIL FROM:<us@example.org>")
    reply = await client.ask("RCPT TO:<Perm-Fail+label@SIMULATOR.notifier>")
    assert reply.startswith("550 5.1.1")
    assert (await client.ask("RCPT TO:<success@simulator.notifier>")).startswith("250")
    client.close()


async def test_an_unknown_recipient_gets_the_known_names(simulator):
    """A typing error in the local part is refused, and the reply lists the known names."""
    client = await Client.connect(simulator)
    await client.ask("MAIL FROM:<us@example.org>")
    reply = await client.ask("RCPT TO:<sucess@simulator.notifier>")
    assert reply.startswith("550 5.1.1")
    for name in ("success", "temp-fail", "perm-fail", "slow", "drop-after-dot"):
        assert f"{name}@simulator.notifier" in reply
    client.close()


async def test_anybody_else_is_delivered_into_the_mailbox(simulator, mailbox):
    """Ordinary recipients, as a test key's mail has them, are taken; nothing leaves."""
    client = await Client.connect(simulator)
    assert (await client.send("temp-fail@example.org")).startswith("250")
    assert (await mailbox.list())[0].recipients == ("temp-fail@example.org",)
    client.close()


async def test_slow_answers_the_dot_late(simulator, mailbox):
    """`slow@` takes the mail, after its delay, and holds up nobody else."""
    loop = asyncio.get_running_loop()
    patient, hasty = await Client.connect(simulator), await Client.connect(simulator)
    begun = loop.time()
    slow = asyncio.create_task(patient.send("slow@simulator.notifier"))
    assert (await hasty.send("success@simulator.notifier")).startswith("250")
    assert (await slow).startswith("250")
    assert loop.time() - begun >= 0.05
    assert await mailbox.count() == 2
    patient.close()
    hasty.close()


async def test_a_connection_dropped_after_the_dot(simulator, mailbox):
    """`drop-after-dot@` keeps the mail but never says so; the second time it does."""
    client = await Client.connect(simulator)
    assert await client.send("drop-after-dot@simulator.notifier") == ""
    assert await mailbox.count() == 1
    client.close()
    client = await Client.connect(simulator)
    assert (await client.send("drop-after-dot@simulator.notifier")).startswith("250")
    assert await mailbox.count() == 2
    client.close()


async def test_parts_meet_in_one_mail(simulator, mailbox):
    """A mail to several plays each part in turn: 451, then dropped, then taken."""
    everybody = ("temp-fail@simulator.notifier", "drop-after-dot@simulator.notifier")
    replies = []
    for _ in range(3):
        client = await Client.connect(simulator)
        replies.append((await client.send(*everybody))[:3])
        client.close()
    assert replies == ["451", "", "250"]
    assert await mailbox.count() == 2


async def test_one_mailbox_serves_both(tmp_path, mailbox):
    """Capture and simulator can share a mailbox, which its opener closes."""
    async with Capture(mailbox) as capture, Simulator(mailbox) as simulator:
        for listener in (capture, simulator):
            client = await Client.connect(listener)
            assert (await client.send("success@simulator.notifier")).startswith("250")
            client.close()
    await put(mailbox)
    assert await mailbox.count() == 3


async def test_single_mails_are_found_and_deleted(mailbox):
    """A search sees each file as it is kept; what is deleted is gone, and readers hear of it."""
    ids = [await put(mailbox, to=(f"{name}@example.org",)) for name in ("ann", "bob", "eve")]
    heard = []
    mailbox.listen(heard.append)

    def is_bobs(content):
        return b"Delivered-To: bob@" in content

    assert [id async for id in mailbox.find(is_bobs)] == [ids[1]]
    assert await mailbox.delete([ids[1], ids[1], "unknown"]) == 1
    assert heard == [""]
    assert await mailbox.delete([ids[1]]) == 0
    assert heard == [""]
    assert [each.id for each in await mailbox.list()] == [ids[2], ids[0]]
    assert await mailbox.get(ids[1]) is None
    await mailbox.close()
    await mailbox.open()
    assert await mailbox.count() == 2


async def test_single_refusals_are_forgotten(mailbox):
    """The recipient is accepted again, and the others are refused as before."""
    for name in ("ann", "bob"):
        mailbox.refusals.add(f"{name}@example.org", Refusal(550))
    assert mailbox.refusals.forget(lambda address: address == "ann@example.org") == 1
    assert not mailbox.refusals.reply("ann@example.org")
    assert mailbox.refusals.reply("bob@example.org")
