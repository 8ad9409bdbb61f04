"""What every journal promises, whatever it is kept in."""

import asyncio
import random
import string
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.attempts import Failure, Scope, Stage
from notifier.deliveries import Event, Priority, Route, Status
from notifier.errors import (
    IdempotencyMismatch,
    JournalUnavailable,
    MessageNotFound,
    NotifierError,
    Rejected,
    WrongState,
)
from notifier.journal import Entry, Filter, Idempotency
from notifier.journal.sqlite import SqliteJournal
from notifier.later import reported
from notifier.recipients import Later, LaterState, Recipient
from tests.deliveries import (
    NOW,
    RELAY,
    attempt,
    called_off,
    delivery,
    entries,
    entry,
    idempotency,
    ids,
    noon,
    sent,
)

CONVERSATIONS = "SELECT count(*) FROM conversations"


async def all_pages(journal, which, *, limit):
    """Every page of a search, one after the other."""
    found, cursor = [], None
    while True:
        page = await journal.find(which, limit=limit, cursor=cursor)
        found.append(ids(page.deliveries))
        cursor = page.next_cursor
        if cursor is None:
            return found


class TestAdd:
    async def test_added_delivery_reads_back_unchanged(self, journal):
        """A delivery comes back equal to what was given, its content byte by byte."""
        full = delivery(
            recipients=(Recipient("Ann@Example.org"), Recipient("bob@example.org")),
            due_at=NOW + timedelta(microseconds=1),
            key="app",
            user_id="7",
            reference="r",
            tags=("a", "b"),
            metadata={"deep": [1, {"x": None}], "ß": "\u2028", "big": 2**63},
            collapse_key="c",
            events=(Event(NOW, "x"),),
            warnings=("w",),
        )
        await journal.add([Entry(full, b"\x00\xff\r\n")])
        assert await journal.get("d1") == full
        assert await journal.content("d1") == b"\x00\xff\r\n"

    async def test_contents_of_any_size_are_kept(self, journal):
        """Small and large ones, also in one request and under way together."""
        sizes = (0, 1, 65_535, 65_536, 65_537, 3_000_000)
        made = {f"d{n}": bytes([n + 65]) * size for n, size in enumerate(sizes)}
        new = [entry(id, content=content) for id, content in made.items()]
        await asyncio.gather(journal.add(new[:4]), journal.add(new[4:5]), journal.add(new[5:]))
        for id, content in made.items():
            assert await journal.content(id) == content

    async def test_added_delivery_survives_a_restart(self, journal, journal_here):
        """Another object on the same journal finds what the first one kept."""
        await journal.add([entry()])
        await journal.put("paused", "main")
        await journal.close()
        again = journal_here()
        await again.open()
        assert await again.get("d1") == delivery()
        assert await again.values() == {"paused": "main"}
        assert (await again.backlog()).counts[Status.QUEUED] == 1
        await again.close()

    async def test_unknown_delivery_is_not_found(self, journal):
        """An unknown id is MessageNotFound in every call that takes one."""
        for call in (
            journal.get("no"),
            journal.content("no"),
            journal.amend("no", lambda each: each),
            journal.get("\ud800"),
        ):
            with pytest.raises(Rejected):
                await call

    async def test_all_or_none(self, journal):
        """One entry that cannot be kept keeps out all that came with it."""
        await journal.add([entry("taken")])
        with pytest.raises(Rejected):
            await journal.add([entry("new"), entry("taken")])
        with pytest.raises(MessageNotFound):
            await journal.get("new")
        assert (await journal.backlog()).counts[Status.QUEUED] == 1

    async def test_one_bad_call_harms_no_other(self, journal):
        """Of many calls at once only the one at fault fails, and it leaves nothing behind."""
        await journal.add([entry("taken")])
        answers = await asyncio.gather(
            *(journal.add([entry(f"good{number}")]) for number in range(5)),
            journal.add([entry("half"), entry("taken")]),
            *(journal.add([entry(f"fine{number}")]) for number in range(5)),
            journal.amend("no", lambda each: each),
            return_exceptions=True,
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(each) for each in failed] == [Rejected, MessageNotFound]
        found = await journal.find(Filter(), limit=50)
        assert len(found.deliveries) == 11
        assert (await journal.backlog()).counts[Status.QUEUED] == 11

    async def test_a_caller_who_stops_waiting_undoes_nothing(self, journal):
        """The work is done, even if the caller stops waiting for the answer."""
        asked = asyncio.create_task(journal.add([entry()]))
        await asyncio.sleep(0)
        asked.cancel()
        await journal.put("later", "")
        assert await journal.get("d1") == delivery()


