"""The folder of templates: its files, and their faults."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from jinja2 import TemplateSyntaxError, meta
from msgspec import Struct

from notifier.errors import ConfigurationError
from notifier.templates.rendering import Sandbox

LARGEST = 512 * 1024  # octets of one file

_FILE = re.compile(r"(?P<name>_?[a-z0-9][a-z0-9_-]*)(?P<part>\.subject\.txt|\.txt|\.html)")
PARTS = {".subject.txt": "subject", ".txt": "text", ".html": "html"}


class Template(Struct, frozen=True):
    """One named template: the files of its parts, and the variables that they may use."""

    name: str
    files: dict[str, str]  # by part: `subject`, `text`, `html`
    variables: tuple[str, ...]  # some of them perhaps only in one branch of an `if`


class Snapshot(Struct, frozen=True):
    """The whole folder at one moment, compiled."""

    templates: dict[str, Template]
    sandbox: Sandbox


Signature = tuple[tuple[str, int, int, int], ...]


def signature(folder: Path) -> Signature:
    """A value that changes when a file changes, appears or disappears."""
    found = []
    for path in _paths(folder):
        status = path.stat()
        found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def read(folder: Path) -> Snapshot:
    """
    The templates of a folder. Raises ConfigurationError with every fault of every file, by name and
    line.
    """
    faults: list[str] = []
    sources = dict(_sources(folder, faults))
    sandbox = Sandbox(sources)
    needs = {name: _checked(sandbox, name, sources, faults) for name in sources}
    templates = dict(_named(needs, faults))
    if faults:
        raise ConfigurationError(*(f"{folder}/{fault}" for fault in faults))
    return Snapshot(templates, sandbox)


class _Needs(Struct, frozen=True):
    """What one file uses: variables and other files."""

    variables: frozenset[str]
    files: frozenset[str]


def _paths(folder: Path) -> list[Path]:
    """The files of templates, without editors' drafts and the operator's notes."""
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix in (".txt", ".html") and path.is_file()
        )
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be read: {error.strerror}") from error


def _sources(folder: Path, faults: list[str]) -> Iterator[tuple[str, str]]:
    for path in _paths(folder):
        if not _FILE.fullmatch(path.name):
            faults.append(
                f"{path.name}: call it NAME.subject.txt, NAME.txt or NAME.html,"
                " with small letters, digits, _ and - in the name"
            )
            continue
        try:
            source = path.read_text(encoding="utf-8-sig")  # editors may begin with a mark
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{path.name}: cannot be read: {error}")
            continue
        if not source.strip() or len(source) > LARGEST:
            faults.append(f"{path.name}: is {'too large' if source.strip() else 'empty'}")
            continue
        yield path.name, source


def _checked(sandbox: Sandbox, file: str, sources: Mapping[str, str], faults: list[str]) -> _Needs:
    try:
        sandbox.get_template(file)
        tree = sandbox.parse(sources[file], file, file)
        variables = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        faults.append(f"{error.filename or file}, line {error.lineno}: {error.message}")
        return _Needs(frozenset(), frozenset())
    except (RecursionError, SyntaxError, MemoryError, ValueError) as error:
        # Python's own limits, as of the depth of loops; its line is not the template's.
        faults.append(f"{file}: cannot be compiled: {getattr(error, 'msg', error)}")
        return _Needs(frozenset(), frozenset())
    files = set()
    for other in meta.find_referenced_templates(tree):
        fault = _reference_fault(file, other, sources)
        if fault:
            faults.append(f"{file}: {fault}")
        elif other:
            files.add(other)
    return _Needs(frozenset(variables), frozenset(files))


def _reference_fault(file: str, other: str | None, sources: Mapping[str, str]) -> str:
    if other is None:
        return "write the name of the file to include or extend as plain text"
    if other not in sources:
        return f"there is no file {other}, or that file has a fault, too"
    if file.endswith(".html") and not other.endswith(".html"):
        return f"{other} is not HTML, so callers' data would stand in it unescaped"
    return ""


def _named(needs: Mapping[str, _Needs], faults: list[str]) -> Iterator[tuple[str, Template]]:
    parts: dict[str, dict[str, str]] = {}
    for file in needs:
        match = _FILE.fullmatch(file)
        if match and not file.startswith("_"):  # these files are for other files to include
            parts.setdefault(match["name"], {})[PARTS[match["part"]]] = file
    for name, files in parts.items():
        if "text" not in files and "html" not in files:
            faults.append(f"{files['subject']}: {name}.txt or {name}.html is missing")
        variables = {name for file in files.values() for name in _variables(file, needs)}
        ordered = {part: files[part] for part in PARTS.values() if part in files}
        yield name, Template(name, ordered, tuple(sorted(variables)))


def _variables(file: str, needs: Mapping[str, _Needs]) -> Iterator[str]:
    """The variables of a file, and of all files that it includes or extends."""
    seen: set[str] = set()
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            yield from needs[file].variables
            waiting += needs[file].files
