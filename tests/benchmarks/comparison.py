"""
notifier beside what people would use instead: same client, same sink, same cores, one run.

A round measures each once, one after another, so that what else the machine does meets each alike.
Ratios are taken round by round.
"""

import sys
from functools import partial

from msgspec import Struct

from tests.benchmarks import limits
from tests.benchmarks.capabilities import Keyed, WithCallbacks
from tests.benchmarks.figures import HEAD, cells, median, shown, spread
from tests.benchmarks.load import Sink, run
from tests.benchmarks.node import Node
from tests.benchmarks.peers import Celery, CeleryReuse, Notifier, NotifierBatch, Saq
from tests.benchmarks.postfix import Postfix

HALF_SECONDS = 8  # at half load
SLOW_RATE = 10  # messages a second
SLOW_SECONDS = 20
CONCURRENCIES = (16, 32, 64, 128)


def full(kind, sink, count, _):
    """As fast as it goes; a slow peer gets fewer messages, so that its run takes no longer."""
    return run(kind, sink, count=round(count * kind.share / 100) * 100)


def half(kind, sink, _, done):
    """At half of what this round's run reached, where the time to the final dot tells most."""
    rate = int(done["notifier"].delivered / 2)
    return run(kind, sink, count=rate * HALF_SECONDS, rate=rate)


def slow(kind, sink, *_):
    """At what most services have to do all day. The CPU of being there is in it."""
    return run(kind, sink, count=SLOW_RATE * SLOW_SECONDS, rate=SLOW_RATE)


class Row(Struct):
    """What a round measures: a name for the table, how, and what this machine lacks for it."""

    name: str
    measure: object  # called with the sink, the count, and what this round has found by now
    missing: object = str


def _row(kind, measure=full, name=""):
    return Row(name or kind.name, partial(measure, kind), kind.missing)


ROWS = {
    "notifier": _row(Notifier),
    "half": _row(Notifier, half, "notifier at half load"),
    "slow": _row(Notifier, slow, f"notifier at {SLOW_RATE} a second"),
    "batch": _row(NotifierBatch),
    "keyed": _row(Keyed),
    "callbacks": _row(WithCallbacks),
    "celery": _row(Celery),
    "celery-reuse": _row(CeleryReuse),
    "saq": _row(Saq),
    "node": _row(Node),
    "postfix": _row(Postfix),
    "asgi": _row(limits.Bare),
    "asgi-half": _row(limits.Bare, half, "limit: the same at half load of notifier"),
    "sender": Row("limit: a sender alone", lambda sink, count, _: limits.sender(sink, count)),
    "journal": Row("limit: SQLite alone", lambda sink, count, _: limits.journal(sink, count)),
    "tools": Row(
        "limit: `smtp-source` to `smtp-sink`",
        lambda sink, count, _: limits.postfix_tools(sink, count),
        limits.without_postfix_tools,
    ),
}
ALONE = ("notifier", "half", "slow", "batch", "keyed", "callbacks")
NAMES = tuple(ROWS)
LIMITS = ("asgi", "sender", "journal")
HALVES = ("half", "asgi-half")  # measured at half of what the row of notifier reaches


class Bar(Struct):
    """How many times `above` is to be `below`, at least or at most."""

    above: tuple[str, str]  # a row, and one of its figures
    below: tuple[str, str]
    bar: float
    most: bool = False

    def __str__(self):
        above, below = (f"{ROWS[row].name}, {figure}" for row, figure in (self.above, self.below))
        return f"{above} / {below}"

    def ratios(self, runs):
        """Round by round; empty where one of the two was not measured."""
        pairs = zip(runs.get(self.above[0], ()), runs.get(self.below[0], ()), strict=False)
        return [getattr(a, self.above[1]) / getattr(b, self.below[1]) for a, b in pairs]


BARS = (
    Bar(("notifier", "delivered"), ("celery", "delivered"), 8),
    Bar(("notifier", "delivered"), ("node", "delivered"), 4),
    Bar(("notifier", "delivered"), ("postfix", "delivered"), 3.5),
    Bar(("batch", "delivered"), ("celery", "delivered"), 15),
    Bar(("celery", "cpu"), ("notifier", "cpu"), 12),
    Bar(("postfix", "cpu"), ("notifier", "cpu"), 5),
    Bar(("node", "cpu"), ("notifier", "cpu"), 4),
    Bar(("half", "cpu"), ("notifier", "cpu"), 1.4, most=True),
    Bar(("half", "p99"), ("half", "p50"), 2.5, most=True),
)


def compare(report, names, *, count, rounds):
    """Tables of the figures and of the bars."""
    names = [name for name in ROWS if name in names]
    if "notifier" not in names and (halves := [name for name in names if name in HALVES]):
        raise SystemExit(f"{halves[0]!r} is half of what 'notifier' reaches: name both")
    missing = {name: ROWS[name].missing() for name in names}
    report.runs = {name: [] for name in names if not missing[name]}
    for number in range(rounds):
        done = {}
        for name, runs in report.runs.items():
            with Sink() as sink:
                done[name] = ROWS[name].measure(sink, count, done)
            runs.append(done[name])
            sys.stderr.write(f"round {number + 1} of {rounds}: {name}: {done[name]}\n")
    report.table("peer", *HEAD)
    for name in names:
        found = [f"not installed: {missing[name]}", *[""] * (len(HEAD) - 1)]
        report.row(ROWS[name].name, *(found if missing[name] else cells(report.runs[name])))
    if set(LIMITS) <= set(report.runs):
        _limits(report)
    report.table("ratio", "bar", "reached")
    for bar in BARS:
        if ratios := bar.ratios(report.runs):
            report.row(bar, f"{'at most' if bar.most else 'at least'} {bar.bar}", spread(ratios))


def _limits(report):
    """What each limit costs of what a message costs, and all of them together."""
    costs = {name: median(report.runs[name]).cpu for name in LIMITS}
    report.table("limit", "CPU µs/message")
    for name, cpu in costs.items():
        report.row(ROWS[name].name, shown(cpu))
    report.row("all three", shown(sum(costs.values())))


def tune_node(report, *, count, rounds):
    """How many jobs side by side serve the Node stack best."""
    tuned = [
        type("Tuned", (Node,), {"concurrency": each, "name": str(each)}) for each in CONCURRENCIES
    ]
    report.runs = {each.name: [] for each in tuned}
    for _ in range(rounds):
        for each in tuned:
            with Sink() as sink:
                report.runs[each.name].append(full(each, sink, count, {}))
    report.table("jobs side by side", *HEAD)
    for name, runs in report.runs.items():
        report.row(name, *cells(runs))