class TestIdempotency:
    async def test_the_same_request_adds_nothing(self, journal):
        """A repeated request gets the first answer, and nothing is added."""
        first = await journal.add([entry("d1")], idempotency(answer=b"first"))
        second = await journal.add([entry("d2")], idempotency(answer=b"second"))
        assert (first.replayed, second.replayed) == (None, b"first")
        with pytest.raises(MessageNotFound):
            await journal.get("d2")

    async def test_another_request_under_the_key_is_refused(self, journal):
        """The key of one request cannot be used for another."""
        await journal.add([entry("d1")], idempotency())
        with pytest.raises(IdempotencyMismatch, match="'k'"):
            await journal.add([entry("d2")], idempotency(b"other"))
        with pytest.raises(MessageNotFound):
            await journal.get("d2")

    async def test_two_callers_may_use_the_same_key(self, journal):
        """Keys of different scopes are different keys."""
        await journal.add([entry("d1")], idempotency())
        assert (await journal.add([entry("d2")], idempotency(b"o", scope="b"))).replayed is None

    async def test_fifty_at_once_are_one(self, journal):
        """Of fifty equal requests at once one is added, and all get its answer."""
        added = await asyncio.gather(
            *(
                journal.add([entry(f"d{number}")], idempotency(answer=b"%d" % number))
                for number in range(50)
            )
        )
        [first] = [number for number, each in enumerate(added) if each.replayed is None]
        assert {each.replayed for each in added} == {None, b"%d" % first}
        assert ids((await journal.find(Filter())).deliveries) == [f"d{first}"]

    async def test_new_and_repeated_requests_at_once_each_get_their_own(self, journal):
        """Requests that are kept together do not hide which of them were made before."""
        keys = [f"k{number}" for number in range(40)]
        for key in keys[::3]:
            await journal.add([entry(f"first-{key}")], idempotency(answer=b"first", key=key))
        added = await asyncio.gather(
            *(journal.add([entry(key)], idempotency(answer=b"second", key=key)) for key in keys)
        )
        assert [each.replayed for each in added] == [
            b"first" if key in keys[::3] else None for key in keys
        ]
        found = {each.id for each in (await journal.find(Filter(), limit=100)).deliveries}
        assert found == {f"first-{key}" for key in keys[::3]} | {*keys} - {*keys[::3]}

    async def test_a_key_past_its_time_is_free(self, journal):
        """An expired key counts as absent, whether or not it has been pruned."""
        await journal.add([entry("d1")], idempotency(hours=1))
        late = entry("d2", created_at=NOW + timedelta(hours=2))
        assert (await journal.add([late], idempotency(b"other", hours=26))).replayed is None
        assert (await journal.add([late], idempotency(b"other"))).replayed == b"answer"

    async def test_an_answer_can_be_looked_up(self, journal):
        """What a key's request was answered, while the key lives; looking takes no key."""
        asked = {"scope": "app", "key": "k", "fingerprint": b"f"}
        assert await journal.answer(**asked, now=NOW) is None
        await journal.add([entry("d1")], idempotency(answer=b"first", hours=1))
        assert await journal.answer(**asked, now=NOW) == b"first"
        assert await journal.answer(**asked | {"scope": "other"}, now=NOW) is None
        assert await journal.answer(**asked, now=NOW + timedelta(hours=1)) is None
        with pytest.raises(IdempotencyMismatch, match="'k'"):
            await journal.answer(**asked | {"fingerprint": b"g"}, now=NOW)

    async def test_a_failed_request_leaves_its_key_free(self, journal):
        """The key is kept with the entries or not at all."""
        await journal.add([entry("taken")])
        with pytest.raises(Rejected):
            await journal.add([entry("taken")], idempotency())
        assert (await journal.add([entry("d1")], idempotency(b"other"))).replayed is None


class TestCollapse:
    async def test_a_newer_message_supersedes_the_waiting_one(self, journal):
        """
        A waiting message with the same key of the same caller is superseded, and names its
        successor.
        """
        await journal.add([entry("old", collapse_key="c", key="app")])
        await journal.add([entry("other", collapse_key="c", key="else")])
        added = await journal.add([entry("new", collapse_key="c", key="app")])
        assert added.superseded == (await journal.get("old"),)
        assert added.superseded[0].status is Status.SUPERSEDED
        assert "new" in added.superseded[0].reason
        assert sorted(ids(await journal.claim(RELAY, 9, now=noon))) == ["new", "other"]
        assert (await journal.backlog()).counts[Status.SUPERSEDED] == 1

    async def test_delivery_under_way_is_left_alone(self, journal):
        """A message that is being sent, or has been sent, is not superseded."""
        await journal.add([entry("old", collapse_key="c")])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        assert (await journal.add([entry("new", collapse_key="c")])).superseded == ()
        assert await journal.record(claim.delivery.released())
        assert ids((await journal.add([entry("newer", collapse_key="c")])).superseded) == [
            "old",
            "new",
        ]

    async def test_delivery_that_does_not_wait_supersedes_nothing(self, journal):
        """A new message that is held leaves those alone that wait under its collapse key."""
        await journal.add([entry("old", collapse_key="c")])
        held = entry("new", collapse_key="c", status=Status.HELD)
        assert (await journal.add([held])).superseded == ()
        assert ids(await journal.claim(RELAY, 9, now=noon)) == ["old"]

    async def test_within_one_call_the_last_remains(self, journal):
        """Of several in one call with the same collapse key the last is sent."""
        added = await journal.add(entries(3, collapse_key="c"))
        assert ids(added.superseded) == ["d00000", "d00001"]
        assert ids(await journal.claim(RELAY, 9, now=noon)) == ["d00002"]


