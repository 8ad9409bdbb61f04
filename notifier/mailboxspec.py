"""An IMAP mailbox as the operator describes it: `imaps://user:password@host/INBOX?oauth=NAME`."""

from collections.abc import Mapping
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from notifier.characters import CONTROL
from notifier.relayspec import is_loopback

PORTS = {"imaps": 993, "imap": 143}
PARAMETERS = ("oauth", "read", "ca")
READ = "notifier-read"  # the folder of mails that were taken in
FORM = "imaps://user:password@host/INBOX"
LONGEST_FOLDER = 200  # characters
_ENCODED = f"write {FORM}; in user and password, write @ : / ? # as %40 %3A %2F %3F %23"


class MailboxSpec(Struct, frozen=True, kw_only=True):
    """One folder of a mailbox, and how to log in."""

    host: str
    port: int
    username: str
    tls: bool = True
    password: str | None = None
    oauth: str | None = None  # the section of NOTIFIER_OAUTH whose token is the password
    folder: str = "INBOX"
    read: str = READ
    ca: str | None = None  # a file of certificates to trust instead of the system's

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.folder}"

    def __repr__(self) -> str:
        """The mailbox without its password, which must not reach a log by accident."""
        return f"MailboxSpec({self.username} {self.place})"


def read_mailbox(url: str) -> MailboxSpec:
    """The mailbox of a URL. Raises ValueError, which repeats nothing of what may be secret."""
    parts = _split(url)
    if parts.scheme not in PORTS:
        raise ValueError(f"write {FORM}, with percent-encoding in user and password")
    host = parts.hostname or ""
    if not host or any(c in host for c in " %/?#@\"'<>"):
        raise ValueError(f"it names no host; write {FORM}")
    if parts.scheme == "imap" and not is_loopback(host):
        raise ValueError("imap:// would send the password in clear; write imaps://")
    given = _parameters(parts.query)
    user, password = _decoded(parts.username or ""), _decoded(parts.password or "")
    if not user:
        raise ValueError(f"it names no user; write {FORM}")
    if bool(password) == ("oauth" in given):
        wrong = "both" if password else "neither"
        raise ValueError(f"it has {wrong} a password and oauth=; write one of them")
    folder = _folder(_decoded(parts.path.removeprefix("/")) or "INBOX")
    read = _folder(given.get("read", READ))
    if read.upper() == folder.upper():
        raise ValueError("read= must name a different folder from the one that is read")
    return MailboxSpec(
        host=host,
        port=PORTS[parts.scheme] if parts.port is None else parts.port,
        username=user,
        tls=parts.scheme == "imaps",
        password=password or None,
        oauth=given.get("oauth"),
        folder=folder,
        read=read,
        ca=given.get("ca"),
    )


def write_mailbox(spec: MailboxSpec) -> str:
    """The mailbox as a URL, with its password struck out."""
    pairs = {"oauth": spec.oauth, "read": spec.read, "ca": spec.ca}
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in pairs.items() if value)
    login = quote(spec.username, safe="") + (":***" if spec.password else "")
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    folder = quote(spec.folder, safe="/")
    return f"{'imaps' if spec.tls else 'imap'}://{login}@{host}:{spec.port}/{folder}?{query}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text would repeat a part of it
        raise ValueError(f"it is not a URL; {_ENCODED}") from None
    if port == 0 or parts.fragment or "@" in parts.path:
        raise ValueError(_ENCODED)
    return parts


def _parameters(query: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    given = {name: _decoded(value) for name, _, value in pairs}
    if len(given) < len(pairs) or not all(given.values()):
        raise ValueError("after the ?, write name=value pairs joined by &, each name once")
    if given.keys() - set(PARAMETERS):
        raise ValueError(f"after the ?, the parameters may be {', '.join(PARAMETERS)}")
    return given


def _decoded(text: str) -> str:
    try:
        found = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("it must be UTF-8, percent-encoded") from None
    if CONTROL.search(found):
        raise ValueError("it must not contain control characters")
    return found


def _folder(name: str) -> str:
    """A folder as it is quoted in IMAP. Others than ASCII would need an encoding of their own."""
    if not name.isascii() or len(name) > LONGEST_FOLDER or any(c in name for c in '"\\*%&'):
        raise ValueError("a folder's name must be ASCII, without any of \" \\ * % &")
    return name
