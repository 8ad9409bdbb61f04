"""A million records of the audit: what a page costs, alone and while all are exported."""

import asyncio
import statistics
import tempfile
import time
from datetime import timedelta

from notifier.audit import Audit, Which
from notifier.clock import utc_now
from notifier.journal import journal_at
from notifier.journal.rows import micros
from notifier.journal.statements import Statement
from tests.benchmarks.processes import ROOT
from tests.postgres import Cluster, binaries

RECORDS, PORTION = 1_000_000, 50_000
EVERY = timedelta(seconds=30)
PAGES = 50  # of each kind
FILL = """
    INSERT INTO audit (at, actor, what, subject, number, detail)
    WITH RECURSIVE numbers (i) AS (
        SELECT CAST(? AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < ?
    )
    SELECT CAST(? AS BIGINT) + i * CAST(? AS BIGINT), 'key:app' || CAST(i * 7919 % 43 AS TEXT),
        CASE i WHEN 777 THEN 'rare' ELSE 'act-' || CAST(i * 104729 % 10 AS TEXT) END,
        '0195519f3d40a1b2c3d4e5f60718293a', 1, 'status=queued,deferred tag=newsletter'
    FROM numbers
"""


def audits(*_, **__):
    """Pages by each kind of filter, on both journals."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder:
        asyncio.run(_measure("SQLite", f"sqlite:{folder}/notifier.db"))
    if binaries() is None:
        print("audit: there is no PostgreSQL here")
        return
    cluster = Cluster(durable=True)
    cluster.start()
    try:
        asyncio.run(_on(cluster))
    finally:
        cluster.remove()


async def _on(cluster):
    await _measure("PostgreSQL", await cluster.database())


async def _measure(name, url):
    journal = journal_at(url, data_dir="")
    await journal.open()
    begin = utc_now() - RECORDS * EVERY
    for first in range(0, RECORDS, PORTION):
        values = (first, first + PORTION - 1, micros(begin), EVERY // timedelta(microseconds=1))
        await journal.execute(Statement(FILL, values))
    audit = Audit(journal)
    for label, which in {
        "all": Which(),
        "by": Which(by="key:app3"),
        "what": Which(what="act-3"),
        "a rare what": Which(what="rare"),
        "since": Which(since=begin + RECORDS // 2 * EVERY),
        "by and what": Which(by="key:app3", what="act-3"),
        "by, what and since": Which(by="key:app3", what="act-3", since=begin),
        "what there is not": Which(by="key:app3", what="rare"),
    }.items():
        print(f"{name}, {label}: {_words(await _pages(audit, which, PAGES))}", flush=True)
    exporting = asyncio.create_task(_exported(audit))
    taken = []
    while not exporting.done():
        taken += await _pages(audit, Which(by="key:app3"), 1)
        await asyncio.sleep(0.05)
    count, seconds = await exporting
    print(f"{name}, export: {count:,} records in {seconds:.1f} s; a page meanwhile {_words(taken)}")
    await journal.close()


async def _pages(audit, which, count):
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await audit.page(which)
        taken.append(time.perf_counter() - begun)
    return taken


async def _exported(audit):
    begun, count = time.perf_counter(), 0
    async for records in audit.all(Which()):
        count += len(records)
    return count, time.perf_counter() - begun


def _words(seconds):
    return f"{statistics.median(seconds) * 1e3:.1f} ms, at most {max(seconds) * 1e3:.1f} ms"