class TestClaim:
    async def test_a_claim_is_for_one_alone(self, journal):
        """However many claim at once, each delivery goes to one of them."""
        await journal.add(entries(100))
        claims = await asyncio.gather(*(journal.claim(RELAY, 7, now=noon) for _ in range(20)))
        claimed = [id for each in claims for id in ids(each)]
        assert sorted(claimed) == ids(each.delivery for each in entries(100))

    async def test_claimed_delivery_is_sending(self, journal):
        """The claim and the journal both say `sending`; everything else is unchanged."""
        await journal.add([entry()])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        assert claim.delivery == replace(delivery(), status=Status.SENDING)
        assert await journal.get("d1") == claim.delivery
        assert claim.content == b"content"

    async def test_a_large_content_is_left_where_it_is(self, journal):
        """Only contents up to 64 KiB come with the claim."""
        await journal.add([entry("d1", content=b"x" * 65536), entry("d2", content=b"x" * 65537)])
        one, two = await journal.claim(RELAY, 2, now=noon)
        assert len(one.content) == 65536
        assert two.content is None
        assert len(await journal.content("d2")) == 65537

    async def test_nothing_is_claimed_before_it_is_due(self, journal):
        """Due is due: at that moment, not before; next_due says when."""
        due_at = NOW + timedelta(microseconds=1)
        assert await journal.next_due(RELAY) is None
        await journal.add([entry(due_at=due_at, status=Status.SCHEDULED)])
        assert await journal.claim(RELAY, 1, now=noon) == []
        assert await journal.next_due(RELAY) == due_at
        assert ids(await journal.claim(RELAY, 1, now=lambda: due_at)) == ["d1"]
        assert await journal.next_due(RELAY) is None

    async def test_chains_are_apart(self, journal):
        """A claim finds one chain alone; a record can move a delivery to another chain."""
        assert await journal.queues() == []
        await journal.add([entry("d1"), entry("d2", chain="a"), entry("d3", chain="a,b")])
        assert sorted(await journal.queues()) == ["relay", "relay:a", "relay:a,b"]
        assert ids(await journal.claim("relay", 5, now=noon)) == ["d1"]
        assert await journal.next_due("relay") is None
        [claim] = await journal.claim("relay:a", 5, now=noon)
        assert (claim.delivery.id, claim.delivery.queue) == ("d2", "relay:a")
        await journal.record(replace(claim.delivery.released(), chain="a,b"))
        assert await journal.queues() == ["relay:a,b"]
        assert (await journal.backlog()).oldest_due_at == await journal.next_due("relay:a,b")
        assert ids(await journal.claim("relay:a,b", 5, now=noon)) == ["d2", "d3"]

    async def test_routes_are_apart(self, journal):
        """A claim gets what goes its own way, and next_due speaks of that alone."""
        await journal.add([entry(route=Route.SIMULATOR)])
        assert await journal.claim(RELAY, 1, now=noon) == []
        assert await journal.next_due(RELAY) is None
        assert ids(await journal.claim(Route.SIMULATOR, 1, now=noon)) == ["d1"]

    async def test_first_due_first_out_then_first_in(self, journal):
        """Within a lane the earlier due goes first; at the same time, the earlier added."""
        early = NOW - timedelta(seconds=1)
        await journal.add([*entries(20), entry("early", due_at=early), *entries(5, prefix="e")])
        claimed = [id for _ in range(26) for id in ids(await journal.claim(RELAY, 1, now=noon))]
        assert claimed == [
            "early",
            *(f"d{number:05}" for number in range(20)),
            *(f"e{number:05}" for number in range(5)),
        ]

    async def test_higher_priorities_first(self, journal):
        """Urgent goes before normal, and normal before bulk."""
        await journal.add([entry(str(lane), priority=lane) for lane in (2, 1, 0) for _ in range(1)])
        assert ids(await journal.claim(RELAY, 5, now=noon)) == ["0", "1", "2"]

    async def test_lower_priorities_can_be_left_out(self, journal):
        """`slowest` leaves out the lanes behind it."""
        await journal.add([entry(str(lane), priority=lane) for lane in Priority])
        assert ids(await journal.claim(RELAY, 5, now=noon, slowest=Priority.NORMAL)) == [
            "0",
            "1",
        ]

    @pytest.mark.parametrize("limit", [1, 2, 5, 8, 16])
    async def test_no_priority_starves(self, journal, limit):
        """Of eight places one goes to each slower lane, and the rest to the fastest."""
        for lane in Priority:
            await journal.add(entries(200, prefix=lane.name, priority=lane))
        lanes = Counter()
        while lanes.total() < 160:
            claims = await journal.claim(RELAY, limit, now=noon)
            assert len(claims) == limit
            lanes.update(claim.delivery.priority for claim in claims)
        assert lanes[Priority.BULK] >= 20
        assert lanes[Priority.NORMAL] >= 20
        assert lanes[Priority.URGENT] >= 110

    async def test_a_flood_of_one_key_does_not_keep_out_another(self, journal):
        """Keys take turns, whatever each has waiting; places left over go to who has more."""
        early = NOW - timedelta(hours=1)
        await journal.add(entries(100, prefix="flood", key="a", due_at=early))
        await journal.add([*entries(3, prefix="b", key="b"), *entries(1, prefix="c", key="c")])
        claims = await journal.claim(RELAY, 12, now=noon)
        assert Counter(claim.delivery.key for claim in claims) == {"a": 8, "b": 3, "c": 1}
        assert {claim.delivery.key for claim in claims[:3]} == {"a", "b", "c"}

    async def test_keys_take_turns_also_one_by_one(self, journal):
        """Claims of a single place go round the keys."""
        for key in ("", "a", "b", "c"):
            await journal.add(entries(10, prefix=f"{key}-", key=key))
        claims = [claim for _ in range(8) for claim in await journal.claim(RELAY, 1, now=noon)]
        assert Counter(claim.delivery.key for claim in claims) == {"": 2, "a": 2, "b": 2, "c": 2}

    async def test_a_key_with_nothing_due_takes_no_turn(self, journal):
        """Only keys with something due share."""
        await journal.add(entries(5, key="a", due_at=NOW + timedelta(hours=1)))
        await journal.add(entries(5, prefix="b", key="b"))
        assert len(await journal.claim(RELAY, 5, now=noon)) == 5


class TestRecord:
    async def test_outcome_is_kept(self, journal):
        """The record is what was recorded, and the claim is over."""
        await journal.add([entry()])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        done = sent(claim.delivery)
        assert await journal.record(done)
        assert await journal.get("d1") == done
        assert not await journal.record(done)

    async def test_claim_of_another_process_is_left_alone(self, journal):
        """A record for what nobody has claimed, or nobody knows, changes nothing."""
        await journal.add([entry()])
        assert not await journal.record(sent(delivery()))
        assert not await journal.record(sent(delivery("unknown")))
        assert await journal.get("d1") == delivery()

    async def test_one_that_is_not_ours_does_not_take_the_others_along(self, journal):
        """Each of several records has a result of its own."""
        await journal.add(entries(70))
        claims = await journal.claim(RELAY, 70, now=noon)
        recorded = [sent(claim.delivery) for claim in claims]
        assert await journal.record(recorded[30])
        kept = await asyncio.gather(*map(journal.record, recorded))
        assert kept == [number != 30 for number in range(70)]
        assert (await journal.backlog()).counts[Status.SENT] == 70

    async def test_record_that_cannot_be_kept_fails_alone_and_stays_claimed(self, journal):
        """
        Only the record that cannot be stored is refused; its claim stands, and another record may
        follow.
        """
        await journal.add(entries(2))
        bad, good = [claim.delivery for claim in await journal.claim(RELAY, 2, now=noon)]
        refused, kept, none, added = await asyncio.gather(
            journal.record(bad.held("\udcff")), journal.record(sent(good)),
            journal.add([entry("bad", subject="\udcff")]), journal.add([entry("good")]),
            return_exceptions=True,
        )  # fmt: skip
        assert [type(refused), type(none)] == [Rejected, Rejected]
        assert kept is True
        assert added.replayed is None
        assert await journal.record(bad.held("?"))
        assert (await journal.get(bad.id)).status is Status.HELD

    async def test_two_records_of_one_at_once_are_one(self, journal):
        """The first of them is kept. The second is refused as too late."""
        await journal.add(entries(20))
        claims = await journal.claim(RELAY, 20, now=noon)
        first = [sent(claim.delivery) for claim in claims]
        again = [first[7].held("came second")]
        kept = await asyncio.gather(*map(journal.record, first + again))
        assert kept == [True] * 20 + [False]
        assert await journal.get(first[7].id) == first[7]
        counts = (await journal.backlog()).counts
        assert (counts[Status.SENT], counts.get(Status.SENDING, 0)) == (20, 0)

    async def test_deferred_comes_back_when_it_is_due(self, journal):
        """A deferred delivery is claimed again at its new time."""
        await journal.add([entry()])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        later = NOW + timedelta(minutes=1)
        failure = Failure(
            scope=Scope.RECIPIENT, permanent=False, stage=Stage.RCPT, reply="450 later"
        )
        failed = attempt(accepted=(), failures={"ann@example.org": failure})
        deferred = claim.delivery.after(failed, retry_at=later, now=NOW)
        assert await journal.record(deferred)
        assert await journal.claim(RELAY, 1, now=noon) == []
        assert await journal.next_due(RELAY) == later
        assert ids(await journal.claim(RELAY, 1, now=lambda: later)) == ["d1"]


