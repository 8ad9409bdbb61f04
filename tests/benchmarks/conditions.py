"""The same load with TLS, many recipients, large messages, a backlog, or pruning beside it."""

import asyncio
import contextlib
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from msgspec import Struct
from msgspec.structs import replace

from notifier.deliveries import Status
from notifier.intake.admission import Admission
from notifier.intake.submission import new_id
from notifier.journal import Entry, journal_at
from notifier.messages import Email
from notifier.settings import Settings
from tests.benchmarks.client import BODY
from tests.benchmarks.figures import HEAD, cells
from tests.benchmarks.load import Sink, client, measured, run, warm_up
from tests.benchmarks.peers import Notifier, NotifierBatch
from tests.benchmarks.processes import PYTHON, ROOT

RECIPIENTS = 50
LARGE_BYTES = 1_000_000  # of a body
LARGE_RATE = 100  # such messages a second
LARGE_SECONDS = 5
BACKLOGS = (0, 10_000, 100_000, 1_000_000)
PRUNED = 200_000
PORTION = 1_000
PRUNED_RATE = 1_000  # messages a second that are posted meanwhile
PRUNED_SECONDS = 10
# A server that looks for what is old every second, not every minute.
PRUNING = (
    "from notifier.housekeeping import pruning; pruning.PRUNE_SECONDS = 1.0;"
    " from notifier.__main__ import main; main()"
)


class TlsSink(Sink):
    """A relay that speaks TLS from the start."""

    scheme = "smtps"

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-tls-")))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        issued = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
        issued.write_to_path(folder / "relay.pem")
        self.options = ("--tls", str(folder / "relay.pem"))
        self.parameters = f"{Sink.parameters}&ca={folder / 'ca.pem'}"
        return super().__enter__()

    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.stack.close()


class ManyConnections(TlsSink):
    """It is connected to anew after 100 messages, as by default."""

    def __enter__(self):
        super().__enter__()
        self.parameters = self.parameters.replace("connection=1000", "connection=100")
        return self


class ManyRecipients(Notifier):
    name = f"{RECIPIENTS} recipients each"
    share = 0.1
    body = BODY.replace(
        '["nNUMBER@example.org"]',
        json.dumps(
            [f"r{each}@example.org" for each in range(RECIPIENTS - 1)] + ["nNUMBER@example.org"]
        ),
    )


class Large(Notifier):
    name = f"messages of {LARGE_BYTES / 1e6:.0f} MB at {LARGE_RATE} a second"
    body = BODY.removesuffix("}") + ', "attachments": [{"filename": "a.bin", "content": "%s"}]}' % (
        "QUJD" * (LARGE_BYTES // 4)
    )


class Condition(Struct):
    """A load, and the relay that it goes to."""

    name: str
    kind: type
    sink: type = Sink
    rate: float | None = None
    seconds: int = 0

    def count(self, count):
        return self.rate * self.seconds if self.rate else int(count * self.kind.share)


CONDITIONS = (
    Condition("single posts", Notifier),
    Condition("over TLS to the relay", Notifier, TlsSink),
    Condition("over TLS, 100 messages a connection", Notifier, ManyConnections),
    Condition(ManyRecipients.name, ManyRecipients),
    Condition(Large.name, Large, rate=LARGE_RATE, seconds=LARGE_SECONDS),
)


def conditions(report, *, count, rounds):
    """In turns."""
    found = {each.name: [] for each in CONDITIONS}
    for _ in range(rounds):
        for each in CONDITIONS:
            with each.sink() as sink:
                figures = run(each.kind, sink, count=each.count(count), rate=each.rate)
            found[each.name].append(figures)
    _print(report, "condition", found)


def backlog(report, *, count, rounds):
    """Single posts, accepted and delivered, while so many others wait for tomorrow."""
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
        Sink() as sink,
        NotifierBatch(Path(name), sink, max_backlog=2_000_000) as server,
    ):
        waits = _tomorrow()
        singly = {"path": Notifier.path, "batch": 0, "body": ""}
        together = {"path": NotifierBatch.path, "batch": NotifierBatch.batch, "body": waits}
        there, first = 0, 50_000_000
        warm_up(server, sink)
        for size in BACKLOGS:
            vars(server).update(together)
            while there < size:
                portion = min(size - there, 100_000)
                client(server, count=portion, first=there)
                there += portion
            vars(server).update(singly)
            runs = found[f"{size:,}"] = []
            for _ in range(rounds):
                runs.append(measured(server, sink, count=count, first=first))
                first += count
    _print(report, "waiting", found)


def _tomorrow():
    later = datetime.now(UTC) + timedelta(days=1)
    return BODY.removesuffix("}") + f', "send_at": "{later.isoformat()}"}}'


class Pruning(Notifier):
    """Begins with a journal in which many messages are past their retention."""

    old = PRUNED

    def start(self):
        asyncio.run(_filled(self.folder / "data", self.old))
        self.run(PYTHON, "-c", PRUNING, "serve", env=self.environment)


class NothingOld(Pruning):
    old = 0


def dropping(report, *, count, rounds):
    """Posts at a rate, without and with old messages to be deleted meanwhile."""
    kinds = {"nothing to delete": NothingOld, f"{PRUNED:,} old messages are deleted": Pruning}
    found = {name: [] for name in kinds}
    posted = PRUNED_RATE * PRUNED_SECONDS
    for _ in range(rounds):
        for name, kind in kinds.items():
            with Sink() as sink:
                found[name].append(run(kind, sink, count=posted, rate=PRUNED_RATE))
    _print(report, f"{PRUNED_RATE:,} posts a second, while", found)


async def _filled(folder, count):
    """A journal with so many messages that were sent long ago."""
    folder.mkdir()
    settings = Settings(data_dir=str(folder))
    journal = journal_at(settings.journal, data_dir=folder)
    await journal.open()
    try:
        now = datetime.now(UTC)
        past = now - timedelta(seconds=settings.retention + 1)
        admission = Admission(settings, templates=None, carriers=None)
        email = Email(sender="us@example.org", to=("ann@example.org",), subject="S", text="Hello.")
        entry = admission.admit(email, id=new_id(now), key=None, now=now)
        sent = replace(entry.delivery, status=Status.SENT, created_at=past, finished_at=past)
        for _ in range(0, count, PORTION):
            await journal.add(
                [Entry(replace(sent, id=new_id(past)), entry.content) for _ in range(PORTION)]
            )
    finally:
        await journal.close()


def _print(report, first, found):
    report.runs |= found
    report.table(first, *HEAD)
    for name, runs in found.items():
        report.row(name, *cells(runs))
