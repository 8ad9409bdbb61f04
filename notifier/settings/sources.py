"""Where settings come from: a TOML file, files of secrets, the environment."""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

PREFIX = "NOTIFIER_"
# Of the command line, and of those who call a server.
_NO_SETTINGS = {f"{PREFIX}{name}" for name in ("CONFIG", "API_KEY", "KEY", "URL")}
# Kubernetes puts these next to a service that is called `notifier`.
_FOREIGN = re.compile(r"NOTIFIER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")


def variable(name: str) -> str:
    """The name of a setting in the environment."""
    return PREFIX + name.upper()


class Given(Struct, frozen=True):
    """The text of one setting, and the name of its source."""

    text: str
    place: str


class Sources:
    """
    The texts of the settings by name, from the strongest source of each, and every fault found on
    the way. An empty text counts as missing.
    """

    def __init__(self, names: Collection[str], secrets: Collection[str]) -> None:
        self._names = names
        self._secrets = secrets
        self.given: dict[str, Given] = {}
        self.relays: tuple[Sequence[Mapping[str, Any]], Path] | None = None  # [[relay]], its file
        self.faults: list[str] = []

    def read_toml(self, path: Path, *, named_by: str) -> None:
        """Read a TOML file. Its keys are the names of the settings in lower case."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.faults.append(f"{named_by}: cannot read {path}: {error.strerror}")
        except ValueError as error:
            self.faults.append(f"{named_by}: {path} is not TOML: {error}")
        else:
            if "relay" in table:
                self._take_relays(table.pop("relay"), path)
            for key, value in table.items():
                self._take_toml(key, value, path)
            if self.relays is not None and "relays" in table:
                self.faults.append(f"{path} has relays and [[relay]]; keep one of them")

    def _take_relays(self, tables: Any, path: Path) -> None:
        if isinstance(tables, list) and tables and all(isinstance(each, dict) for each in tables):
            self.relays = tables, path
        else:
            self.faults.append(f"relay in {path}: write [[relay]], one table for each relay")

    def _take_toml(self, key: str, value: Any, path: Path) -> None:
        if key not in self._names:
            hint = self._suggestion(key, self._names)
            self.faults.append(f"{key} in {path}: there is no such setting{hint}")
        elif (text := _text(value)) is None:
            self.faults.append(
                f"{variable(key)} ({key} in {path}): it must be a text, a number, or a list of "
                f"these"
            )
        elif text.strip():
            self.given[key] = Given(text, f"{variable(key)} ({key} in {path})")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        names = {variable(name): name for name in self._names}
        files = {f"{variable(name)}_FILE": name for name in self._secrets}
        for key, text in environ.items():
            if not key.startswith(PREFIX) or not text.strip():
                continue
            if name := names.get(key):
                self.given[name] = Given(text, key)
            elif name := files.get(key):
                self._take_file(name, key, text, environ)
            elif key not in _NO_SETTINGS and not _FOREIGN.fullmatch(key):
                self.faults.append(f"{key}: there is no such setting{self._hint(key, names)}")

    def _take_file(self, name: str, key: str, path: str, environ: Mapping[str, str]) -> None:
        if environ.get(variable(name), "").strip():
            self.faults.append(f"{variable(name)} and {key} are both set; keep one of them")
            return
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            self.faults.append(f"{key}: cannot read {path}: {error.strerror}")
        except ValueError:
            self.faults.append(f"{key}: {path} is not UTF-8 text")
        else:
            text = text.removesuffix("\n")
            if text.strip():
                self.given[name] = Given(text, f"{variable(name)} (from {key}={path})")

    def _hint(self, key: str, names: Mapping[str, str]) -> str:
        if key.endswith("_FILE") and key.removesuffix("_FILE") in names:
            secrets = ", ".join(sorted(f"{variable(name)}_FILE" for name in self._secrets))
            return f"; only secrets are read from files: {secrets}"
        return self._suggestion(key, names)

    @staticmethod
    def _suggestion(word: str, words: Collection[str]) -> str:
        close = difflib.get_close_matches(word, sorted(words), n=1, cutoff=0.6)
        return f"; did you mean {close[0]}?" if close else ""


def _text(value: Any) -> str | None:
    """The text that the environment would have for a TOML value. None: there is none."""
    if isinstance(value, list):
        texts = [_text(each) for each in value if not isinstance(each, list)]
        known = [text for text in texts if text is not None]
        return ",".join(known) if len(known) == len(value) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)
