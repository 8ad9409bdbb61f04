"""How far a long command is, for whoever waits at a terminal; nobody else is told."""

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
    A line on stderr, where that is a terminal: a bar for each thing that is done. `counted`:
    how much is done says something also where nobody knows the whole.
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
        """So much of the whole is done; 0: nobody knows how much that is."""
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
        if done and self._bar is not None and self._bar.length:  # the whole was a guess
            self._bar.update(self._bar.length - self._bar.pos)
        self._bars.close()


def shown_meanwhile(doing: str, call: Callable[[], T]) -> T:
    """What a call answers that cannot say how far it is: only that it is still under way."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised to the caller
            answer.set_exception(error)

    # Who interrupts us must not have to wait for it.
    threading.Thread(target=run, daemon=True).start()
    with Progress() as told:
        for look in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                return answer.result(LOOK_SECONDS)
            told(doing, look)
    raise AssertionError
