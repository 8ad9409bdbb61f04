"""
`notifier serve`, which tells how long its loop was held and how much memory it took.

    python -m tests.watched_server PORT        the rest is `notifier serve`

A connection to PORT gets the longest hold and the peak of memory since the last one, as JSON.
Time that the machine gave to others is no hold: of a turn that came late, what the system says
that the loop's thread had to wait for a processor does not count, nor does more than the processor
time that this process used meanwhile.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path

from notifier.cli import main
from notifier.server.process import ServerProcess

TICK_SECONDS = 0.005


class Watch:
    """The longest hold of the loop, in seconds, and the peak of memory, in MB."""

    def __init__(self):
        self.longest = 0.0
        self.thread = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def waited(self):
        """Seconds for which the loop's thread could have run, and did not get a processor."""
        return int(self.thread.read_text().split()[1]) / 1e9

    async def run(self):
        while True:
            at, used, waited = time.monotonic(), time.process_time(), self.waited()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic() - at - TICK_SECONDS - (self.waited() - waited)
            self.longest = max(self.longest, min(late, time.process_time() - used))

    def measured(self):
        """What was measured since the last call."""
        lines = Path("/proc/self/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines)
        found = {"held": self.longest, "peak": int(status["VmHWM"].split()[0]) / 1024,
                "now": int(status["VmRSS"].split()[0]) / 1024}  # fmt: skip
        self.longest = 0.0
        Path("/proc/self/clear_refs").write_text("5")  # so does the peak
        return found

    async def answer(self, _reader, writer):
        writer.write(json.dumps(self.measured()).encode())
        await writer.drain()
        writer.close()


def watch(port):
    run = ServerProcess.run

    async def watched(life):
        watch = Watch()
        server = await asyncio.start_server(watch.answer, "127.0.0.1", port)
        ticking = asyncio.create_task(watch.run())
        try:
            await run(life)
        finally:
            ticking.cancel()
            server.close()

    ServerProcess.run = watched


if __name__ == "__main__":
    watch(int(sys.argv.pop(1)))
    sys.argv[:] = ["notifier", "serve"]
    main()
