"""
API keys: who may call, for what, as whom, and how much.

A key is `ntf_<id>_<secret>`. It is shown once, when it is made; the file keeps the SHA-256
of it. That is enough: 32 random bytes cannot be guessed, so a slow hash would only cost time.

`key` is one key and what it allows, `callback` where its application receives what came of its
messages; `file` is the file that holds them all.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path

import structlog
from msgspec import Struct
from msgspec.structs import replace

from notifier.errors import ConfigurationError
from notifier.keys.callback import Callback, CallbackEvent
from notifier.keys.file import exclusive, keys_in, require, write
from notifier.keys.key import Key, KeyKind, key_from, with_zone
from notifier.scopes import KeyScope

__all__ = ["Callback", "CallbackEvent", "Key", "KeyKind", "KeyScope", "Keys", "expiry", "new_key"]

PREFIX = "ntf"
LONGEST = 128  # longest text that is compared with keys
LOOK_SECONDS = 1.0  # how often the file is looked at, at most

log = structlog.get_logger()


class Signature(Struct, frozen=True):
    """A file's identity, size and time: they change when the file does."""

    modified: int  # nanoseconds
    size: int
    inode: int


class Keys:
    """
    The keys of one file, as it was when it was last read without a fault.

    Once there were keys, a file that is broken, empty or gone does not remove them, because a slip
    in an editor would otherwise open the service to everybody. To lock everybody out, revoke the
    keys.
    """

    def __init__(
        self, path: Path, keys: tuple[Key, ...] = (), *, clock: Callable[[], float]
    ) -> None:
        self.path = path
        self.clock = clock
        self.look_at = clock() + LOOK_SECONDS  # by the clock: when it is worth looking again
        self._listeners: list[Callable[[], None]] = []
        self._seen: Signature | None = None
        self.trouble = ""  # why the file is not what is in force; empty: it is
        self._put(keys)

    @classmethod
    def read(cls, path: Path, *, clock: Callable[[], float] = time.monotonic) -> "Keys":
        """The keys of a file; none if there is none. Raises ConfigurationError with all faults."""
        seen = _signature(path)
        keys = cls(path, keys_in(path), clock=clock)
        keys._seen = seen
        return keys

    def _put(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys
        self.configured = bool(keys)  # also where they open nothing any more
        self._by_id = {key.id: (key, bytes.fromhex(key.sha256)) for key in keys}
        self.callbacks = {key.name: key.callback for key in keys if key.callback is not None}
        for changed in self._listeners:
            changed()

    def listen(self, changed: Callable[[], None]) -> None:
        """Set a listener that is called whenever the keys may have changed."""
        self._listeners.append(changed)

    def require(self) -> None:
        """
        Require keys, or a file that says that there are none: a missing file must not open the
        service to everybody. Raises ConfigurationError.
        """
        if not self._keys:
            require(self.path)

    def all(self) -> tuple[Key, ...]:
        return self._keys

    def find(self, id: str) -> Key | None:
        """The key with this id, even if it is revoked or expired."""
        known = self._by_id.get(id)
        return None if known is None else known[0]

    def reload_if_changed(self) -> bool:
        """Read the file again if it changed. Looks once a second at most; never raises."""
        now = self.clock()
        if now < self.look_at:
            return False
        self.look_at = now + LOOK_SECONDS
        try:
            seen = _signature(self.path)
            if seen == self._seen:
                return False
            self._seen = seen
            return self._reload()
        except (ConfigurationError, OSError) as error:
            self.trouble = str(error)
            log.error("keys_not_reloaded", path=str(self.path), reason=str(error))  # noqa: TRY400 - the faults say all
            return False

    def _reload(self) -> bool:
        keys = keys_in(self.path)
        if self._keys and not keys:
            raise ConfigurationError(
                f"{self.path}: it holds no key any more; the {len(self._keys)} known keys"
                " stay in force until the service restarts"
            )
        self._put(keys)
        self.trouble = ""
        log.info("keys_reloaded", path=str(self.path), keys=len(keys))
        return True

    def authenticate(self, presented: str, now: datetime) -> Key | None:
        """The key that was presented, if it is valid."""
        key = self._known(presented)
        return key if key is not None and not key.lapsed(now) else None

    def why_not(self, presented: str, now: datetime) -> str:
        """
        Why `authenticate` returned None, as text for a 401. Only the holder of a key learns about
        it.
        """
        if not presented.startswith(f"{PREFIX}_"):
            return f"this is not a key of this service; its keys begin with {PREFIX}_"
        key = self._known(presented)
        return "this service has no such key" if key is None else key.lapsed(now)

    def _known(self, presented: str) -> Key | None:
        if len(presented) > LONGEST:
            return None
        # A header may have any text; a text that cannot be encoded is not a key.
        digest = sha256(presented.encode(errors="replace")).digest()
        _, _, rest = presented.partition("_")
        # An unknown id is compared as well, so that time does not tell which ids there are.
        key, expected = self._by_id.get(rest.partition("_")[0], _NOBODY)
        return key if hmac.compare_digest(digest, expected) else None

    def add(self, key: Key) -> None:
        """Put a new key, from `new_key`, into the file. Refused if its name is taken."""
        with exclusive(self.path):
            keys = keys_in(self.path)
            if any(other.name == key.name for other in keys):
                raise ConfigurationError(
                    f"{self.path}: there is a key named {key.name!r} already;"
                    " give the new one another name, and revoke the old one when it is replaced"
                )
            self._save((*keys, key))

    def revoke(self, name: str, now: datetime, *, by: str = "") -> Key:
        """Make a key invalid from now on. It stays in the file, so that its name is known."""
        with exclusive(self.path):
            keys = {key.name: key for key in keys_in(self.path)}
            if name not in keys:
                known = ", ".join(keys) or "none"
                raise ConfigurationError(f"{self.path}: no key is named {name!r}; known: {known}")
            if keys[name].revoked is None:
                keys[name] = replace(keys[name], revoked=now, revoked_by=by)
                self._save(tuple(keys.values()))
        return keys[name]

    def _save(self, keys: tuple[Key, ...]) -> None:
        write(self.path, keys)
        self._put(keys)
        self._seen = _signature(self.path)


def new_key(
    name: str,
    *,
    now: datetime,
    scopes: Sequence[str] = (KeyScope.SEND,),
    by: str = "",
    **terms: object,
) -> tuple[Key, str]:
    """
    A new key and its secret, which is not stored. `terms`: other fields of the key; None counts as
    missing. Raises ConfigurationError.
    """
    id = secrets.token_hex(6)
    secret = f"{PREFIX}_{id}_{secrets.token_urlsafe(32)}"
    fields = {
        "id": id,
        "sha256": sha256(secret.encode()).hexdigest(),
        "scopes": scopes,
        "created": now.replace(microsecond=0),
        "made_by": by,
        **terms,
    }
    return key_from(name, fields), secret


def expiry(text: str) -> datetime:
    """`2027-01-31`: to the end of that day, UTC; `2027-01-31T12:00:00+01:00`: until then."""
    try:
        if len(text) == len("2027-01-31"):
            return with_zone(date.fromisoformat(text))
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"expires: {text!r} is neither a date nor a time; write 2027-01-31 or "
            f"2027-01-31T12:00:00Z"
        ) from None
    return with_zone(moment)


def _signature(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:  # reading the file will tell what is wrong
        return None
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino)


_NOBODY = (None, secrets.token_bytes(32))
