"""Figures of a run, their medians, and the table that is printed."""

import statistics

from msgspec import Struct


class Figures(Struct):
    """One run. Times in milliseconds, CPU in microseconds a message, memory in MB."""

    accepted: float  # a second; so are those delivered
    delivered: float | None = None
    p50: float | None = None  # from POST to final dot
    p99: float | None = None
    cpu: float | None = None  # of all processes of the peer
    rss: float | None = None  # the sum of their peaks


HEAD = ("accepted/s", "delivered/s", "p50 ms", "p99 ms", "CPU µs/message", "peak RSS MB")


def median(runs):
    columns = zip(*map(_values, runs), strict=True)
    return Figures(*(None if None in each else statistics.median(each) for each in columns))


def _values(figures):
    return [getattr(figures, name) for name in Figures.__struct_fields__]


def table(first, rows, *, base=None):
    """
    Markdown; `rows` are pairs of a name and Figures, or a sentence on why there are none.
    Each figure is followed by its ratio to that of `base`.
    """
    lines = [f"| {first} | {' | '.join(HEAD)} |", "|---" * (len(HEAD) + 1) + "|"]
    for name, figures in rows:
        if isinstance(figures, str):
            cells = [figures, *[""] * (len(HEAD) - 1)]
        else:
            against = _values(base) if base and figures is not base else [None] * len(HEAD)
            pairs = zip(_values(figures), against, strict=True)
            cells = [_cell(*pair) for pair in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value, base):
    if value is None:
        return "-"
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return shown if not base else f"{shown} ({value / base:.2g}x)"


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
