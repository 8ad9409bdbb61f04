"""Runs a command of the operator's that prints a token."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence

from notifier.oauth.answers import LARGEST_ANSWER, Fetched, of_a_program
from notifier.tokens import UNAVAILABLE, NoToken


async def run(command: Sequence[str], *, seconds: float) -> Fetched:
    """
    The token that the command prints. Its standard error goes where the service's goes. If it does
    not end in time it is killed, together with the processes that it has started. Raises NoToken.
    """
    name = command[0]
    reading, writing = os.pipe()  # it holds as much as a token may have
    try:
        process = await _started(command, writing)
        code = await _ended(process, seconds)
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):  # somebody may still write, who was not asked
            printed = os.read(reading, LARGEST_ANSWER)
            if code == 0:
                return of_a_program(printed, name)
    finally:
        os.close(reading)
    if code is None:
        raise NoToken(UNAVAILABLE, f"{name} did not end within {seconds:g} s")
    raise NoToken(UNAVAILABLE, f"{name} printed no token and ended with the exit code {code}")


async def _started(command: Sequence[str], writing: int) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=writing, start_new_session=True
        )
    except OSError as error:
        raise NoToken(UNAVAILABLE, f"{command[0]} cannot be run: {error.strerror}") from None
    finally:
        os.close(writing)


async def _ended(process: Process, seconds: float) -> int | None:
    """Its exit code. None: it was killed."""
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
