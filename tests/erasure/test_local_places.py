"""What each process wipes in its own memory and on its own disk."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from notifier.capture import Mailbox, Refusal
from notifier.erasure.local_places import CapturedMails, LogFiles, Memory
from notifier.erasure.person import person_of
from notifier.intake.storms import Brake, Stopped
from notifier.pseudonyms import Pseudonyms
from notifier.quotas import Quota
from notifier.settings import Settings

PSEUDONYMS = Pseudonyms(b"secret")
ANN = person_of("ann@example.org", PSEUDONYMS)
NUMBER = person_of("+12025550123", PSEUDONYMS)
NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


async def wiped(place, person):
    """What is counted when a place is wiped, which may be done again."""
    counted = Counter()
    await place.wipe(person, lambda name, more: counted.update({name: more}))
    await place.wipe(person, lambda name, more: counted.update({name: more}))
    assert [each async for each in place.held(person)] == []
    return +counted


class TestCapturedMails:
    @pytest.fixture
    async def mailbox(self, tmp_path):
        async with Mailbox(tmp_path / "inbox") as mailbox:
            yield mailbox

    async def test_mails_that_mention_a_person_are_deleted(self, mailbox):
        """As recipient, sender or in the text, in any encoding; those of others stay."""

        async def put(to, text=b"Hi."):
            source = b"Subject: Hello\r\n\r\n" + text
            return await mailbox.put(source, sender="us@example.org", recipients=(to,))

        hers = [await put("Ann@Example.org"), await put("bob@example.org", b"QW5uQGV4YW1wbGUub3Jn")]
        others = [await put("joann@example.org"), await put("bob@example.org")]
        place = CapturedMails(lambda: mailbox)
        held = [each async for each in place.held(ANN)]
        assert [each["id"] for each in held] == hers[:1]  # the other one is somebody else's
        assert held[0]["to"] == ["Ann@Example.org"]
        assert b"Delivered-To: Ann@Example.org" in held[0]["content"]
        assert await wiped(place, ANN) == {"captured_mails": 2}
        assert [each.id for each in await mailbox.list()] == others[::-1]

    async def test_a_person_is_refused_no_more(self, mailbox):
        """What a test wanted of the person's address is forgotten."""
        for name in ("ann", "joann"):
            mailbox.refusals.add(f"{name}@example.org", Refusal(550))
        assert await wiped(CapturedMails(lambda: mailbox), ANN) == {}
        assert not mailbox.refusals.reply("ann@example.org")
        assert mailbox.refusals.reply("joann@example.org")


class TestLogFiles:
    async def test_values_that_mention_a_person_are_replaced(self, tmp_path):
        """Also in a list, and of a line that is not whole; all other values stay."""
        lines = [
            {"event": "suppressions_removed", "address": "+12025550123", "count": 1},
            {"event": "seen", "among": ["bob@example.org", "tel:12025550123"], "n": 12025550123},
            {"event": "seen", "address": "+120255501234"},
        ]
        text = "".join(f"{json.dumps(each)}\n" for each in lines)
        (tmp_path / "info.log").write_text(text)
        (tmp_path / "info.log.1").write_text('{"to": "+12025550123')
        place = LogFiles(str(tmp_path))
        held = [
            json.loads(each["line"]) async for each in place.held(NUMBER) if "event" in str(each)
        ]
        assert held == lines[:2]
        assert await wiped(place, NUMBER) == {"log_files": 2}
        erased = NUMBER.erased
        assert [json.loads(each) for each in (tmp_path / "info.log").read_text().splitlines()] == [
            {"event": "suppressions_removed", "address": erased, "count": 1},
            {"event": "seen", "among": ["bob@example.org", erased], "n": erased},
            lines[2],
        ]
        assert json.loads((tmp_path / "info.log.1").read_text()) == {"event": erased}

    async def test_without_files_nothing_is_done(self):
        """The log that goes to a stream is kept by somebody else."""
        assert await wiped(LogFiles(None), ANN) == {}


async def test_an_alert_names_a_person_no_more():
    """The storm goes on, and its alert names the pseudonym."""
    brake = Brake(Settings())
    brake.note(Stopped(NOW, NOW.timestamp() + 3600, "Ann@example.org", Quota(2, "h")))
    await Memory(brake).wipe(ANN, lambda *_: None)
    (trouble,) = brake.troubles(NOW)
    assert ANN.erased in trouble.text
    assert "example.org" not in trouble.text
