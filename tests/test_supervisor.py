"""Background tasks: whichever dies is told of, and started again."""

import ast
import asyncio
import contextlib
from collections import Counter

import pytest
import structlog

from notifier.service import Notifier
from notifier.settings import Settings
from notifier.supervisor import FATAL, FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS, Supervisor
from tests.paths import PACKAGE
from tests.relay import ScriptedRelay
from tests.service import ended, submit_one
from tests.waiting import LIMIT, until
from tests.web_client import client_of

# What starts a task or a thread without the supervisor, and why it may.
ALONE = {
    ("supervisor.py", "create_task"): "the supervisor's own",
    ("service.py", "ensure_future"): "two waits: their maker waits for them",
    ("reports/imap.py", "ensure_future"): "a command, and the end of its connection: both awaited",
    (
        "submission_agent/connection.py",
        "create_task",
    ): "one mail: its connection waits for it, and answers 451 if it fails",
    ("smtp/pool.py", "create_task"): "one opening: the send waits for it",
    ("web/sse.py", "ensure_future"): "two sides of one answer, which waits for both",
    ("server/process.py", "create_task"): "the start, which the process waits for",
    # Threads. Each call into a pool's thread is awaited by the caller, who hears of a failure.
    ("threads.py", "ThreadPoolExecutor"): "heavy work",
    ("capture/mailbox.py", "ThreadPoolExecutor"): "files",
    ("journal/sqlite/thread.py", "Thread"): "its end is the journal's, and ends the process",
    ("logs/writer.py", "Thread"): "without it lines are dropped, and counted",
    ("threads.py", "Thread"): "one call, whose failure is its answer",
    ("tracing/spans.py", "Thread"): "the end of the exporter, which is waited for",
    ("cli/progress.py", "Thread"): "shows how far a command has come, and ends with it",
}
STARTERS = {
    "create_task",
    "ensure_future",
    "TaskGroup",
    "Thread",
    "Timer",
    "ThreadPoolExecutor",
    "ProcessPoolExecutor",
    "run_coroutine_threadsafe",
}


class Dead(Exception):
    """What tasks die of here."""


class Mortal(Supervisor):
    """A supervisor whose tasks die when a test says so, and rest until it lets them go on."""

    def __init__(self):
        self.resting = asyncio.Event()
        super().__init__(sleep=lambda _: self.resting.wait())
        self._ends = {}

    def start(self, name, run, **options):
        ends = self._ends.setdefault(name, [])

        async def mortal():
            end = asyncio.get_running_loop().create_future()
            ends.append(end)
            life = asyncio.ensure_future(run())
            try:
                await asyncio.wait({life, end}, return_when=asyncio.FIRST_COMPLETED)
                return (end if end.done() else life).result()
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

        return super().start(name, mortal, **options)

    def kill(self, name):
        """All tasks of a name."""
        self.resting.clear()
        for end in self._ends[name]:
            if not end.done():
                end.set_exception(Dead(name))
        self._ends[name].clear()


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


async def die(supervisor, name, client):
    """Let all tasks of a name die: what is told meanwhile is right; then they go on."""
    before = supervisor.counts()[name]
    with structlog.testing.capture_logs() as lines:
        supervisor.kill(name)
        await until(lambda: supervisor.counts()[name].running == 0)
        dead = supervisor.counts()[name].deaths - before.deaths
        answer = await client.get("/readyz")
        figures = (await client.get("/metrics")).text
    assert dead == before.running > 0
    told = [line for line in lines if line["event"] == "task_died" and line["task"] == name]
    assert len(told) == dead
    assert all(isinstance(line["exc_info"], Dead) for line in told)
    assert answer.status_code == 503
    assert f"the task {name} has died of Dead" in answer.json()["reasons"]
    assert f'notifier_task_deaths_total{{task="{name}"}} {before.deaths + dead:.1f}' in figures
    assert f'notifier_tasks_running{{task="{name}"}} 0.0' in figures
    supervisor.resting.set()
    await until(lambda: supervisor.counts()[name].running == before.running)


async def each_dies(service, supervisor):
    """Whatever runs dies once, one name after the other, and the service works on."""
    async with client_of(service) as client:
        names = [name for name in supervisor.counts() if name not in FATAL]
        for name in names:
            await die(supervisor, name, client)
            delivery = await ended(service, await submit_one(service))
            assert delivery.status == "sent", name
        return names


def settings_of(folder, relay, **changes):
    return Settings(
        data_dir=str(folder),
        relays=(relay.spec,),
        workers=4,
        grace=1.0,
        alert_url="http://127.0.0.1:9/",
        alert_to="ann@example.org",
        sms_provider="twilio://AC0123456789:secret-token@?from=+15005550006",
        **changes,
    )


async def test_each_task_that_dies_is_started_again(tmp_path, relay):
    """
    It is logged and counted, and the service is not ready. Then it runs again, and a message
    leaves.
    """
    supervisor = Mortal()
    async with Notifier(settings_of(tmp_path, relay), supervisor=supervisor) as service:
        names = await each_dies(service, supervisor)
    assert {"worker", "fill-relay", "fill-provider", "alerts-mail", "loop-lag"} <= set(names)


