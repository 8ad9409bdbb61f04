"""notifier beside what people would use instead: same client, same sink, same cores, one run."""

from tests.benchmarks import postfix
from tests.benchmarks.figures import median, table
from tests.benchmarks.load import Sink, run
from tests.benchmarks.peers import Bare, Celery, CeleryReuse, Notifier, NotifierBatch, Saq

HALF_SECONDS = 8  # at half load
NAMES = {
    "notifier": Notifier,
    "batch": NotifierBatch,
    "celery": Celery,
    "celery-reuse": CeleryReuse,
    "saq": Saq,
    "postfix": postfix.Postfix,
    "limits": Bare,
}
BARS = (  # of delivered/s: whose, how many times whose
    (Notifier, 12, Celery),
    (Notifier, 5, postfix.Postfix),
    (NotifierBatch, 25, Celery),
)


def alone(*, count, runs):
    """Notifier by itself: full load by single posts and by batch, then half load."""
    rows = compare((Notifier, NotifierBatch), count=count, runs=runs)
    print(table("load", [*rows.items(), half(rows[Notifier.name].delivered)]))


def half(delivered):
    """At half of what was reached, where the time to the final dot tells how long one takes."""
    rate = int(delivered / 2)
    with Sink() as sink:
        return f"notifier, half load: {rate}/s", run(
            Notifier, sink, count=rate * HALF_SECONDS, rate=rate
        )


def peers(names, *, count, runs):
    """All of them in turns, so that what else the machine does meets each alike."""
    chosen = [NAMES[name] for name in names]
    rows = compare(chosen, count=count, runs=runs)
    if Bare in chosen:
        limits = [postfix.limit(count) for _ in range(runs)]
        missing = [each for each in limits if isinstance(each, str)]
        rows["limit: smtp-source to smtp-sink"] = missing[0] if missing else median(limits)
    base = rows.get(Notifier.name)
    print(table("peer", [*rows.items()], base=base))
    for ours, times, theirs in BARS:
        pair = [rows.get(each.name) for each in (ours, theirs)]
        if not any(each is None or isinstance(each, str) for each in pair):
            ratio = pair[0].delivered / pair[1].delivered
            print(f"\n{ours.name}: {ratio:.1f} times {theirs.name} (bar: {times})", end="")
    print()


def compare(classes, *, count, runs):
    """The medians by name, or why there are none."""
    rows = {each.name: f"not installed: {each.missing()}" for each in classes}
    there = [each for each in classes if not each.missing()]
    results = {each: [] for each in there}
    for _ in range(runs):
        for each in there:
            with Sink() as sink:
                results[each].append(run(each, sink, count=round(count * each.share / 100) * 100))
    return rows | {each.name: median(figures) for each, figures in results.items()}
