"""Figures of a run, and how those of several runs are shown."""

import statistics

from msgspec import Struct


class Figures(Struct):
    """One run. Times in ms, CPU in µs a message, memory in MB, what is written in kB a message."""

    accepted: float | None = None  # a second; so are those delivered
    delivered: float | None = None
    p50: float | None = None  # from POST to final dot
    p99: float | None = None
    cpu: float | None = None  # of all processes of the peer
    rss: float | None = None  # the sum of their peaks
    written: float | None = None  # by them to disk, as the system counts pages


HEAD = (
    "accepted/s", "delivered/s", "p50 ms", "p99 ms", "CPU µs/message", "peak RSS MB",
    "disk kB/message",
)  # fmt: skip


def median(runs):
    """Figure by figure."""
    columns = zip(*map(_values, runs), strict=True)
    return Figures(*(None if None in each else statistics.median(each) for each in columns))


def cells(runs):
    """A cell for each figure of these runs: the median, and the spread where there are several."""
    return [
        "-" if None in column else spread(column)
        for column in zip(*map(_values, runs), strict=True)
    ]


def spread(values):
    """`median (least-most)` of several, else the value."""
    middle = shown(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({shown(min(values))}-{shown(max(values))})"


def shown(value):
    """With as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _values(figures):
    return [getattr(figures, name) for name in Figures.__struct_fields__]
