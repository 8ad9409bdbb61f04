"""A command of the operator's that prints a token."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from notifier.oauth.answers import LARGEST_ANSWER, Fetched, of_a_program
from notifier.tokens import UNAVAILABLE, NoToken


async def run(command: Sequence[str], *, seconds: float) -> Fetched:
    """
    What it prints; its standard error goes where ours goes. With it end the processes that it
    has started. Raises NoToken.
    """
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LARGEST_ANSWER,
        )
    except OSError as error:
        raise NoToken(UNAVAILABLE, f"{name} cannot be run: {error.strerror}") from None
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        async with asyncio.timeout(seconds):
            printed = await process.stdout.read(LARGEST_ANSWER)
            code = await process.wait()
    except TimeoutError:
        raise NoToken(UNAVAILABLE, f"{name} did not end within {seconds:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code:
        raise NoToken(UNAVAILABLE, f"{name} ended with the exit code {code}")
    return of_a_program(printed, name)