async def test_so_it_is_on_postgres(tmp_path, relay, postgres):
    """The tasks that a journal for several replicas has besides."""
    supervisor = Mortal()
    settings = settings_of(tmp_path, relay, journal=await postgres.database())
    async with Notifier(settings, supervisor=supervisor) as service:
        names = await each_dies(service, supervisor)
    assert "journal-lease" in names


async def test_a_task_that_must_not_start_again_ends_the_process(tmp_path, relay, postgres):
    """What a journal's writer had in hand is unknown: it is not started again."""
    supervisor = Mortal()
    settings = settings_of(tmp_path, relay, journal=await postgres.database())
    async with Notifier(settings, supervisor=supervisor) as service:
        assert set(supervisor.counts()) >= FATAL
        for name in FATAL:
            supervisor.kill(name)
        assert isinstance(await asyncio.wait_for(service.failed(), LIMIT), Dead)
        assert not any(supervisor.counts()[name].running for name in FATAL)


async def test_nothing_is_left_of_a_service_that_has_ended(tmp_path, relay):
    """Every task is over once it is closed, also those that have died before."""
    supervisor = Mortal()
    async with Notifier(settings_of(tmp_path, relay), supervisor=supervisor) as service:
        await ended(service, await submit_one(service))
        supervisor.kill("expire")
        await until(lambda: supervisor.counts()["expire"].running == 0)
    assert not any(count.running for count in supervisor.counts().values())
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stop_that_fails_ends_everything_all_the_same(tmp_path, relay):
    """The rest is closed, what runs is cancelled, and the log has the reason."""
    with structlog.testing.capture_logs() as lines:
        async with Notifier(settings_of(tmp_path, relay)) as service:

            async def stop(*, grace):
                raise Dead(f"within {grace} s")

            service.dispatcher.stop = stop
    assert [line["task"] for line in lines if line["event"] == "task_died"] == ["drain"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Time:
    """A clock that moves when somebody sleeps, and the pauses that were made."""

    def __init__(self):
        self.now = 0.0
        self.pauses = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def supervising():
    time = Time()
    supervisor = Supervisor(clock=time, sleep=time.sleep)
    yield supervisor, time
    await supervisor.close()


async def test_the_pause_grows_to_a_limit_and_begins_anew(tmp_path):
    """Who dies at once is started ever more seldom; who has run for long, soon."""
    async with supervising() as (supervisor, time):
        lives = iter([0.0] * 9 + [STEADY_SECONDS])

        async def run():
            if (life := next(lives, None)) is None:
                await asyncio.get_running_loop().create_future()
            time.now += life
            raise Dead

        supervisor.start("one", run)
        await until(lambda: len(time.pauses) == 10)
    doubled = [FIRST_PAUSE * 2**n for n in range(9)]
    assert time.pauses == [*(min(each, LONGEST_PAUSE) for each in doubled), FIRST_PAUSE]


async def test_trouble_is_over_once_a_task_has_run_as_long_as_it_paused(tmp_path):
    """So a task that dies again and again is in trouble most of the time."""
    async with supervising() as (supervisor, time):
        lives = iter([Dead()])

        async def run():
            if (error := next(lives, None)) is not None:
                raise error
            await asyncio.get_running_loop().create_future()

        supervisor.start("one", run)
        await until(lambda: supervisor.counts()["one"].deaths and time.pauses)
        await asyncio.sleep(0)  # its pause is over, too
        assert supervisor.troubles == ("the task one has died of Dead",)
        time.now += FIRST_PAUSE
        assert supervisor.troubles == ()


@pytest.mark.parametrize(("over", "deaths"), [(False, 1), (True, 0)])
async def test_to_return_is_a_death_unless_the_work_is_over(over, deaths):
    """A loop that ends by mistake is as gone as one that raises."""
    async with supervising() as (supervisor, _):
        ended = iter([True])

        async def run():
            if next(ended, None) is None:
                await asyncio.get_running_loop().create_future()

        task = supervisor.start("one", run, over=lambda: over)
        await until(lambda: task.done() or supervisor.counts()["one"].deaths)
        assert supervisor.counts()["one"].deaths == deaths
        assert task.done() == over


async def test_a_cancellation_from_below_is_a_death():
    """A task that ends because another one was cancelled was not asked to end."""
    async with supervising() as (supervisor, _):
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        waits = iter([cancelled])

        async def run():
            await next(waits, asyncio.get_running_loop().create_future())

        task = supervisor.start("one", run)
        await until(lambda: supervisor.counts()["one"].deaths == 1)
        assert not task.done()


def calls(path):
    """The names of what a module calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", ""))


def test_tasks_are_started_by_the_supervisor():
    """Whatever is started otherwise is in the list, with the reason why it may be."""
    found = Counter(
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in calls(path)
        if name in STARTERS
    )
    assert set(found) == set(ALONE)
