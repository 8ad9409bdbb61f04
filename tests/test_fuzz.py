"""A short run of the fuzzing that `python -m tests.torture --fuzz` does at length."""

from tests.torture.fuzz import fuzz, requests


async def test_no_request_mail_or_reply_breaks_anything():
    """Random requests over HTTP get no 500, random mails no second header, replies no limit."""
    assert await fuzz(500, seed=6) == []


async def test_the_fuzzing_gets_somewhere():
    """Not all of it is refused at the first look: some are taken, some refused for their values."""
    statuses, _ = await requests(200, seed=7)
    assert statuses[202] > 5
    assert statuses[422] > 50