def refused(one):
    raise WrongState("no")


def broken(one):
    raise ZeroDivisionError(one.id)


class TestAmend:
    async def test_a_step_is_taken(self, journal):
        """What the step made is returned, and is there."""
        await journal.add([entry()])
        cancelled = await journal.amend("d1", called_off)
        assert cancelled.status is Status.CANCELLED
        assert await journal.get("d1") == cancelled
        assert await journal.claim(RELAY, 1, now=noon) == []

    @pytest.mark.parametrize(
        ("step", "error"), [(refused, WrongState), (broken, ZeroDivisionError)]
    )
    async def test_step_that_raises_changes_nothing(self, journal, step, error):
        """Whatever a step raises reaches the caller, the journal goes on."""
        await journal.add([entry()])
        with pytest.raises(error):
            await journal.amend("d1", step)
        assert await journal.get("d1") == delivery()

    async def test_each_of_many_steps_has_its_own_end(self, journal):
        """Steps at once change what they can; an error reaches the caller of its step alone."""

        def refuse(_):
            raise WrongState("no")

        await journal.add(entries(4))
        steps = {"d00000": called_off, "d00001": refuse, "gone": called_off, "d00003": called_off}
        ends = await asyncio.gather(
            *(journal.amend(id, step) for id, step in steps.items()), return_exceptions=True
        )
        assert [type(end).__name__ for end in ends] == [
            "Delivery", "WrongState", "MessageNotFound", "Delivery",
        ]  # fmt: skip
        cancelled = await journal.find(Filter(status=(Status.CANCELLED,)))
        assert ids(cancelled.deliveries) == ["d00003", "d00000"]

    async def test_steps_come_one_after_the_other(self, journal):
        """No step is lost among many at once."""
        await journal.add([entry()])
        await asyncio.gather(
            *(
                journal.amend("d1", lambda each: replace(each, tries=each.tries + 1))
                for _ in range(50)
            )
        )
        assert (await journal.get("d1")).tries == 50

    async def test_cancel_wins_or_loses_against_a_claim(self, journal):
        """A claimed message cannot be cancelled, and a cancelled one cannot be claimed."""
        await journal.add([entry()])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        seen = []
        await journal.amend("d1", lambda each: seen.append(each.status) or called_off(each))
        assert seen == [Status.SENDING]
        assert not await journal.record(sent(claim.delivery))

    async def test_all_that_match(self, journal):
        """amend_all takes each that matches a step further, however many, and counts them."""
        await journal.add(entries(1100, user_id="7"))
        await journal.add(entries(3, prefix="x"))

        def odd(one):
            return refused(one) if int(one.id[1:]) % 2 else called_off(one)

        assert await journal.amend_all(Filter(user_id="7"), odd) == 550
        counts = (await journal.backlog()).counts
        assert (counts[Status.CANCELLED], counts[Status.QUEUED]) == (550, 553)

    async def test_a_broken_step_undoes_its_portion(self, journal):
        """A portion in which a step breaks is left as it was, and other calls are not."""
        await journal.add(entries(10))

        def fragile(one):
            return broken(one) if one.id == "d00003" else called_off(one)

        broke, added = await asyncio.gather(
            journal.amend_all(Filter(), fragile), journal.add([entry("x")]), return_exceptions=True
        )
        assert isinstance(broke, ZeroDivisionError)
        assert not isinstance(added, BaseException)
        assert (await journal.backlog()).counts[Status.QUEUED] == 11


