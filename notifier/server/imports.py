"""Libraries that others import and the service does not need, kept out of its start."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def hidden(*libraries: str) -> Iterator[None]:
    """Let imports within go on without optional libraries, unless they are loaded already."""
    modules: dict[str, Any] = sys.modules
    absent = [library for library in libraries if library not in modules]
    # Python's own mark: importing it raises ModuleNotFoundError.
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for library in absent:
            del modules[library]


@contextlib.contextmanager
def postponed(library: str) -> Iterator[None]:
    """Let imports within take a library that is loaded when something of it is used."""
    stand_in: Any = ModuleType(library)

    def load(name: str) -> Any:
        if sys.modules.get(library) is stand_in:
            del sys.modules[library]
        return getattr(importlib.import_module(library), name)

    stand_in.__getattr__ = load
    sys.modules[library] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(library) is stand_in:
            del sys.modules[library]
