"""Nothing that a request brings holds the loop for long, or takes memory out of proportion."""

import pytest

from tests.heavy_requests import (
    MOST_HELD,
    MOST_MEMORY,
    MOST_TOGETHER,
    SCENES,
    UNANSWERED,
    measured,
)


@pytest.mark.alone
@pytest.mark.timeout(1200)
async def test_no_request_holds_the_loop_or_fills_the_memory(tmp_path):
    """
    The loop is held for 0.25 s at most, by its own work or by a thread that does not let go, and
    120 MB are taken at most, by a server that may have 512 MB in all. It answers each; eight
    of the largest at a time take 300 MB at most.
    """
    bad = []
    async for name, held, memory, answers in measured(tmp_path):
        most = MOST_TOGETHER if name in SCENES else MOST_MEMORY
        if not (held <= MOST_HELD and memory <= most) or UNANSWERED & {*(answers or ())}:
            bad.append(f"{name}: {held * 1000:.0f} ms, {memory:.0f} MB, {answers}")
    assert not bad, "\n".join(bad)
