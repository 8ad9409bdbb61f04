"""
What notifier does in a second, what a message costs, and how that compares.

    python -m tests.benchmarks                 notifier alone: full load, batches, half load
    python -m tests.benchmarks --peers         beside what people would use instead

Everything is started here on loopback, as processes of its own, and ended again. A peer that is
not installed is named as missing: `pip install -e '.[benchmarks]'`, and Debian's `redis-server`
and `postfix`.
"""

import argparse
import os
import sys

from tests.benchmarks import comparison


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
    return parser.parse_args()


def main():
    arguments = parsed()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores for all of it;", end=" ")
    print(f"medians of {arguments.runs} runs\n", flush=True)
    load = {"count": arguments.count, "runs": arguments.runs}
    if arguments.peers is not None:
        comparison.peers(arguments.peers or comparison.NAMES, **load)
    else:
        comparison.alone(**load)


if __name__ == "__main__":
    main()
