"""Who is told what becomes of deliveries."""

import asyncio
import contextlib

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from notifier.feed import ROUND_COST, TURN_COST, Feed
from tests.deliveries import under_way
from tests.waiting import LIMIT


def ids(portion):
    return [news.delivery.id for news in portion]


async def test_a_follower_hears_what_is_published_after_it_came():
    """It begins at once, not at the first read, and gets nothing that was published before."""
    feed = Feed()
    with feed.follow():
        feed.publish(under_way(id="before"))
        with feed.follow() as following:
            feed.publish(under_way())
            assert ids(await following.next()) == ["d1"]


async def test_one_message_can_be_followed():
    """A subscription to one message hears of no other, and leaves nothing behind."""
    feed = Feed()
    with feed.subscribe("d2") as news:
        feed.publish(under_way())
        feed.publish(under_way(id="d2"))
        assert (await news.next()).id == "d2"
    assert not feed._by_id


async def test_a_slow_reader_loses_the_oldest():
    """A reader that falls behind holds nobody up."""
    feed = Feed(backlog=2)
    with feed.follow() as following, feed.subscribe("d1") as news:
        for tries in range(3):
            feed.publish(under_way(uncertain=tries))
        assert [each.delivery.uncertain for each in await following.next()] == [1, 2]
        assert [(await news.next()).uncertain, (await news.next()).uncertain] == [1, 2]


async def test_to_publish_does_nothing_for_each_follower():
    """However many follow, they are served in rounds of bounded cost; each gets all of it."""
    feed, heard = Feed(), []
    rounds = []

    async def follow(number):
        with feed.follow() as following:
            heard.append((number, ids(await following.next())))
            rounds.append(feed._followers._round_at)

    count = 5 * ROUND_COST // TURN_COST
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(follow(number))
        await asyncio.sleep(0)
        feed.publish(under_way())
        assert not heard
    assert heard == [(number, ["d1"]) for number in range(count)]
    assert len(set(rounds)) >= 5
    assert max(map(rounds.count, rounds)) <= ROUND_COST // TURN_COST + 1


async def test_changes_between_two_turns_come_together():
    """All followers share the same news. A later turn gets more at once, and misses nothing."""
    feed = Feed()
    with feed.follow() as one, feed.follow() as other:
        feed.publish(under_way(id="1"))
        first = await one.next()
        feed.publish(under_way(id="2"))
        both = await other.next()
        assert (ids(first), ids(both), ids(await one.next())) == (["1"], ["1", "2"], ["2"])
        assert first[0] is both[0]


async def test_a_follower_that_leaves_gives_its_turn_to_the_next():
    """Cancelled while it waits, it stands in nobody's way."""
    feed = Feed()
    with feed.follow() as gone, feed.follow() as here:
        waiting = asyncio.create_task(gone.next())
        await asyncio.sleep(0)
        waiting.cancel()
        reading = asyncio.create_task(here.next())
        await asyncio.sleep(0)
        feed.publish(under_way())
        assert ids(await reading) == ["d1"]
    assert not {**feed._followers._unread, **feed._followers._up_to_date}


async def test_a_quiet_feed_gives_turns_nevertheless():
    """A stream can look for something else to send."""
    feed = Feed(quiet=0.02)
    with feed.follow() as following:
        async with asyncio.timeout(LIMIT):
            assert await following.next() == []
        assert not following.over


async def test_unread_news_come_before_idle_readers():
    """A reader that comes back late gets what it has missed in the next round, not in a minute."""
    feed = Feed(quiet=60.0)
    with feed.follow() as quick, feed.follow() as late:
        feed.publish(under_way(id="1"))
        assert ids(await quick.next()) == ["1"]
        waiting = asyncio.create_task(quick.next())  # for news that do not come
        await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT):
            assert ids(await late.next()) == ["1"]
        assert not waiting.done()
        feed.publish(under_way(id="2"))
        async with asyncio.timeout(LIMIT):
            assert ids(await late.next()) == ids(await waiting) == ["2"]


async def test_closing_ends_every_subscription():
    """Subscriptions that are open, and those opened later, end."""
    feed = Feed()
    with feed.follow() as following, feed.subscribe("d1") as news:
        waiting = asyncio.create_task(following.next())
        await asyncio.sleep(0)
        feed.close()
        assert await waiting == []
        assert following.over
        assert await news.next() is None
    with feed.subscribe("d1") as late, feed.follow() as later:
        assert await late.next() is None
        assert later.over


def test_turns_come_in_time_on_the_loop_that_serves():
    """On uvloop, whose timers differ, turns that are long due come at once, and quiet ones too."""

    async def follow():
        feed = Feed(quiet=3600.0)
        with feed.follow() as one, feed.follow() as other:
            waiting = asyncio.create_task(one.next())
            await asyncio.sleep(0.01)  # longer than a round: what comes now is overdue
            for number in range(3):
                feed.publish(under_way(id=str(number)))
            assert ids(await waiting) == ids(await other.next()) == ["0", "1", "2"]
        feed = Feed(quiet=0.05)
        with feed.follow() as quiet:
            feed.publish(under_way())
            assert ids(await quiet.next()) == ["d1"]
            assert await quiet.next() == []

    uvloop.run(asyncio.wait_for(follow(), LIMIT))


STEPS = st.lists(st.tuples(st.sampled_from(["publish", "read"]), st.integers(0, 3)), max_size=40)


@given(STEPS)
def test_readers_in_any_order_get_all_news_at_once(steps):
    """No news waits for a quiet feed's turn, whichever readers come, and how late."""

    async def play():
        feed = Feed(quiet=3600.0)
        published, heard = 0, [[] for _ in range(4)]
        with contextlib.ExitStack() as stack:
            followers = [stack.enter_context(feed.follow()) for _ in range(4)]
            reading = {}
            for step, number in steps:
                if step == "publish":
                    published += 1
                    feed.publish(under_way(id=str(published)))
                elif number not in reading:
                    reading[number] = asyncio.create_task(followers[number].next())
                await asyncio.sleep(0)
                for each in [each for each in reading if reading[each].done()]:
                    heard[each] += ids(reading.pop(each).result())
            for number, follower in enumerate(followers):
                while len(heard[number]) < published:
                    portion = reading.pop(number, None) or follower.next()
                    heard[number] += ids(await asyncio.wait_for(portion, LIMIT))
            for task in reading.values():
                task.cancel()
        assert heard == [[str(each + 1) for each in range(published)]] * 4

    asyncio.run(play())
