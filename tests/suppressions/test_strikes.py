"""Which bounces make the list of suppressions grow by itself, and which never do."""

from datetime import UTC, datetime, timedelta

import pytest

from notifier.attempts import Attempt, Failure, Scope, Stage
from notifier.audit import Audit
from notifier.deliveries import Route, Status
from notifier.journal import Entry
from notifier.later import reported, taken_at
from notifier.recipients import Later, LaterState, Recipient, RecipientStatus
from notifier.reports import Report
from notifier.supervisor import Supervisor
from notifier.suppressions import Reason, Suppression, Suppressions, Which
from notifier.suppressions.strikes import enhanced
from tests.deliveries import delivery
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, submit_one

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
GONE = "550 5.1.1 no such user"


class Bouncing:
    """A journal whose list grows by itself, and messages that bounce in it at given times."""

    def __init__(self, journal):
        self.journal = journal
        self.now = NOW
        self.supervisor = Supervisor()
        self.suppressions = Suppressions(
            journal,
            Audit(journal),
            automatic=True,
            supervisor=self.supervisor,
            clock=lambda: self.now,
        )
        self._count = 0

    async def refused(self, address="ann@x.org", reply=GONE, *, stage=Stage.RCPT, **given):
        """A message that was refused."""
        self._count += 1
        failure = Failure(
            scope=Scope.RECIPIENT, permanent=given.pop("permanent", True), stage=stage, reply=reply
        )
        attempt = Attempt(
            relay=given.pop("relay", "main"),
            started_at=self.now,
            seconds=0.1,
            stage=stage,
            reply=reply,
            failures={address: failure},
        )
        status = RecipientStatus.REFUSED if failure.permanent else RecipientStatus.PENDING
        refused = delivery(
            f"d{self._count}",
            status=Status.FAILED,
            finished_at=self.now,
            recipients=(Recipient(address, status, reply=reply),),
            attempts=(attempt,),
            **given,
        )
        await self.journal.add([Entry(refused, b"")])
        return refused.id

    async def reported(
        self, address="ann@x.org", code="5.1.1", state=LaterState.BOUNCED, *, late=timedelta()
    ):
        """A message that a relay took and that was reported of later."""
        self._count += 1
        attempt = Attempt(
            relay="main", started_at=self.now, seconds=0.1, stage=Stage.DOT, reply="250 ok",
            accepted=(address,),
        )  # fmt: skip
        sent = delivery(
            f"d{self._count}",
            status=Status.SENT,
            finished_at=self.now,
            recipients=(Recipient(address, RecipientStatus.ACCEPTED),),
            attempts=(attempt,),
        )
        await self.journal.add([Entry(sent, b"")])
        later = Later(state, self.now - late, code, "no such user", "http")
        await self.journal.amend(sent.id, lambda it: reported(it, address, later, now=self.now))

    async def listed(self):
        return await self.suppressions.page(Which(), limit=99)

    async def lasts(self):
        """For how many days each address on the list is suppressed."""
        return {each.address: (each.until - each.since).days for each in await self.listed()}


@pytest.fixture
async def bouncing(journal):
    made = Bouncing(journal)
    async with made.suppressions:
        yield made
    await made.supervisor.close()


async def test_twice_in_seven_days_suppresses(bouncing):
    """Two messages, refused at RCPT or reported; for 30 days, and it says by what."""
    await bouncing.refused("Ann@X.org")
    assert await bouncing.listed() == []
    bouncing.now += timedelta(days=6)
    await bouncing.reported()
    (entry,) = await bouncing.listed()
    assert entry == Suppression(
        address="ann@x.org",
        reason=Reason.BOUNCE,
        since=bouncing.now,
        until=bouncing.now + timedelta(days=30),
        source="5.1.1 for several messages, last for d2",
    )


async def test_longer_apart_they_do_not(bouncing):
    """A mailbox that bounced eight days ago may exist by now."""
    for _ in range(4):
        await bouncing.refused()
        bouncing.now += timedelta(days=8)
    assert await bouncing.listed() == []


async def test_the_same_message_counts_once(bouncing):
    """However often it changes, is retried or is reported of."""
    id = await bouncing.refused()
    for _ in range(3):
        await bouncing.journal.amend(id, lambda it: it.with_event(NOW, "x"))
    assert await bouncing.listed() == []


