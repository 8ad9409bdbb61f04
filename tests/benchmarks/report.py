"""
What a benchmark found: tables in Markdown, which are printed row by row as they come, and the same
with each single run as JSON.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime

from msgspec import to_builtins

from tests.benchmarks.processes import ROOT


class Report:
    """The tables of one call, and the runs that they were made of."""

    def __init__(self, what):
        self.what = what
        self.tables = []
        self.runs = {}

    def table(self, *head):
        """Begin a table. `row` adds to it."""
        self.tables.append({"head": _line(head), "rows": []})
        print(f"\n{_line(head)}\n{'|---' * len(head)}|", flush=True)

    def row(self, *cells):
        line = _line(cells)
        self.tables[-1]["rows"].append(line)
        print(line, flush=True)

    def write(self, path):
        """All of it as JSON."""
        found = {
            "what": self.what,
            "machine": machine(),
            "tables": self.tables,
            "runs": to_builtins(self.runs),
        }
        path.write_text(json.dumps(found, indent=1) + "\n")


def machine():
    """On what, with what, and what was measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return {
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": commit.stdout.strip(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg()[0],
    }


def _line(cells):
    return f"| {' | '.join(map(str, cells))} |"
