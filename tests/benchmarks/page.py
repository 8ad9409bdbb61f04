"""
Puts the tables of benchmarks into the pages of the guide, each in place of the table there that
has the same head.

    python -m tests.benchmarks.page peers.json idle.json

A table that no page has is printed.
"""

import argparse
import json
from pathlib import Path

from tests.benchmarks.processes import ROOT

GUIDE = ROOT / "notifier" / "guide"


def renewed(text, tables):
    """The page with these tables in it, and those for which it has no place."""
    lines, left = text.splitlines(), []
    for table in tables:
        if table["head"] not in lines:
            left.append(table)
            continue
        begin = lines.index(table["head"]) + 2  # behind the rule below the head
        end = begin
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        lines[begin:end] = table["rows"]
    return "\n".join(lines) + "\n", left


def main(arguments):
    tables = [table for path in arguments.found for table in json.loads(path.read_text())["tables"]]
    for path in sorted(GUIDE.glob("*.md")):
        text, tables = renewed(path.read_text(), tables)
        path.write_text(text)
    for table in tables:
        columns = table["head"].count("|") - 1
        print("\n".join(["", table["head"], "|---" * columns + "|", *table["rows"]]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("found", type=Path, nargs="+", help="what `--json` has written")
    main(parser.parse_args())
