"""Short runs of what `python -m tests.torture --fuzz` and `--conversations` do at length."""

from tests.torture.callbacks import repeat
from tests.torture.conversations import converse
from tests.torture.fuzz import fuzz, requests


async def test_no_request_mail_or_reply_breaks_anything():
    """Random requests over HTTP get no 500, random mails no second header, replies no limit."""
    assert await fuzz(200, seed=6) == []


async def test_the_fuzzing_gets_somewhere():
    """Not all of it is refused at the first look: some are taken, some refused for their values."""
    statuses, _ = await requests(200, seed=7)
    assert statuses[202] > 5
    assert statuses[422] > 50


async def test_each_possible_copy_is_flagged():
    """Two relays, one of them odd: who was accepted has it once, or the record says why not."""
    assert await converse(150, seed=8) == []


async def test_f49_no_death_loses_a_callback():
    """Killed while it tells an unsteady application: each end is told, each event under one id."""
    assert await repeat(1, seed=9) == []
