"""One token for all: fetched before it ends, one request at a time, and nobody waits in vain."""

import asyncio
import contextlib

import pytest

from notifier.oauth import refreshing
from notifier.oauth.answers import Fetched
from notifier.oauth.refreshing import Refreshed
from notifier.oauth.sections import Kind, Section
from notifier.supervisor import Supervisor
from notifier.tokens import UNAVAILABLE, NoToken
from tests.waiting import until

GRANT = Section(name="m365", kind=Kind.SECRET, token_url="https://login.example/token")
DOWN = NoToken(UNAVAILABLE, "it is down")


class Issuer:
    """Issues token-1, token-2 ... for so many seconds; it can hold them back, or fail."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self.failing = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, grant):
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.open.wait()
            if self.failing is not None:
                raise self.failing
            return Fetched(f"token-{self.asked}", self.seconds)
        finally:
            self.at_once -= 1


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def refreshed(issuer, **options):
    supervisor = Supervisor()
    async with Refreshed(GRANT, supervisor=supervisor, fetch=issuer, **options) as tokens:
        yield tokens
    await supervisor.close()


async def test_connections_share_one_request_for_a_token():
    """All connections of all relays that wait for a token get it from one request."""
    issuer = Issuer(3600)
    issuer.open.clear()
    async with refreshed(issuer) as tokens:
        asking = [asyncio.create_task(tokens.get()) for _ in range(20)]
        await until(lambda: issuer.asked)
        issuer.open.set()
        assert {token.value for token in await asyncio.gather(*asking)} == {"token-1"}
    assert (issuer.asked, issuer.most_at_once) == (1, 1)


async def test_a_token_is_renewed_before_it_ends():
    """While the next one is under way, the one that is good is used."""
    issuer, clock = Issuer(120.0), Clock()
    async with refreshed(issuer, clock=clock) as tokens:
        first = await tokens.get()
        issuer.open.clear()
        clock.now += 61  # less than a minute is left
        tokens._wanted.set()  # as the timer would
        await until(lambda: issuer.asked == 2)
        async with asyncio.timeout(1):
            assert await tokens.get() is first
        issuer.open.set()
        await until(lambda: tokens.state().good_until != first.good_until)
        assert (await tokens.get()).value == "token-2"


@pytest.mark.parametrize(("seconds", "before"), [(3600.0, 60.0), (40.0, 20.0)])
async def test_it_is_due_a_minute_before_it_ends(seconds, before):
    """Or after half of its life, where that is short."""
    clock = Clock()
    async with refreshed(Issuer(seconds), clock=clock) as tokens:
        await tokens.get()
        assert tokens._due == clock.now + seconds - before


async def test_a_token_is_not_renewed_too_early():
    """By its own timer: half of the life of a short one has to go by."""
    issuer = Issuer(0.4)
    async with refreshed(issuer) as tokens:
        seen = {(await tokens.get()).value}
        await until(lambda: issuer.asked >= 3)
        seen.add((await tokens.get()).value)
        assert issuer.most_at_once == 1
    assert len(seen) == 2


async def test_while_there_is_trouble_a_token_that_is_good_is_used():
    """The trouble is seen early, and is nobody's yet."""
    issuer, clock = Issuer(3600.0), Clock()
    async with refreshed(issuer, clock=clock) as tokens:
        first = await tokens.get()
        issuer.failing = DOWN
        clock.now += 3550
        tokens._wanted.set()
        await until(lambda: tokens.state().trouble)
        assert await tokens.get() is first
        assert tokens.state().failing_since is not None
        clock.now += 50  # now it has ended
        with pytest.raises(NoToken, match="it is down"):
            await tokens.get()
        assert tokens.state().good_until is None


async def test_a_token_after_a_failure_is_logged_once():
    """The log says so once, and only after a failure."""
    issuer, told = Issuer(3600), []
    issuer.failing = DOWN
    async with refreshed(issuer) as tokens:
        tokens.listen(lambda: told.append("ended"))
        with pytest.raises(NoToken):
            await tokens.get()
        issuer.failing = None
        assert await tokens.get()
        assert told == ["ended"]
        assert tokens.state().trouble == ""
        await tokens.renew(await tokens.get())
        assert told == ["ended"]


async def test_a_message_does_not_wait_for_long(monkeypatch):
    """Another relay may take it. When the token comes after all, the log says so."""
    monkeypatch.setattr(refreshing, "WAIT_SECONDS", 0.05)
    issuer, told = Issuer(3600), []
    issuer.open.clear()
    async with refreshed(issuer) as tokens:
        tokens.listen(lambda: told.append("ended"))
        with pytest.raises(NoToken, match="has not answered within") as raised:
            await tokens.get()
        assert raised.value.name == UNAVAILABLE
        issuer.open.set()
        await until(lambda: told)
        assert (await tokens.get()).value == "token-1"


async def test_a_refused_token_is_replaced_once_for_all():
    """Three connections that are refused together cost one request."""
    issuer = Issuer(3600)
    async with refreshed(issuer) as tokens:
        first = await tokens.get()
        renewed = await asyncio.gather(*(tokens.renew(first) for _ in range(3)))
        assert {token.value for token in renewed} == {"token-2"}
        assert (await tokens.renew(first)).value == "token-2"
        issuer.failing = DOWN
        with pytest.raises(NoToken):
            await tokens.renew(await tokens.get())
        assert (await tokens.get()).value == "token-2"  # somebody else may take it


async def test_waiting_callers_survive_a_death_of_the_task():
    """The supervisor starts it again, and the wait goes on."""
    issuer = Issuer(3600)
    issuer.failing = RuntimeError("a bug")
    async with refreshed(issuer) as tokens:
        asking = asyncio.create_task(tokens.get())
        await until(lambda: issuer.asked)
        issuer.failing = None
        assert (await asking).value == "token-2"


async def test_no_secret_is_in_a_repr():
    """As a traceback or a log would show it."""
    async with refreshed(Issuer(3600)) as tokens:
        assert "token-1" not in repr(await tokens.get())
    assert "abc" not in repr(Fetched("abc", 3))
