"""Waiting for what must happen: until a condition holds, never for a fixed time."""

import asyncio
import inspect

LIMIT = 30.0  # seconds for what must happen. Speed is no concern of the tests that wait.


async def until(condition, *, seconds=LIMIT):
    """What the condition, plain or awaited, returns once that is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return holds
            await asyncio.sleep(0.005)
