"""
How much leaves towards a relay that is far away.

A message costs one round trip where the relay takes pipelined commands: its content leaves in one
write with MAIL, RCPT and DATA of the next message. So `connections / round trip` messages leave a
second, until the processor is what limits.
"""

import tempfile
from pathlib import Path

from tests.benchmarks.figures import percentile
from tests.benchmarks.load import Sink, client, times_of, warm_up
from tests.benchmarks.peers import NotifierBatch
from tests.benchmarks.processes import ROOT, until

ROUND_TRIP = 0.050  # seconds to the relay and back
TRIPS = 1  # a message
CONNECTIONS = (1, 4, 8, 16, 32, 64)
SECONDS = 5  # of each run, as computed
MOST = 10_000  # messages a run


def round_trips(report, connections=CONNECTIONS, **_):
    report.table("connections", "limit/s", "delivered/s", "share of the limit", "CPU µs/message")
    for each in connections:
        computed = each / (TRIPS * ROUND_TRIP)
        delivered, cpu = _delivered(each, min(MOST, round(computed * SECONDS / 100 + 1) * 100))
        share = delivered / computed
        report.row(each, f"{computed:,.0f}", f"{delivered:,.0f}", f"{share:.0%}", f"{cpu:.0f}")


def _delivered(connections, count):
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
        Sink("--delay", str(ROUND_TRIP * 1000)) as sink,
    ):
        relay = f"smtp://127.0.0.1:{sink.port}?connections={connections}"
        relay += "&messages_per_connection=100000"
        with NotifierBatch(
            Path(name), sink, workers=3 * connections, queue_size=4 * connections, relays=relay
        ) as server:
            warm_up(server, sink)  # connections are open then
            before = server.family.cpu()
            client(server, count=count)
            until(lambda: sink.has(count), server.last_output, seconds=60)
            spent = server.family.cpu() - before
            arrivals = times_of(sink, Path(name))
    # Of the middle, where all of them are at work.
    first, last = (percentile(arrivals, share) for share in (0.1, 0.9))
    return 0.8 * len(arrivals) / (last - first), spent / count * 1e6
