"""Reports are taken in, matched and believed, over a real journal."""

import asyncio

import pytest

from notifier.deliveries import Status
from notifier.errors import BeingSent
from notifier.feed import Feed
from notifier.journal.shared_secret import RETURN_PATHS, shared_secret
from notifier.recipients import LaterState, Recipient
from notifier.reports import Report, Reports, Result
from notifier.threads import FairThreads
from notifier.verp import Verp
from tests.deliveries import ANN, BOB, NOW, entry, sent

ID = "0195519f3d40a1b2c3d4e5f60718293a"
QMAIL = """\
From: MAILER-DAEMON@mx.example.org
To: {to}
Subject: failure notice

Hi. This is the qmail-send program at mx.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@example.org>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <app@example.org>
"""


@pytest.fixture
def feed():
    return Feed()


@pytest.fixture
def reports(journal, feed):
    threads = FairThreads("work")
    yield Reports(journal, feed, threads, clock=lambda: NOW, outcome_seconds=0.2)
    threads.close()


@pytest.fixture
async def verp(journal):
    return Verp(await shared_secret(journal, RETURN_PATHS))


async def keep(journal, *, recipients=(ANN,)):
    """A message that was sent."""
    await journal.add([entry(ID, recipients=tuple(map(Recipient, recipients)))])
    (claim,) = await journal.claim("relay", 1, now=lambda: NOW)
    await journal.record(sent(claim.delivery))


def bounced(**about):
    return Report(state=LaterState.BOUNCED, road="http", code="5.1.1", **about)


async def test_a_token_decides_alone(journal, reports, verp):
    """What the report says besides of its subject does not count."""
    await keep(journal, recipients=(ANN, BOB))
    told = []
    reports.listen(lambda *what: told.append(what))
    path = f"Bounces <bounces+{verp.token(ID, BOB).upper()}@example.org>"
    taken = await reports.take_event(
        bounced(paths=(path,), recipients=(ANN,), envelope_id="f" * 32)
    )
    assert taken.result is Result.TAKEN
    assert taken.findings[0].recipient == BOB
    kept = await journal.get(ID)
    assert [each.bounced for each in kept.recipients] == [False, True]
    assert told == [(kept, kept.recipients[1], taken.findings[0].later)]


async def test_a_report_that_is_repeated_is_one(journal, reports):
    """Nobody is told of it twice, by whatever road it comes again."""
    await keep(journal)
    told = []
    reports.listen(lambda *what: told.append(what))
    first = await reports.take_event(bounced(message_id=f"<{ID}@example.org>"))
    again = await reports.take_event(bounced(envelope_id=ID))
    assert (first.result, again.result) == (Result.TAKEN, Result.REPEATED)
    assert len(told) == 1


async def test_without_a_token_a_report_names_one_of_the_recipients(journal, reports):
    """One about somebody else is not believed."""
    await keep(journal, recipients=(ANN, BOB))
    stranger = await reports.take_event(bounced(envelope_id=ID, recipients=("eve@example.org",)))
    named = await reports.take_event(bounced(envelope_id=ID, recipients=("Bob@Example.ORG",)))
    assert stranger.result is Result.UNKNOWN
    assert named.findings[0].recipient == BOB


async def test_prose_counts_only_where_it_came_to_a_token(journal, reports, verp):
    """The same text to another address is no report."""
    await keep(journal)
    ours = QMAIL.format(to=f"bounces+{verp.token(ID, ANN)}@example.org")
    assert (await reports.take(QMAIL.format(to=ANN).encode(), "http")).result is Result.IGNORED
    taken = await reports.take(ours.encode(), "http")
    assert taken.result is Result.TAKEN
    later = taken.findings[0].later
    assert (later.state, later.code) == (LaterState.BOUNCED, "5.1.1")
    assert later.text == "Sorry, no mailbox here by that name. (#5.1.1)"


async def test_a_report_waits_until_the_attempt_under_way_is_recorded(journal, feed, reports):
    """A report that comes before the outcome is on disk is taken after it; else it comes again."""
    await journal.add([entry(ID)])
    (claim,) = await journal.claim("relay", 1, now=lambda: NOW)
    with pytest.raises(BeingSent):
        await reports.take_event(bounced(envelope_id=ID))
    taking = asyncio.ensure_future(reports.take_event(bounced(envelope_id=ID)))
    while ID not in feed.followed:
        await asyncio.sleep(0)
    await journal.record(sent(claim.delivery))
    feed.publish(await journal.get(ID))
    assert (await taking).result is Result.TAKEN
    kept = await journal.get(ID)
    assert kept.status is Status.SENT
    assert kept.recipients[0].bounced


async def test_an_end_that_a_report_corrects_is_counted_once(journal, feed, reports):
    """A message that expired although a relay had it becomes sent; its end was counted before."""
    ended = entry(ID, uncertain=1, status=Status.EXPIRED, finished_at=NOW)
    await journal.add([ended])
    counted = []
    feed.listen(counted.append)
    taken = await reports.take_event(bounced(envelope_id=ID))
    assert taken.result is Result.TAKEN
    assert (await journal.get(ID)).status is Status.SENT
    assert counted == []


async def test_a_message_that_is_not_kept_is_unknown(reports):
    """It was pruned, or was never ours."""
    taken = await reports.take_event(bounced(envelope_id=ID))
    assert taken.result is Result.UNKNOWN
    assert taken.findings[0].message == ID
