"""How far a long command is, shown on a terminal and nowhere else."""

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import click

LOOK_SECONDS = 0.2

T = TypeVar("T")


class Progress(contextlib.AbstractContextManager["Progress"]):
    """
    A progress bar on stderr, if that is a terminal; one for each step of the work. `counted`
    shows the number done as well, for work of unknown length.
    """

    def __init__(self, *, counted: bool = False) -> None:
        self._shown = sys.stderr.isatty()
        self._counted = counted
        self._doing = ""
        self._bar: Any = None
        self._bars = contextlib.ExitStack()

    def __exit__(self, error: object, *_: object) -> None:
        self._end(done=error is None)

    def __call__(self, doing: str, done: int, whole: int = 0) -> None:
        """Show that `done` of `whole` is done; `whole` 0: the length is not known."""
        if not self._shown:
            return
        if doing != self._doing:
            self._end(done=True)
            self._begin(doing, whole)
        self._bar.update(min(done, whole or done) - self._bar.pos)

    def _begin(self, doing: str, whole: int) -> None:
        self._doing = doing
        endless: Iterator[int] = itertools.count()
        self._bar = self._bars.enter_context(
            click.progressbar(
                None if whole else endless,
                whole or None,
                label=doing,
                file=sys.stderr,
                show_pos=self._counted,
            )
        )

    def _end(self, *, done: bool) -> None:
        if done and self._bar is not None and self._bar.length:  # the length was an estimate
            self._bar.update(self._bar.length - self._bar.pos)
        self._bars.close()


def with_spinner(doing: str, call: Callable[[], T]) -> T:
    """The result of a call that cannot report progress; shows that it still runs."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised to the caller
            answer.set_exception(error)

    # A daemon, so that Ctrl-C need not wait for the call.
    threading.Thread(target=run, daemon=True).start()
    with Progress() as progress:
        for look in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                return answer.result(LOOK_SECONDS)
            progress(doing, look)
    raise AssertionError