class TestTime:
    async def test_deliveries_of_a_dead_process_are_recovered(self, journal, journal_here):
        """After a restart every claimed delivery takes the step, and nothing else."""
        await journal.add(entries(1200))
        await journal.claim(RELAY, 1100, now=noon)
        await journal.close()
        again = journal_here()
        await again.open()
        recovered = await again.recover(lambda each: each.recovered(NOW))
        assert len(recovered) == 1100
        assert {each.uncertain for each in recovered} == {1}
        counts = (await again.backlog()).counts
        assert (counts[Status.SENDING], counts[Status.QUEUED]) == (0, 1200)
        assert await again.recover(lambda each: each.recovered(NOW)) == []
        await again.close()

    async def test_own_claims_are_not_recovered(self, journal):
        """Recovering what dead replicas left does not touch our own claims."""
        assert await journal.recover(lambda each: each.recovered(NOW)) == []
        await journal.add([entry()])
        [claim] = await journal.claim(RELAY, 1, now=noon)
        assert await journal.recover(lambda each: each.recovered(NOW)) == []
        assert await journal.still_ours(claim.delivery)
        assert await journal.record(sent(claim.delivery))

    async def test_the_waiting_expire(self, journal):
        """Up to `limit` of those that wait and are past their time expire, the oldest first."""
        for number in (3, 1, 2):
            await journal.add([entry(f"d{number}", expires_at=NOW + timedelta(hours=number))])
        await journal.add([entry("sending", priority=Priority.URGENT, expires_at=NOW)])
        await journal.claim(RELAY, 1, now=noon)
        assert await journal.expire(NOW, lambda each: each.expired(NOW)) == []
        late = NOW + timedelta(hours=2)
        assert ids(await journal.expire(late, lambda each: each.expired(late), limit=1)) == ["d1"]
        assert ids(await journal.expire(late, lambda each: each.expired(late))) == ["d2"]
        assert (await journal.get("d1")).status is Status.EXPIRED
        assert ids(await journal.claim(RELAY, 9, now=lambda: late)) == ["d3"]

    async def test_the_old_is_pruned_in_steps(self, journal):
        """Contents go first, deliveries later, a limited number at a time, the rest stays."""
        await journal.add(entries(7, tags=("t",), user_id="7"))
        await journal.add([entry("waiting")])
        for claim in await journal.claim(RELAY, 5, now=noon):
            await journal.record(sent(claim.delivery))

        def prune(days, *, limit):
            before = NOW - timedelta(days=30) + timedelta(days=days, seconds=1)
            return journal.prune(
                finished_before=before,
                contents_before=before + timedelta(days=23),
                now=NOW,
                limit=limit,
            )

        assert await prune(0, limit=9) == 0
        assert [await prune(7, limit=3) for _ in range(3)] == [3, 2, 0]
        with pytest.raises(MessageNotFound):
            await journal.content("d00000")
        assert (await journal.get("d00000")).status is Status.SENT
        assert [await prune(30, limit=3) for _ in range(3)] == [3, 2, 0]
        with pytest.raises(MessageNotFound):
            await journal.get("d00000")
        assert ids((await journal.find(Filter(tag="t"))).deliveries) == ["d00006", "d00005"]
        counts = (await journal.backlog()).counts
        assert (counts[Status.SENT], counts[Status.QUEUED]) == (0, 3)
        assert await journal.content("waiting") == b"content"

    async def test_idempotency_keys_are_pruned(self, journal):
        """A key past its time goes, and one that is not stays."""
        for hours in (1, 3):
            key = Idempotency(
                scope="",
                key=str(hours),
                fingerprint=b"",
                answer=b"",
                expires_at=NOW + timedelta(hours=hours),
            )
            await journal.add([entry(f"d{hours}")], key)
        ages = {"finished_before": NOW, "contents_before": NOW}
        assert await journal.prune(**ages, now=NOW + timedelta(hours=2)) == 1
        assert await journal.prune(**ages, now=NOW + timedelta(hours=2)) == 0

    async def test_the_backlog_names_the_oldest_due_time(self, journal):
        """The backlog names the earliest due time of any route."""
        early = NOW - timedelta(hours=1)
        await journal.add([entry("a"), entry("b", route=Route.SIMULATOR, due_at=early)])
        backlog = await journal.backlog()
        assert backlog.oldest_due_at == early
        assert backlog.waiting == 2

    async def test_held_delivery_without_a_decision_is_given_up(self, journal):
        """What was held before a time ends, the oldest first; the backlog has its time."""
        assert (await journal.backlog()).held_since is None
        for hours in (2, 1, 3):
            at = NOW + timedelta(hours=hours)
            await journal.add([entry(f"d{hours}", due_at=at)])
            [claim] = await journal.claim(RELAY, 1, now=lambda at=at: at)
            await journal.record(claim.delivery.held("why"))
        assert (await journal.backlog()).held_since == NOW + timedelta(hours=1)
        late = NOW + timedelta(days=30)

        def undecided(one):
            return one.undecided(late)

        before = NOW + timedelta(hours=2)
        assert ids(await journal.expire_held(before, undecided, limit=1)) == ["d1"]
        assert ids(await journal.expire_held(before, undecided)) == ["d2"]
        given_up = await journal.get("d1")
        assert given_up.status is Status.EXPIRED
        assert "no one decided" in given_up.reason
        assert given_up.finished_at == late
        assert (await journal.backlog()).held_since == NOW + timedelta(hours=3)
        await journal.amend("d3", called_off)
        assert (await journal.backlog()).held_since is None


class TestConversations:
    async def test_conversations_are_read_only_on_request(self, journal):
        """Conversations are read only on request; a list reads the first one alone."""
        await journal.add([entry()])
        one = delivery()
        for number in range(50):
            [claim] = await journal.claim(RELAY, 1, now=noon)
            assert not any(each.conversation for each in claim.delivery.attempts[1:])
            tried = replace(
                attempt(accepted=(), failures={"ann@example.org": LATER}),
                conversation=(f"S: {number}",),
            )
            one = claim.delivery.after(tried, retry_at=NOW, now=NOW)
            assert await journal.record(one)
        await journal.amend("d1", called_off)
        [listed] = (await journal.find(Filter())).deliveries
        for plain in (listed, await journal.get("d1")):
            assert {each.conversation for each in plain.attempts[1:]} == {()}
        assert await journal.query(CONVERSATIONS) == [(19,)]
        full = await journal.get("d1", conversations=True)
        said = [int(each.conversation[0].removeprefix("S: ")) for each in full.attempts]
        assert said == [0, 1, 2, *range(33, 50)]
        assert replace(full, attempts=()) == replace(listed, attempts=())

    async def test_refused_record_keeps_no_conversation(self, journal):
        """Of a record that is not kept, nothing that was said is."""
        failed = attempt(accepted=(), failures={"ann@example.org": LATER})
        await journal.add(entries(2, attempts=(failed,)))
        claims = await journal.claim(RELAY, 2, now=noon)
        talk = replace(attempt(), conversation=("S: 250",))
        kept, late = (c.delivery.after(talk, retry_at=NOW, now=NOW) for c in claims)
        await journal.amend(late.id, called_off)
        assert await asyncio.gather(journal.record(kept), journal.record(late)) == [True, False]
        assert (await journal.get(late.id, conversations=True)).attempts == (failed,)
        [_, tried] = (await journal.get(kept.id, conversations=True)).attempts
        assert tried.conversation == ("S: 250",)
        assert await journal.query(CONVERSATIONS) == [(1,)]

    async def test_pruned_delivery_keeps_no_conversation(self, journal):
        """A later message under the same number does not show the words of an earlier one."""
        await journal.add([entry()])
        failed = replace(
            attempt(accepted=(), failures={"ann@example.org": LATER}), conversation=("S: 450",)
        )
        for tried in (failed, replace(attempt(), conversation=("S: 250",))):
            [claim] = await journal.claim(RELAY, 1, now=noon)
            await journal.record(claim.delivery.after(tried, retry_at=NOW, now=NOW))
        assert await journal.query(CONVERSATIONS) == [(1,)]
        later = NOW + timedelta(days=1)
        await journal.prune(finished_before=later, contents_before=later, now=later)
        assert await journal.query(CONVERSATIONS) == [(0,)]