@pytest.mark.parametrize("reply", ["550 5.1.1 x", "550-5.1.10 x", "550 5.2.1 x"])
async def test_these_codes_say_that_there_is_no_mailbox(bouncing, reply):
    """These codes alone."""
    await bouncing.refused(reply=reply)
    await bouncing.refused(reply=reply)
    assert await bouncing.lasts() == {"ann@x.org": 30}


async def test_other_reports_never_suppress(bouncing):
    """Policy, full mailboxes, DNS, what passes, other stages, other routes, complaints."""
    for number in range(2):
        for reply in (
            "550 5.7.1 blocked", "552 5.2.2 full", "550 5.4.1 no route", "550 no such user",
            "550 5.1.2 bad host", "550 unknown, see 5.1.1", "554 5.7.1 5.1.1", "450 4.1.1 later",
        ):  # fmt: skip
            await bouncing.refused(f"{number}@x.org", reply)
            await bouncing.refused(f"{number}@x.org", reply)
    for _ in range(2):
        await bouncing.refused("temporary@x.org", permanent=False)
        await bouncing.refused("dot@x.org", stage=Stage.DOT)
        await bouncing.refused("mail@x.org", stage=Stage.MAIL)
        await bouncing.refused("simulated@x.org", route=Route.SIMULATOR)
        await bouncing.refused("gateway@x.org", route=Route.GATEWAY)
        await bouncing.reported("policy@x.org", "5.7.1")
        await bouncing.reported("spam@x.org", "", LaterState.COMPLAINED)
        await bouncing.reported("late@x.org", "5.1.1", LaterState.DELAYED)
    assert await bouncing.listed() == []


async def test_the_next_time_it_lasts_longer(bouncing):
    """30 days, then 60, then 90, and 90 again; while it lasts it is not prolonged."""
    lasted = []
    for _ in range(4):
        await bouncing.refused()
        await bouncing.refused()
        lasted += (await bouncing.lasts()).values()
        bouncing.now += timedelta(days=1)
        await bouncing.refused()
        assert [*(await bouncing.lasts()).values()] == lasted[-1:]
        (entry,) = await bouncing.listed()
        bouncing.now = entry.until + timedelta(days=10)
    assert lasted == [30, 60, 90, 90]


async def test_decision_of_a_person_outweighs_a_report(bouncing):
    """An entry by hand stays, and who is taken off the list begins without strikes."""
    by_hand = Suppression(address="ann@x.org", reason=Reason.MANUAL, since=NOW)
    await bouncing.suppressions.put([by_hand], by="cli:root")
    await bouncing.refused()
    await bouncing.refused()
    assert await bouncing.listed() == [by_hand]
    await bouncing.suppressions.remove("ann@x.org", by="cli:root")
    await bouncing.refused()
    assert await bouncing.listed() == []


@pytest.mark.parametrize("by", ["domain", "relay"])
async def test_a_burst_of_bounces_suppresses_no_address(bouncing, by):
    """
    Twenty addresses of a domain, or by one relay, within an hour: what was suppressed at its begin
    is lifted, an alert is raised, and its strikes never count.
    """

    def address(number):
        return f"u{number}@{'x.org' if by == 'domain' else f'{number}.org'}"

    def relay(number):
        return f"relay{number}" if by == "domain" else "main"

    for number in range(20):
        for _ in range(2):
            await bouncing.refused(address(number), relay=relay(number))
        bouncing.now += timedelta(minutes=2)
    await bouncing.suppressions.look()
    assert await bouncing.listed() == []
    (trouble,) = bouncing.suppressions.troubles
    assert (trouble.kind, trouble.subject) == (
        "bounce_burst", "x.org" if by == "domain" else "main",
    )  # fmt: skip
    assert trouble.text.startswith("20 addresses ")
    bouncing.now += timedelta(days=1)
    await bouncing.refused(address(1), relay="other")
    await bouncing.suppressions.look()
    assert await bouncing.listed() == []
    assert bouncing.suppressions.troubles == ()
    await bouncing.refused(address(1), relay="other")
    assert await bouncing.lasts() == {address(1): 30}


