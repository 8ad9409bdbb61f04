"""The keys file, `keys.toml`: read whole, written whole."""

import contextlib
import fcntl
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from notifier.disk import sync
from notifier.errors import ConfigurationError
from notifier.keys.key import Key, key_from

_HEAD = """\
# The API keys of notifier, made by `notifier keys`. This file holds their hashes, not the keys.
# Terms may be changed by hand: a running server reads the file again within a second.
# Comments that you add are lost when `notifier keys` writes the file again.
"""

log = structlog.get_logger()


def keys_in(path: Path) -> tuple[Key, ...]:
    """The keys in a file; none if there is no file. Raises ConfigurationError with all faults."""
    tables = _tables(path)
    keys: list[Key] = []
    faults: list[str] = []
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            faults.append(f"keys.{name}: must be a table; write [keys.{name}]")
            continue
        try:
            keys.append(key_from(name, fields))
        except ConfigurationError as error:
            faults += error.faults
    ids = Counter(key.id for key in keys)
    faults += [
        f"keys.{key.name}.id: another key has the same id" for key in keys if ids[key.id] > 1
    ]
    if faults:
        raise ConfigurationError(*(f"{path}: {fault}" for fault in faults))
    if any(key.callback for key in keys) and path.stat().st_mode & stat.S_IROTH:
        log.warning(
            "keys_readable",
            path=str(path),
            why="every user of this machine may read it, and it has secrets of callbacks;"
            " run chmod 600",
        )
    return tuple(keys)


def require(path: Path) -> None:
    """Raises ConfigurationError unless the file exists and has keys or says that it has none."""
    try:
        said = "keys" in tomllib.loads(path.read_text(encoding="utf-8"))
        fault = "" if said else "holds no key"
    except FileNotFoundError:
        fault = "is missing"
    except (OSError, ValueError) as error:
        fault = f"cannot be read: {error}"
    if fault:
        raise ConfigurationError(
            f"{path}: {fault}, so callers cannot be authenticated; put it back, or make a key"
            " with `notifier keys add`. To start without keys anyway, write a file that"
            " has only the line `[keys]`"
        )


def _tables(path: Path) -> Mapping[str, object]:
    try:
        mode = path.stat().st_mode
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error
    if mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"{path}: every user of this machine may write it (mode {stat.S_IMODE(mode):04o}),"
            " and could make a key; run chmod 600"
        )
    if mode & stat.S_IWGRP:
        log.warning(
            "keys_writable",
            path=str(path),
            why="its group may write it; run chmod 640 or chmod 600",
        )
    tables = document.pop("keys", {})
    if document or not isinstance(tables, dict):
        unknown = ", ".join(document) or "keys"
        raise ConfigurationError(f"{path}: {unknown}: write a table [keys.NAME] for each key")
    return tables


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Lets one writer at a time change the file, by locking its folder."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"{path}: its folder cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write(path: Path, keys: tuple[Key, ...]) -> None:
    """Replace the file's keys atomically and durably: readers see the old or the new ones."""
    target = path.resolve()  # a symbolic link stays a link
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _hand_over(file.fileno(), target)
            file.write(_HEAD.encode() + b"".join(map(_written, keys)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        sync(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


def _hand_over(descriptor: int, target: Path) -> None:
    """Give a file that root made to the service's user, who owns the file or folder."""
    if os.geteuid() == 0:
        owner = (target if target.exists() else target.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _written(key: Key) -> bytes:
    lines = [f"\n[keys.{key.name}]"]
    for field in msgspec.structs.fields(key):
        value = getattr(key, field.name)
        if field.name not in {"name", "callback"} and value not in (None, (), ""):
            lines.append(f"{field.name} = {_toml(value)}")
    if key.callback is not None:  # a table, so it comes last
        lines.append(f"[keys.{key.name}.callback]")
        for field in msgspec.structs.fields(key.callback):
            value = getattr(key.callback, field.name)
            if value != field.default:
                lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join((*lines, "")).encode()


def _toml(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    # Text, numbers and lists of text are written in TOML as they are in JSON, DEL apart, which
    # no field can hold.
    return msgspec.json.encode(value, order="deterministic").decode()