class TestUnreadable:
    """A record that a newer notifier has written, with a member or a field that we do not know."""

    async def test_a_list_shows_the_others(self, journal):
        """And the bad one, with what can be read of it and the reason; so does a look at it."""
        await journal.add(entries(3, subject="Hello", reference="r"))
        await spoil(journal, "d00001")
        page = await journal.find(Filter())
        assert ids(page.deliveries) == ["d00002", "d00001", "d00000"]
        bad = page.deliveries[1]
        assert bad == await journal.get("d00001")
        assert bad == await journal.get("d00001", conversations=True)
        assert (bad.subject, bad.reference) == ("Hello", "r")
        assert bad.recipients == (Recipient("ann@example.org"),)
        assert "cannot be read" in bad.reason
        assert await journal.count(Filter(), most=9) == 3
        assert await journal.content("d00001") == b"content"

    @pytest.mark.parametrize("record", [b"", b"\xff{", b"[]", b"{", b'{"id": 7}'])
    async def test_every_row_can_be_shown(self, journal, record):
        """Also where nothing of it can be read."""
        await journal.add([entry(), entry("d2")])
        await spoil(journal, "d1", record)
        shown = {each.id: each for each in (await journal.find(Filter())).deliveries}
        assert set(shown) == {"d1", "d2"}
        assert "cannot be read" in shown["d1"].reason
        assert shown["d1"].created_at == NOW

    async def test_a_claim_sets_it_aside_and_goes_on(self, journal, journal_here):
        """It is held, and counted so; the others leave; a newer notifier finds it as it was."""
        await journal.add(entries(3))
        kept = await spoil(journal, "d00001")
        assert ids(await journal.claim(RELAY, 3, now=noon)) == ["d00000", "d00002"]
        assert await journal.claim(RELAY, 3, now=noon) == []
        assert await journal.next_due(RELAY) is None
        held = await journal.get("d00001")
        assert held.status is Status.HELD
        backlog = await journal.backlog()
        assert backlog.counts[Status.HELD] == 1
        assert backlog.held_since is not None
        assert ids((await journal.find(Filter(status=(Status.HELD,)))).deliveries) == ["d00001"]
        await unspoil(journal, "d00001", kept)
        assert (await journal.amend("d00001", lambda one: one.retried(NOW))).status is Status.QUEUED

    async def test_chores_go_on_past_it(self, journal, journal_here):
        """What expires, was being sent or is superseded is at its end, or held; nothing loops."""
        await journal.add(entries(4, expires_at=NOW + timedelta(hours=1)))
        await journal.add([entry("old", collapse_key="c", due_at=NOW + timedelta(hours=1))])
        sending = await journal.claim(RELAY, 2, now=noon)
        for id in (sending[0].delivery.id, "d00002", "old"):
            await spoil(journal, id)
        await journal.add([entry("new", collapse_key="c")])
        assert (await journal.get("old")).status is Status.SUPERSEDED
        late = NOW + timedelta(hours=2)
        expired = await journal.expire(late, lambda one: one.expired(late))
        assert sorted(ids(expired)) == ["d00002", "d00003"]
        assert (await journal.get("d00002")).status is Status.EXPIRED
        assert await journal.expire(late, lambda one: one.expired(late)) == []
        await journal.close()
        again = journal_here()
        await again.open()
        recovered = await again.recover(lambda one: one.recovered(NOW))
        assert {each.id: each.status for each in recovered} == {
            "d00000": Status.HELD, "d00001": Status.QUEUED,
        }  # fmt: skip
        assert await again.recover(lambda one: one.recovered(NOW)) == []
        later = NOW + timedelta(days=40)
        await again.prune(finished_before=later, contents_before=later, now=later)
        with pytest.raises(MessageNotFound):
            await again.get("d00002")
        await again.close()

    async def test_a_person_can_only_end_it(self, journal):
        """It is cancelled, given up after its time; what would send it is refused in words."""
        await journal.add(entries(2, user_id="7"))
        for id in ("d00000", "d00001"):
            await spoil(journal, id)
        await journal.claim(RELAY, 2, now=noon)
        with pytest.raises(WrongState, match="cannot be read"):
            await journal.amend("d00000", lambda one: one.retried(NOW))
        assert await journal.amend_all(Filter(user_id="7"), lambda one: one.retried(NOW)) == 0
        assert (await journal.amend("d00000", called_off)).status is Status.CANCELLED
        assert (await journal.get("d00000")).status is Status.CANCELLED
        far = datetime.now(UTC) + timedelta(days=1)
        assert ids(await journal.expire_held(far, lambda one: one.undecided(far))) == ["d00001"]
        assert (await journal.backlog()).counts[Status.HELD] == 0

    async def test_a_status_of_a_newer_notifier_is_held(self, journal, journal_here):
        """An unknown member in the column ends no list, and the journal opens."""
        await journal.add(entries(2))
        await execute(journal, "UPDATE deliveries SET status = 'parked' WHERE id = 'd00000'")
        await journal.close()
        again = journal_here()
        await again.open()
        shown = (await again.find(Filter())).deliveries
        assert [each.status for each in shown] == [Status.QUEUED, Status.HELD]
        assert "'parked'" in shown[1].reason
        assert ids(await again.claim(RELAY, 2, now=noon)) == ["d00001"]
        assert (await again.get("d00000")).status is Status.HELD
        assert (await again.backlog()).counts[Status.SENDING] == 1
        await again.close()


LATER = Failure(scope=Scope.RECIPIENT, permanent=False, stage=Stage.RCPT, reply="450 later")


async def execute(journal, sql, *values):
    """Behind the journal's back; what came of it."""
    if isinstance(journal, SqliteJournal):
        return await journal._writes.ask(lambda db: db.execute(sql, values).fetchall())
    for number in range(len(values)):
        sql = sql.replace("?", f"${number + 1}", 1)
    return await journal._pool.fetch(sql, *values)


async def spoil(journal, id, record=None):
    """As a newer notifier may have written it; what was there before."""
    found = await execute(journal, "SELECT record FROM deliveries WHERE id = ?", id)
    kept = bytes(found[0][0])
    if record is None:
        record = kept.replace(b'"channel":"email"', b'"channel":"email","route":"pigeon"')
    await unspoil(journal, id, record)
    return kept


async def unspoil(journal, id, record):
    await execute(journal, "UPDATE deliveries SET record = ? WHERE id = ?", record, id)


