"""
What notifier does in a second, what a message costs, and how that compares.

    python -m tests.benchmarks                 notifier alone: full load, half load, 10 a second
    python -m tests.benchmarks --peers         beside what people would use instead, and the limits
    python -m tests.benchmarks --idle          at rest: memory, wake-ups, and the time to ready
    python -m tests.benchmarks --costs         where the microseconds of a message go
    python -m tests.benchmarks --scale         a million waiting, pruning, large messages, TLS, ...
    python -m tests.benchmarks --replicas      one, two and three replicas on PostgreSQL
    python -m tests.benchmarks --round-trips   a relay that is 50 ms away
    python -m tests.benchmarks --stalls        what requests made to be heavy do to a server
    python -m tests.benchmarks --callbacks     callbacks a second, and beside one that hangs
    python -m tests.benchmarks --tune-node     how many jobs side by side serve the Node stack best

Everything is started here on loopback, as processes of its own, and ended again. A peer that is
not installed is named as missing: `pip install -e '.[benchmarks]'`, and Debian's `redis-server`,
`postfix`, `nodejs` and `npm`. The Node stack's packages are fetched at its first run.

`--json FILE` keeps the tables, and each run that they were made of. `python -m
tests.benchmarks.page` puts them into a page of the guide.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.benchmarks import comparison, replicas
from tests.benchmarks.audit import audits
from tests.benchmarks.callbacks import callbacks
from tests.benchmarks.conditions import backlog, conditions, dropping
from tests.benchmarks.costs import LOADS, costs
from tests.benchmarks.idle import idle
from tests.benchmarks.large import large
from tests.benchmarks.readers import idle_readers
from tests.benchmarks.report import Report
from tests.benchmarks.round_trips import round_trips
from tests.benchmarks.scale import waiting
from tests.benchmarks.stalls import large_messages, pruning, stalls

SCALE = {
    "waiting": waiting,
    "conditions": conditions,
    "backlog": backlog,
    "dropping": dropping,
    "large": large_messages,
    "megabyte": large,
    "pruning": pruning,
    "readers": idle_readers,
    "audit": audits,
}
# What is measured unless it is asked for with options of its own.
PLAIN = {
    "replicas": replicas.compare,
    "round_trips": round_trips,
    "stalls": stalls,
    "callbacks": callbacks,
    "tune_node": comparison.tune_node,
}


def parsed():
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=20_000, help="messages a run")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--json", type=Path, help="where to keep what was found")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--peers", nargs="*", choices=comparison.NAMES, help="all of them, or those named"
    )
    what.add_argument("--idle", action="store_true")
    parser.add_argument("--against", metavar="REF", help="--idle: also start this version of git")
    what.add_argument("--costs", nargs="*", choices=LOADS, help="at all loads, or those named")
    what.add_argument(
        "--scale", nargs="*", choices=SCALE, help="all of it, or the parts that are named"
    )
    for name in PLAIN:
        what.add_argument(
            f"--{name.replace('_', '-')}", dest="plain", action="store_const", const=name
        )
    return parser.parse_args()


def main():
    arguments = parsed()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores for all of it;", end=" ")
    print(f"median (least-most) of {arguments.rounds} rounds where there are several", flush=True)
    report = Report(" ".join(sys.argv[1:]))
    measure(arguments, report)
    if arguments.json:
        report.write(arguments.json)


def measure(arguments, report):
    load = {"count": arguments.count, "rounds": arguments.rounds}
    if arguments.peers is not None:
        comparison.compare(report, arguments.peers or comparison.NAMES, **load)
    elif arguments.idle:
        idle(report, against=arguments.against, rounds=arguments.rounds)
    elif arguments.costs is not None:
        costs(report, arguments.costs or LOADS, arguments.count)
    elif arguments.scale is not None:
        for name in arguments.scale or SCALE:
            SCALE[name](report, **load)
    elif arguments.plain:
        PLAIN[arguments.plain](report, **load)
    else:
        comparison.compare(report, comparison.ALONE, **load)


if __name__ == "__main__":
    main()
