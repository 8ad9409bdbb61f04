"""Run the background tasks of the process, so that none dies unnoticed."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Self, TypeAlias

import structlog
from msgspec import Struct

# A task dies when it raises, or returns although its work is not over. Every task is started
# again, but for these: the process ends, with the exit code of a lost journal (74).
FATAL = frozenset(
    {
        # It is unknown whether what the task worked on was written, and its callers still wait.
        "journal-writes",
    }
)
FIRST_PAUSE = 0.5  # seconds between a death and the next start; doubled with each further death
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # a task that has run for so long begins with the first pause again

Run: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


class Returned(Exception):
    """A task has returned although its work was not over."""


class _Condition(Struct):
    """The state of a task."""

    name: str
    error: BaseException | None = None  # that it has died of, the last time
    waits: bool = False  # to be started again
    well_at: float = 0.0  # when it will have run for long enough since then


class TaskCount(Struct, frozen=True):
    """The tasks of one name."""

    running: int
    deaths: int  # since the process began


class Supervisor:
    """
    Watches every task that it starts.

    A task's death is logged with its traceback and shown by `troubles` and `counts`, and the task
    is started again after a pause that grows. The death of a task in FATAL ends `failed` instead.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._deaths: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[None], _Condition] = {}
        self._fatal: BaseException | None = None
        self._failed = asyncio.Event()

    def start(
        self,
        name: str,
        run: Run,
        *,
        over: Callable[[], bool] = lambda: False,
    ) -> "asyncio.Task[None]":
        """
        Start a task. It ends when it is cancelled, or when it returns while `over` is true. Several
        tasks may have the same name. `run` is called for each start.
        """
        self._deaths.setdefault(name, 0)
        condition = _Condition(name)
        task = asyncio.create_task(self._keep(condition, run, over), name=name)
        self._tasks[task] = condition
        task.add_done_callback(self._tasks.pop)
        return task

    @property
    def troubles(self) -> tuple[str, ...]:
        """The tasks that have died recently, with the kind of error."""
        now = self._clock()
        died = {
            f"the task {each.name} has died of {type(each.error).__name__}": None
            for each in self._tasks.values()
            if each.waits or now < each.well_at
        }
        return tuple(died)

    def counts(self) -> dict[str, TaskCount]:
        """Running tasks and deaths by name, also of tasks that have ended."""
        running = Counter(each.name for each in self._tasks.values() if not each.waits)
        return {name: TaskCount(running[name], deaths) for name, deaths in self._deaths.items()}

    async def failed(self) -> BaseException:
        """Wait until a task in FATAL has died, and return its error."""
        while self._fatal is None:
            await self._failed.wait()
        return self._fatal

    async def close(self) -> None:
        """Cancel all tasks that still run."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(
        self,
        condition: _Condition,
        run: Run,
        over: Callable[[], bool],
    ) -> None:
        name = condition.name
        pause = FIRST_PAUSE
        while True:
            begun = self._clock()
            error: BaseException = Returned("the task returned, although its work was not over")
            try:
                # A task of its own: otherwise each step of it would pass through this one.
                await asyncio.create_task(run(), name=name)
            except asyncio.CancelledError as cancelled:
                # Without a request to cancel us it came from something that the task waited for.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                error = cancelled
            except Exception as raised:  # noqa: BLE001 - whatever it is, the task is dead
                error = raised
            if isinstance(error, Returned) and over():
                return
            if self._clock() - begun >= STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._deaths[name] += 1
            log.error("task_died", task=name, reason=repr(error), exc_info=error)
            if name in FATAL:
                self._fatal = error
                self._failed.set()
            if name in FATAL or over():
                return
            condition.error, condition.waits = error, True
            await self._sleep(pause)
            condition.waits, condition.well_at = False, self._clock() + pause
            pause = min(2 * pause, LONGEST_PAUSE)


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set, or for so long; None: for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Background:
    """Something whose tasks run between entering and leaving."""

    def __init__(self, supervisor: Supervisor, tasks: Mapping[str, Run]) -> None:
        """`tasks`: by the names that the supervisor shows."""
        self._supervisor = supervisor
        self._to_run = tasks
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._running = [self._supervisor.start(name, run) for name, run in self._to_run.items()]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