FILTERS = {
    "everything": Filter(),
    "status": Filter(status=(Status.QUEUED,)),
    "statuses": Filter(status=(Status.CANCELLED, Status.QUEUED, Status.HELD)),
    "sent": Filter(status=(Status.SENT,)),
    "sent or held": Filter(status=(Status.SENT, Status.HELD)),
    "channel": Filter(channel="sms"),
    "user": Filter(user_id="1"),
    "reference": Filter(reference="2"),
    "tag": Filter(tag="1"),
    "to": Filter(to="User1@example.org"),
    "relay": Filter(relay="b"),
    "key": Filter(key="a"),
    "bounced": Filter(bounced=True),
    "not bounced": Filter(bounced=False),
    "bounced by key": Filter(bounced=True, key="a", status=(Status.SENT,)),
    "after": Filter(created_after=NOW + timedelta(seconds=100)),
    "before": Filter(created_before=NOW + timedelta(seconds=100)),
    "between": Filter(
        created_after=NOW + timedelta(seconds=50), created_before=NOW + timedelta(seconds=51)
    ),
    "status and key": Filter(status=(Status.QUEUED,), key="a"),
    "all at once": Filter(
        status=(Status.QUEUED, Status.SENT),
        channel="email",
        user_id="1",
        tag="0",
        to="user0@example.org",
        key="a",
        created_after=NOW,
    ),
    "side by side": Filter(tag="1", to="user1@example.org", channel="email", relay="a"),
    "a word": Filter(q="d12"),
    "words": Filter(q="USER1@example D1", status=(Status.SENT, Status.QUEUED)),
    "a tag and a word": Filter(q="@example", tag="1"),
    "nobody": Filter(user_id="nobody"),
}


def says(one, word):
    """What a person would look at."""
    addresses = [recipient.address for recipient in one.recipients]
    fields = [one.subject, one.sender, one.reference, one.user_id, one.reason, one.id]
    return any(word.lower() in text.lower() for text in (*fields, *addresses, *one.tags))


def fits(one, which):
    """What a filter means, said plainly."""
    relay = one.attempts[-1].relay if one.attempts else None
    to = {recipient.address.lower() for recipient in one.recipients}
    return (
        (not which.status or one.status in which.status)
        and which.channel in (None, one.channel)
        and which.user_id in (None, one.user_id)
        and which.reference in (None, one.reference)
        and (which.tag is None or which.tag in one.tags)
        and (which.to is None or which.to.lower() in to)
        and which.relay in (None, relay)
        and which.key in (None, one.key)
        and which.bounced in (None, any(each.bounced for each in one.recipients))
        and (which.created_after is None or one.created_at >= which.created_after)
        and (which.created_before is None or one.created_at < which.created_before)
        and all(says(one, word) for word in (which.q or "").split())
    )


class TestFind:
    @pytest.fixture
    async def deliveries(self, journal):
        """Of every kind, in every state: as they are in the journal, the newest first."""
        chance = random.Random(1)
        few = ["", "1", "2"]
        all_of_them = [
            delivery(
                f"d{number}",
                created_at=NOW + timedelta(seconds=number // 3),
                channel=chance.choice(["email", "sms"]),
                user_id=chance.choice(few),
                reference=chance.choice(few),
                key=chance.choice(["", "a", "b"]),
                tags=tuple(chance.sample(["0", "1", "2"], chance.randrange(3))),
                recipients=tuple(
                    Recipient(f"uSer{each}@example.org") for each in range(chance.randrange(1, 3))
                ),
                due_at=NOW + timedelta(seconds=chance.randrange(2)),
            )
            for number in range(600)
        ]
        for start in range(0, 600, 50):
            await journal.add([Entry(each, b"") for each in all_of_them[start : start + 50]])
        for claim in await journal.claim(RELAY, 200, now=noon):
            if chance.random() < 0.9:
                await journal.record(sent(claim.delivery, relay=chance.choice("ab")))
        for each in chance.sample(all_of_them, 100):
            await journal.amend(each.id, called_off)
        later = Later(LaterState.BOUNCED, NOW)
        for each in (await journal.find(Filter(status=(Status.SENT,)), limit=1000)).deliveries[::3]:
            address = each.recipients[0].address
            await journal.amend(each.id, partial(reported, address=address, later=later, now=NOW))
        return [await journal.get(each.id) for each in reversed(all_of_them)]

    async def test_every_filter_finds_what_it_says(self, journal, deliveries):
        """Each filter, and several together, find all that fits, newest first, page by page."""
        for name, which in FILTERS.items():
            wanted = [one.id for one in deliveries if fits(one, which)]
            assert wanted or name == "nobody", name
            pages = await all_pages(journal, which, limit=37)
            assert [id for page in pages for id in page] == wanted, name
            assert all(len(page) == 37 for page in pages[:-1]), name
            assert await journal.count(which, most=1000) == len(wanted), name
            assert await journal.count(which, most=5) == min(5, len(wanted)), name

    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("say", True),
            ('"hi\\', True),
            ("SAY sHOP", True),
            ("Grüße", True),
            ("full", True),
            ("say nothing", False),
            ("address", False),
            ("queued", False),
            ("%", False),
            (" ", True),
        ],
    )
    async def test_words_are_looked_for_where_a_person_would(self, journal, q, found):
        """In the texts, whatever they hold; not in the names and marks of the record."""
        words = {"subject": 'Say "hi\\" Grüße', "sender": "shop@example.org"}
        await journal.add([entry(**words, reason="552 mailbox full")])
        assert bool((await journal.find(Filter(q=q))).deliveries) is found

    async def test_a_reason_is_found_whole(self, journal):
        """Not the reason that has more words, nor a subject that is the same."""
        held = {"status": Status.HELD}
        for id, changes in (
            ("a", held | {"reason": "storm"}),
            ("b", held | {"reason": "storm on the link"}),
            ("c", {"subject": "storm"}),
            ("d", {"reason": "storm"}),
        ):
            await journal.add([entry(id, **changes)])
        assert ids((await journal.find(Filter(reason="storm"))).deliveries) == ["d", "a"]
        both = Filter(reason="storm", status=(Status.HELD,))
        assert ids((await journal.find(both)).deliveries) == ["a"]
        assert await journal.count(both, most=9) == 1

    async def test_an_empty_filter_does_not_filter(self, journal, deliveries):
        """Empty says as little as None."""
        page = await journal.find(Filter(user_id="", key="", tag="", to=""), limit=1000)
        assert len(page.deliveries) == 600
        assert page.next_cursor is None

    async def test_pages_stay_while_rows_arrive(self, journal):
        """Nothing is shown twice or left out because something was added meanwhile."""
        await journal.add(entries(10))
        first = await journal.find(Filter(), limit=4)
        await journal.add(entries(10, prefix="new"))
        second = await journal.find(Filter(), limit=40, cursor=first.next_cursor)
        assert ids(first.deliveries + second.deliveries) == [f"d{9 - n:05}" for n in range(10)]

    async def test_out_of_order_creation_is_found(self, journal):
        """A delivery created before one that was added earlier is within its span of time."""
        times = [*range(100), 3, *range(100, 110)]
        await journal.add(
            [
                entry(f"d{number}", created_at=NOW + timedelta(seconds=seconds))
                for number, seconds in enumerate(times)
            ]
        )
        page = await journal.find(
            Filter(
                created_after=NOW + timedelta(seconds=3), created_before=NOW + timedelta(seconds=4)
            )
        )
        assert ids(page.deliveries) == ["d100", "d3"]

    @pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=-30)])
    async def test_after_the_clock_was_set_back_times_are_found(self, journal, step):
        """In lists, counts and bulk acts, whatever the order of arrival."""
        count = 2500
        await journal.add(
            [
                entry(f"d{number:05}", created_at=NOW + timedelta(milliseconds=number))
                for number in range(count)
            ]
        )
        await journal.add(
            [
                entry(f"e{number:05}", created_at=NOW + step + timedelta(milliseconds=number))
                for number in range(count)
            ]
        )
        back = [f"e{number:05}" for number in reversed(range(count))]
        before = Filter(created_after=NOW + step, created_before=NOW)
        pages = await all_pages(journal, before, limit=1000)
        assert [id for page in pages for id in page] == back
        assert await journal.count(before, most=9999) == count
        some = Filter(
            created_after=NOW + timedelta(milliseconds=10),
            created_before=NOW + timedelta(milliseconds=13),
        )
        assert ids((await journal.find(some)).deliveries) == ["d00012", "d00011", "d00010"]
        late = Filter(created_after=NOW + timedelta(milliseconds=count - 1))
        assert ids((await journal.find(late)).deliveries) == [f"d{count - 1:05}"]
        since = NOW + step + timedelta(milliseconds=count - 2)
        tagged = Filter(created_after=since, created_before=NOW, to="ann@example.org")
        assert ids((await journal.find(tagged)).deliveries) == back[:2]
        assert await journal.amend_all(before, called_off) == count
        assert (await journal.backlog()).counts[Status.QUEUED] == count

    @pytest.mark.parametrize(
        "cursor", ["", "x", "AAAA", "-" * 11, "é", "\ud800", "A" * 12, "____" * 3]
    )
    async def test_a_wrong_cursor_is_refused(self, journal, cursor):
        """A cursor of the caller's own making is refused by its name."""
        with pytest.raises(Rejected, match="cursor"):
            await journal.find(Filter(), cursor=cursor)

    async def test_any_search_text_is_safe(self, journal):
        """No text in a filter does worse than to find nothing, or to be refused."""
        await journal.add([entry()])

        @given(st.text(min_size=1), st.sampled_from(["tag", "to", "user_id", "relay", "key"]))
        def search(text, name):
            found = asyncio.run_coroutine_threadsafe(
                journal.find(Filter(**{name: text})), loop
            ).result(5)
            assert found.deliveries == ()

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(search)


