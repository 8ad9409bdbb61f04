"""Nothing that a request brings holds the loop for long, or takes memory out of proportion."""

import pytest


@pytest.mark.alone
@pytest.mark.timeout(1200)
async def test_no_request_holds_the_loop_or_fills_the_memory(tmp_path):
    """
    The loop is held for 0.25 s at most, by its own work or by a thread that does not let go, and
    120 MB are taken at most, by a server that may have 512 MB in all. It answers each; eight
    of the largest at a time take 300 MB at most.
    """
    # Its requests take 1.5 GB: other tests are collected without them.
    from tests import heavy_requests as heavy

    bad = []
    async for name, held, memory, answers in heavy.measured(tmp_path):
        most = heavy.MOST_TOGETHER if name in heavy.SCENES else heavy.MOST_MEMORY
        if not (held <= heavy.MOST_HELD and memory <= most) or heavy.UNANSWERED & {
            *(answers or ())
        }:
            bad.append(f"{name}: {held * 1000:.0f} ms, {memory:.0f} MB, {answers}")
    assert not bad, "\n".join(bad)
