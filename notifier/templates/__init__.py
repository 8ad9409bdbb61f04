"""
The operator's templates, by name: filled in with a caller's data, listed, complained of.

A template is up to three Jinja2 files in one folder: NAME.subject.txt, NAME.txt, NAME.html.
Files whose name begins with _ are for others to include or extend. In html what callers
give is escaped. A line that holds nothing but a {% block %} leaves no empty line behind.
"""

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from jinja2.utils import missing
from msgspec import Struct

from notifier.errors import ConfigurationError, Fault, InvalidMessage
from notifier.templates.folder import Snapshot, Template, read, signature
from notifier.templates.meter import Allowance, Meter, TooMuch, current
from notifier.templates.sandbox import Lacking, MissingError, Sandbox

__all__ = ["Allowance", "Filled", "Listed", "Preview", "Templates"]

LOOK_SECONDS = 1.0  # how often the folder is looked at, at most

# What ends a line, or is no text: what a subject must not hold. RFC 5322, section 2.2.
_NOT_ONE_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

_ALLOWANCE = Allowance()

log = structlog.get_logger()


class Filled(Struct, frozen=True):
    """A message's content. None: the template has no such part."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None


class Listed(Struct, frozen=True):
    """A template, as it is shown to who may use it."""

    name: str
    parts: tuple[str, ...]  # of `subject`, `text`, `html`
    variables: tuple[str, ...]  # top-level names of data that it may use


class Preview(Struct, frozen=True):
    """As much of a template as could be filled in, and what was wrong."""

    subject: str | None
    text: str | None
    html: str | None
    faults: tuple[Fault, ...]


class Templates:
    """
    The templates of a folder, as it was when it was last without a fault: one that is broken
    while we run is logged, shown in `faults`, and the ones before it stay in use.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        allowance: Allowance = _ALLOWANCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """ConfigurationError: every fault of every file. No folder: there are no templates."""
        self.folder = folder
        self.faults: tuple[str, ...] = ()  # of the folder as it is now, if it could not be read
        self._allowance = allowance
        self._clock = clock
        self._look_at = clock() + LOOK_SECONDS
        self._seen = signature(folder) if folder else ()
        self._now = read(folder) if folder else Snapshot({}, Sandbox({}), frozenset())

    def all(self) -> tuple[Listed, ...]:
        self._reload_if_changed()
        return tuple(
            Listed(template.name, tuple(template.files), template.variables)
            for template in self._now.templates.values()
        )

    def fill(self, name: str, data: Mapping[str, Any]) -> Filled:
        """InvalidMessage: the template, the data or what came of them; each variable missing."""
        parts, faults = self._parts(name, data)
        if faults:
            raise InvalidMessage(*faults)
        return Filled(**parts)

    def preview(self, name: str, data: Mapping[str, Any]) -> Preview:
        """What `fill` would give, with blanks for what is missing and the faults beside it."""
        parts, faults = self._parts(name, data)
        return Preview(
            parts.get("subject"), parts.get("text"), parts.get("html"), faults=tuple(faults)
        )

    def _parts(self, name: str, data: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
        self._reload_if_changed()
        template = self._now.templates.get(name)
        if template is None:
            raise InvalidMessage(Fault("/template", self._unknown(name)))
        try:
            Meter(self._allowance).weigh(data)
        except (TooMuch, TypeError) as error:
            raise InvalidMessage(Fault("/data", str(error))) from None
        return _rendered(self._now, template, data, self._allowance)

    def _unknown(self, name: str) -> str:
        if self.folder is None:
            return f"there is no template {name!r}: the service has none (NOTIFIER_TEMPLATES)"
        known = ", ".join(sorted(self._now.templates)) or "none"
        return f"there is no template {name!r}; known: {known}"

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if self.folder is None or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            seen = signature(self.folder)
            if seen == self._seen:
                return
            self._seen = seen
            self._now = read(self.folder)
        except (ConfigurationError, OSError) as error:
            self.faults = getattr(error, "faults", (str(error),))
            log.error("templates_not_reloaded", folder=str(self.folder), faults=self.faults)  # noqa: TRY400 - the faults say all
        else:
            self.faults = ()
            log.info("templates_reloaded", templates=len(self._now.templates))


def _rendered(
    snapshot: Snapshot, template: Template, data: Mapping[str, Any], allowance: Allowance
) -> tuple[dict[str, str], list[Fault]]:
    parts: dict[str, str] = {}
    faults: list[Fault] = []
    for part, file in template.files.items():
        meter = current.meter = Meter(allowance)
        try:
            text = _output(snapshot, file, data, allowance)
            fault = _unfit(part, text)
            if fault:
                faults.append(Fault("/data", f"{file}: {fault}"))
            else:
                parts[part] = text
        except MissingError as error:
            meter.missing.append(error.lacking)
        except Exception as error:  # noqa: BLE001 - a template may do whatever raises anything
            faults.append(Fault("/template", _complaint(error, file, snapshot)))
        faults += _all_missing(meter.missing, file, data)
    return parts, list({fault.pointer + fault.message: fault for fault in faults}.values())


def _output(snapshot: Snapshot, file: str, data: Mapping[str, Any], allowance: Allowance) -> str:
    chunks, size = [], 0
    for chunk in snapshot.sandbox.get_template(file).generate(data):
        size += len(chunk)
        if size > allowance.output:
            raise TooMuch(f"it comes out longer than {allowance.output:,} characters")
        chunks.append(chunk)
    text = "".join(chunks)
    return text.strip() if file.endswith(".subject.txt") else text


def _unfit(part: str, text: str) -> str:
    if part == "subject" and _NOT_ONE_LINE.search(text):
        return "a subject is one line, and one came out with a line break or a control character"
    if "\x00" in text:
        return "it came out with a NUL character in it"
    return ""


def _complaint(error: Exception, file: str, snapshot: Snapshot) -> str:
    """Where a rendering ended, and why, in words."""
    line = 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in snapshot.files:
            file, line = frame.f_code.co_filename, number
    at = f"{file}, line {line}" if line else file
    if isinstance(error, RecursionError):
        return f"{at}: macros, loops or files call each other without end"
    return f"{at}: {str(error) or type(error).__name__}"


def _all_missing(lacking: list[Lacking], file: str, data: Mapping[str, Any]) -> Iterator[Fault]:
    for whole, name in lacking:
        path = () if whole is missing else _path_to(whole, data)
        if path is None:  # of something that the template made itself
            yield Fault("/data", f"{name!r} is missing; {file} needs it")
            continue
        steps = [str(step) for step in (*path, name)]
        pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
        yield Fault(f"/data{pointer}", f"{'.'.join(steps)} is missing; {file} needs it")


def _path_to(whole: Any, data: Any) -> tuple[str | int, ...] | None:
    """Where in the data that very object or list is."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(data, ())]
    while waiting:
        value, path = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if value is whole:
            return path
        children = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += ((child, (*path, key)) for key, child in children)
    return None
