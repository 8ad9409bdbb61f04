"""The benchmark measures what it says, and says what it could not measure."""

import json

import pytest

from tests.benchmarks import client, comparison, costs, page, replicas, scale
from tests.benchmarks.capabilities import WithCallbacks
from tests.benchmarks.figures import HEAD, Figures, cells, median
from tests.benchmarks.load import Sink, run
from tests.benchmarks.peers import Celery, Notifier, NotifierBatch
from tests.benchmarks.report import Report
from tests.paths import ROOT


def test_a_run_delivers_each_message_once_and_measures_its_cost():
    """A real server, client and sink: every figure of the table comes out of one run."""
    with Sink() as sink:
        single = run(Notifier, sink, count=100)
        batch = run(NotifierBatch, sink, count=200)
        told = run(WithCallbacks, sink, count=100)
    for figures in (single, batch, told):
        assert figures.accepted > 0 < figures.delivered
        assert 0 < figures.p50 <= figures.p99
        assert figures.cpu > 0 < figures.rss


def test_a_peer_that_is_not_installed_is_named(monkeypatch, capsys):
    """The row of a peer without Redis says that Redis is missing."""
    monkeypatch.setattr(Celery, "needs", ("no_such_package",))
    monkeypatch.setattr("shutil.which", lambda name: None)
    comparison.compare(Report(""), ["celery", "node"], count=100, rounds=1)
    told = capsys.readouterr().out
    assert f"| {Celery.name} | not installed: no_such_package, redis-server |" in told
    assert f"| {comparison.Node.name} | not installed: node, npm, redis-server |" in told


def test_half_load_without_full_load_is_refused():
    """Half of what is not measured in the same round is nothing."""
    with pytest.raises(SystemExit, match="name both"):
        comparison.compare(Report(""), ["half"], count=100, rounds=1)


class Clock:
    """A time that passes only in `sleep`."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class RecordingLoop:
    """Keeps what is handed to the loop from another thread."""

    def __init__(self):
        self.told = []

    def call_soon_threadsafe(self, _, number, due):
        self.told.append((number, due))


def test_a_client_at_a_rate_sleeps_until_each_message_is_due(monkeypatch):
    """It takes no core from the server that it measures, and each message has its own time."""
    clock, loop = Clock(), RecordingLoop()
    monkeypatch.setattr(client, "time", clock)
    requests = client.Requests("http://127.0.0.1/", "NUMBER", [], batch=0)
    client.Load(requests, count=4, first=7, rate=2000).keep_pace(2000, loop)
    assert [number for number, _ in loop.told] == [7, 8, 9, 10]
    assert [due for _, due in loop.told] == pytest.approx([100.0, 100.0005, 100.001, 100.0015])
    assert clock.slept == pytest.approx([0.0, 0.0005, 0.0005, 0.0005])


def test_figures_of_rounds_are_shown_with_their_spread():
    """The median of each figure, then the least and the most; a dash where it was not measured."""
    runs = [Figures(100.0, 50.0), Figures(300.0, 10.0), Figures(200.0, 30.0)]
    assert median(runs) == Figures(200.0, 30.0)
    assert cells(runs)[:3] == ["200 (100-300)", "30.0 (10.0-50.0)", "-"]


def test_ratios_are_taken_round_by_round():
    """A machine that is slower in one round is slower for both."""
    bar = comparison.Bar(("notifier", "delivered"), ("celery", "delivered"), 8)
    runs = {
        "notifier": [Figures(delivered=800.0), Figures(delivered=400.0)],
        "celery": [Figures(delivered=100.0), Figures(delivered=50.0)],
    }
    assert bar.ratios(runs) == [8.0, 8.0]
    assert bar.ratios({"notifier": runs["notifier"]}) == []


def test_the_rows_of_a_table_take_the_place_of_those_under_the_same_head(tmp_path):
    """The text around it stays, and a table that the page does not have is handed back."""
    report = Report("--idle")
    report.table("version", "ms")
    report.row("this", 5)
    report.table("other")
    report.write(tmp_path / "found.json")
    tables = json.loads((tmp_path / "found.json").read_text())["tables"]
    text = "A.\n\n| version | ms |\n|---|---|\n| this | 9 |\n| that | 8 |\n\nB.\n"
    renewed, left = page.renewed(text, tables)
    assert renewed == "A.\n\n| version | ms |\n|---|---|\n| this | 5 |\n\nB.\n"
    assert [each["head"] for each in left] == ["| other |"]


def test_each_step_of_the_costs_is_at_a_place_that_there_is():
    """A file that was renamed would be counted as the event loop."""
    ours = [place for place in costs.STEPS if place.startswith("notifier/")]
    assert [place for place in ours if not (ROOT / place).exists()] == []


def test_the_guide_has_a_place_for_each_table():
    """A head that differs by a letter would leave old figures there."""
    heads = [(first, *HEAD) for first in ("peer", "condition", "waiting")]
    heads += [replicas.HEAD, scale.HEAD, ("ratio", "bar", "reached"), ("limit", "CPU µs/message")]
    heads.append(("step, CPU µs/message", *(load.name for load in costs.LOADS.values())))
    pages = [path.read_text() for path in page.GUIDE.glob("*.md")]
    for head in heads:
        assert any(f"\n| {' | '.join(head)} |\n|" in text for text in pages), head