class TestBacklog:
    @pytest.mark.parametrize("seed", range(4))
    async def test_the_counts_are_true(self, journal, journal_here, seed):
        """After whatever happened the counts are those of the deliveries that are there."""
        chance = random.Random(seed)
        names = [
            f"{letter}{number}" for letter in string.ascii_lowercase[:8] for number in range(8)
        ]
        claimed = []

        async def something(name):
            match chance.randrange(8):
                case 0 | 1 | 2:
                    await journal.add([entry(name, collapse_key=chance.choice(["", "c"]))])
                case 3:
                    claimed.extend(await journal.claim(RELAY, 3, now=noon))
                case 4 if claimed:
                    await journal.record(sent(claimed.pop().delivery))
                case 5:
                    await journal.amend(name, lambda one: one.held("so"))
                case 6:
                    await journal.amend_all(Filter(to="ann@example.org"), broken)
                case 7:
                    later = NOW + timedelta(days=40)
                    await journal.prune(
                        finished_before=later, contents_before=later, now=NOW, limit=1
                    )

        for _ in range(10):
            came = await asyncio.gather(
                *(something(chance.choice(names)) for _ in range(20)), return_exceptions=True
            )
            raised = {type(each) for each in came if each is not None}
            # An id that is taken, one that is not there, and a step that breaks.
            assert raised <= {Rejected, MessageNotFound, ZeroDivisionError}
        page = await journal.find(Filter(), limit=1000)
        backlog = await journal.backlog()
        true = Counter(one.status for one in page.deliveries)
        assert {status: count for status, count in backlog.counts.items() if count} == true
        await journal.close()
        again = journal_here()
        await again.open()
        assert await again.backlog() == backlog
        await again.close()


class TestWords:
    async def test_the_last_word_is_kept(self, journal):
        """A word put again replaces the first."""
        assert await journal.values() == {}
        await journal.put("a", "1")
        await journal.put("a", "2")
        await journal.put("b", "")
        assert await journal.values() == {"a": "2", "b": ""}

    async def test_a_word_is_found_alone_until_it_is_forgotten(self, journal):
        """A value that was never put is None. Forgetting it is not an error."""
        await journal.put("a", "1")
        await journal.put("b", "2")
        assert (await journal.value("a"), await journal.value("c")) == ("1", None)
        await journal.forget(["a", "c"])
        assert await journal.value("a") is None
        assert await journal.values() == {"b": "2"}

    async def test_a_lock_can_be_taken_again(self, journal):
        """A lock can be taken again after its release, also after a failure."""
        async with journal.try_lock("a") as here, journal.try_lock("b") as there:
            assert here
            assert there
        with pytest.raises(ZeroDivisionError):
            async with journal.try_lock("a"):
                raise ZeroDivisionError
        async with journal.try_lock("a") as again:
            assert again


class TestClose:
    async def test_calls_are_carried_out_in_order(self, journal, journal_here):
        """Calls from before the end are answered, and later ones raise JournalUnavailable."""
        asked = [asyncio.ensure_future(journal.add([each])) for each in entries(100)]
        await asyncio.sleep(0)
        await journal.close()
        await asyncio.gather(*asked)
        for call in (journal.get("d00000"), journal.add([entry()]), journal.backlog()):
            with pytest.raises(JournalUnavailable):
                await call
        await journal.close()
        again = journal_here()
        await again.open()
        assert (await again.backlog()).counts[Status.QUEUED] == 100
        await again.close()

    async def test_every_error_is_of_the_family(self, journal):
        """Callers need to know no exception but notifier's own."""
        with pytest.raises(NotifierError):
            await journal.add([entry("d1"), entry("d1")])
