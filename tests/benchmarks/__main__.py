"""
What notifier does in a second, what a message costs, and how that compares.

    python -m tests.benchmarks                 notifier alone: full load, batches, half load
    python -m tests.benchmarks --peers         beside what people would use instead
    python -m tests.benchmarks --scale         a million waiting, 10 MB, pruning, 5,000 readers
    python -m tests.benchmarks --round-trips   a relay that is 50 ms away
    python -m tests.benchmarks --replicas      one, two and three replicas on PostgreSQL
    python -m tests.benchmarks --stalls        what requests made to be heavy do to a server
    python -m tests.benchmarks --callbacks     callbacks a second, and beside one that hangs
    python -m tests.benchmarks --costs         where the microseconds of a message go

Everything is started here on loopback, as processes of its own, and ended again. A peer that is
not installed is named as missing: `pip install -e '.[benchmarks]'`, and Debian's `redis-server`
and `postfix`.
"""

import argparse
import os
import sys

from tests.benchmarks import comparison, replicas
from tests.benchmarks.callbacks import callbacks
from tests.benchmarks.costs import costs
from tests.benchmarks.readers import idle_readers
from tests.benchmarks.round_trips import round_trips
from tests.benchmarks.scale import waiting
from tests.benchmarks.stalls import large_messages, pruning, stalls

SCALE = {
    "waiting": waiting,
    "large": large_messages,
    "pruning": pruning,
    "readers": idle_readers,
}


def parsed():
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=20_000, help="messages a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=comparison.NAMES,
        help="all of them, or those named",
    )
    parser.add_argument(
        "--scale", nargs="*", choices=SCALE, help="all of it, or the parts that are named"
    )
    parser.add_argument("--round-trips", action="store_true")
    parser.add_argument("--stalls", action="store_true")
    parser.add_argument("--callbacks", action="store_true")
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--replicas", action="store_true")
    return parser.parse_args()


def main():
    arguments = parsed()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores for all of it;", end=" ")
    print(f"medians of {arguments.runs} runs where there are several\n", flush=True)
    load = {"count": arguments.count, "runs": arguments.runs}
    if arguments.peers is not None:
        comparison.peers(arguments.peers or comparison.NAMES, **load)
    elif arguments.scale is not None:
        for name in arguments.scale or SCALE:
            SCALE[name]()
    elif arguments.replicas:
        replicas.compare(**load)
    elif arguments.round_trips:
        round_trips()
    elif arguments.stalls:
        stalls()
    elif arguments.callbacks:
        callbacks()
    elif arguments.costs:
        costs(arguments.count)
    else:
        comparison.alone(**load)


if __name__ == "__main__":
    main()
