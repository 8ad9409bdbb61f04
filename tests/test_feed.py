"""Who is told what becomes of deliveries."""

from notifier.feed import Feed
from tests.test_deliveries import delivery


async def test_a_subscriber_hears_what_is_published_after_it_came():
    """A subscription begins at once, not at the first read."""
    feed = Feed()
    with feed.subscribe() as news:
        feed.publish(delivery())
        assert (await news.next()).id == "d1"


async def test_one_message_can_be_followed():
    """A subscription to one message hears of no other, and leaves nothing behind."""
    feed = Feed()
    with feed.subscribe("d2") as news:
        feed.publish(delivery())
        feed.publish(delivery(id="d2"))
        assert (await news.next()).id == "d2"
    assert not feed._by_id


async def test_a_slow_reader_loses_the_oldest():
    """A reader that falls behind holds nobody up."""
    feed = Feed(backlog=2)
    with feed.subscribe() as news:
        for number in range(3):
            feed.publish(delivery(id=str(number)))
        assert [(await news.next()).id, (await news.next()).id] == ["1", "2"]


async def test_closing_ends_every_subscription():
    """Those open and those opened later are told that nothing more comes."""
    feed = Feed()
    with feed.subscribe() as all_news, feed.subscribe("d1") as news:
        feed.close()
        assert await all_news.next() is None
        assert await news.next() is None
    with feed.subscribe() as late:
        assert await late.next() is None
