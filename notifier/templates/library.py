"""The templates in use: looked up by name, and read again when the folder changes."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct

from notifier.errors import ConfigurationError, Fault, InvalidMessage

if TYPE_CHECKING:  # loaded where there is a folder of templates
    from notifier.templates.folder import Snapshot

LOOK_SECONDS = 1.0  # at least so long between two looks at the folder

log = structlog.get_logger()


class Filled(Struct, frozen=True):
    """The content of a message. None: the template has no such part."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None


class Listed(Struct, frozen=True):
    """A template as the list shows it."""

    name: str
    parts: tuple[str, ...]  # of `subject`, `text`, `html`
    variables: tuple[str, ...]  # top-level names of data that it may use


class Preview(Struct, frozen=True):
    """The parts that could be rendered, and the faults."""

    subject: str | None
    text: str | None
    html: str | None
    faults: tuple[Fault, ...]


class Templates:
    """
    The templates of a folder, as it was when it was last without a fault.

    If a change breaks the folder while the service runs, the fault is logged and shown in `faults`,
    and the earlier templates stay in use.
    """

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        `folder` None: there are no templates. Raises ConfigurationError with every fault of
        every file.
        """
        self.folder = folder
        self.faults: tuple[str, ...] = ()  # of the folder as it is now
        self._clock = clock
        self._look_at = clock() + LOOK_SECONDS
        self._now: Snapshot | None = None  # None: there is no folder
        if folder:
            from notifier.templates.folder import read, signature

            self._seen = signature(folder)
            self._now = read(folder)

    def all(self) -> tuple[Listed, ...]:
        """Every template, by name."""
        self._reload_if_changed()
        return tuple(
            Listed(template.name, tuple(template.files), template.variables)
            for template in (self._now.templates.values() if self._now else ())
        )

    def fill(self, name: str, data: Mapping[str, Any]) -> Filled:
        """
        Render all parts. Raises InvalidMessage with every fault, and with the name of each missing
        value.
        """
        parts, faults = self._render(name, data)
        if faults:
            raise InvalidMessage(*faults)
        return Filled(**parts)

    def preview(self, name: str, data: Mapping[str, Any]) -> Preview:
        """Render like `fill`, with blanks for missing values, and return the faults beside."""
        parts, faults = self._render(name, data)
        return Preview(parts.get("subject"), parts.get("text"), parts.get("html"), tuple(faults))

    def _render(self, name: str, data: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
        self._reload_if_changed()
        if self._now is None or (template := self._now.templates.get(name)) is None:
            raise InvalidMessage(Fault("/template", self._unknown(name)))
        from notifier.templates.rendering import render

        return render(self._now.sandbox, template.files, data)

    def _unknown(self, name: str) -> str:
        if self._now is None:
            return f"there is no template {name!r}: the service has none (NOTIFIER_TEMPLATES)"
        known = ", ".join(sorted(self._now.templates)) or "none"
        return f"there is no template {name!r}; known: {known}"

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if self.folder is None or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        from notifier.templates.folder import read, signature

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