async def test_reports_that_are_late_are_a_burst_as_they_come_in(bouncing):
    """A mailbox of reports was down: those of hours come at once, each with the time it names."""
    for number in range(20):
        for late in (3, 2):
            await bouncing.reported(f"u{number}@x.org", late=timedelta(hours=late * number))
    await bouncing.suppressions.look()
    assert await bouncing.listed() == []
    assert [each.subject for each in bouncing.suppressions.troubles] == ["x.org", "main"]


def test_a_report_that_the_timeline_has_lost_has_the_time_that_it_names():
    """That of another recipient does not count for it."""
    later = Later(LaterState.BOUNCED, NOW - timedelta(hours=2), "5.1.1", "no such user", "http")
    addresses = ("ann@x.org", "ann@x.org.example")
    sent = delivery(
        "d",
        status=Status.SENT,
        recipients=tuple(Recipient(each, RecipientStatus.ACCEPTED) for each in addresses),
    )
    told = reported(sent, addresses[1], later, now=NOW)
    assert [taken_at(told, each, later) for each in addresses] == [later.at, NOW]


async def test_a_batch_to_a_dead_address_keeps_two_strikes(bouncing):
    """What counts is counted, and more would cost each next bounce of the address."""
    for _ in range(9):
        await bouncing.refused()
        bouncing.now += timedelta(minutes=5)
    rows = await bouncing.journal.query("SELECT delivery FROM suppression_strikes ORDER BY at")
    assert rows == [("d1",), ("d2",)]
    assert await bouncing.lasts() == {"ann@x.org": 30}
    bouncing.now += timedelta(hours=1)
    await bouncing.refused()
    await bouncing.refused("bob@x.org")
    rows = await bouncing.journal.query("SELECT delivery FROM suppression_strikes ORDER BY at")
    assert [each for (each,) in rows][2:] in (["d10", "d11"], ["d11", "d10"])


async def test_nineteen_are_no_burst(bouncing):
    """Each of them is suppressed."""
    for number in range(19):
        for _ in range(2):
            await bouncing.refused(f"u{number}@x.org")
    await bouncing.suppressions.look()
    assert len(await bouncing.listed()) == 19
    assert bouncing.suppressions.troubles == ()


async def test_strikes_last_over_a_restart(tmp_path):
    """The second refusal may come days and restarts later, at a real relay."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", GONE)
        for number in range(3):
            async with notifying(tmp_path, relay, suppress="bounces") as service:
                found = await ended(service, await submit_one(service))
                assert found.status is Status.FAILED, number
                expected = "refused" if number < 2 else "suppressed"
                assert found.recipients[0].status == expected
                if number == 1:
                    assert service.suppressions.any


async def test_a_report_that_is_believed_counts_at_once(tmp_path):
    """The second one suppresses the address for the next message."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay, suppress="bounces") as service:
        for _ in range(2):
            id = await submit_one(service)
            await ended(service, id)
            report = Report(
                state=LaterState.BOUNCED, road="http", code="5.1.1", envelope_id=id,
                recipients=("ann@example.org",),
            )  # fmt: skip
            for _ in range(3):  # a provider may repeat it
                await service.reports.take_event(report)
        suppressed = await ended(service, await submit_one(service))
        assert suppressed.recipients[0].status is RecipientStatus.SUPPRESSED
        assert len(relay.received) == 2


async def test_old_strikes_are_forgotten(bouncing):
    """Ninety days after its end a suppression is deleted, and the next one is the first again."""
    await bouncing.refused()
    await bouncing.refused()
    (entry,) = await bouncing.listed()
    bouncing.now = entry.until + timedelta(days=91)
    await bouncing.suppressions.look()
    await bouncing.refused()
    await bouncing.refused()
    assert await bouncing.lasts() == {"ann@x.org": 30}


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("550 5.1.1 x", "5.1.1"),
        ("550-5.1.10 x", "5.1.10"),
        ("5.2.1 disabled", "5.2.1"),
        ("550 x 5.1.1", ""),
        ("550 5.1.1000 x", ""),
        ("250 2.1.5 ok", ""),
        ("", ""),
    ],
)
def test_the_code_stands_at_the_begin(reply, code):
    """What stands elsewhere in a reply may be a foreign text."""
    assert enhanced(reply) == code
