"""The benchmark measures what it says, and says what it could not measure."""

from tests.benchmarks import comparison
from tests.benchmarks.figures import Figures, median, table
from tests.benchmarks.load import Sink, run
from tests.benchmarks.peers import Celery, Notifier, NotifierBatch


def test_a_run_delivers_each_message_once_and_tells_what_it_cost():
    """A real server, client and sink: every figure of the table comes out of one run."""
    with Sink() as sink:
        single = run(Notifier, sink, count=100)
        batch = run(NotifierBatch, sink, count=200)
    for figures in (single, batch):
        assert figures.accepted > 0 < figures.delivered
        assert 0 < figures.p50 <= figures.p99
        assert figures.cpu > 0 < figures.rss


def test_a_peer_that_is_not_installed_is_named(monkeypatch, capsys):
    """The row of a peer without Redis says that Redis is missing."""
    monkeypatch.setattr(Celery, "needs", ("no_such_package",))
    monkeypatch.setattr("shutil.which", lambda name: None)
    comparison.peers(["celery"], count=100, runs=1)
    told = capsys.readouterr().out
    assert f"| {Celery.name} | not installed: no_such_package, redis-server |" in told


def test_ratios_are_those_to_the_first():
    """Medians column by column; each with its ratio to the base."""
    base = median([Figures(100.0, 50.0), Figures(300.0, 10.0), Figures(200.0, 30.0)])
    assert base == Figures(200.0, 30.0)
    printed = table("peer", [("ours", base), ("theirs", Figures(400.0, 15.0))], base=base)
    assert "| theirs | 400 (2x) | 15.0 (0.5x) | - |" in printed
