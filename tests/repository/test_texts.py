"""The texts for callers, operators and developers avoid constructions that nobody can read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

PACKAGE = ROOT / "notifier"
# Each stands for a noun or a verb that the sentence should have instead.
RIDDLES = re.compile(
    r"\b[Ww]ho(so)?ever\b|\bnone that\b|(?<!there )\b(is|are|be) none\b|\b(has|have) it that\b"
    r"|\bcall(s|ed|ing)? off\b"
)


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module, docstrings included, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(path.read_text().splitlines(), 1)


def test_no_text_is_a_riddle():
    """Errors, docstrings, pages, scripts and the guide say who does what."""
    texts = [(path, _strings(path)) for path in PACKAGE.rglob("*.py")]
    static = PACKAGE / "web" / "ui"
    pages = [*static.glob("pages/*.html"), *static.glob("static/js/*.js")]
    alerts = PACKAGE / "metrics" / "alerts.yaml"
    prose = [ROOT / "README.md", alerts, *(PACKAGE / "guide").glob("*.md"), *pages]
    texts += [(path, _lines(path)) for path in prose]
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {text[max(0, found.start() - 30) : found.end() + 30]}"
        for path, found_in in texts
        for line, text in found_in
        if (found := RIDDLES.search(text))
    ]
    assert not offenders, "\n".join(sorted(offenders))
