"""
`notifier sendmail`: a drop-in for /usr/sbin/sendmail. It reads a mail from standard input and hands
it to a running server by HTTP.

It is started for each mail of cron and PHP, so it imports little: the standard library alone. The
options are those of Sendmail and Postfix, and the exit codes those of sysexits.h.
"""

import getopt
import http.client
import json
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from email.utils import formataddr, getaddresses
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

EX_OK, EX_USAGE, EX_DATAERR, EX_NOUSER = 0, 64, 65, 67
EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 69, 75, 77, 78

USUAL_URL = "http://127.0.0.1:8014"
SECONDS = 30.0  # for an answer
PAUSES = (1.0, 2.0, 4.0)  # between tries: nobody else repeats the mail of a cron job
MOST_RECIPIENTS = 100
LINE_OCTETS = 998  # RFC 5322, section 2.1.1
BREAK_OCTETS = 980  # where a longer line is broken
HOPS = 10  # of aliases that lead to others

# Of Sendmail and Postfix. What asks for something that is not sending a mail is refused.
OPTIONS = "A:B:C:F:GILN:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx:"
ALIASES, MAILNAME = Path("/etc/aliases"), Path("/etc/mailname")

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_END = re.compile(rb"\r\n?|\n")
_UNFOLDED = re.compile(rb"\r\n(?![ \t])")


class Exit(Exception):
    """Ends the program with a code of sysexits.h, and says why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Call(NamedTuple):
    """What the command line asks for."""

    recipients: Sequence[str]
    from_header: bool  # -t: also those that the header names
    sender: str  # -f; empty: none
    name: str  # -F
    dot_ends: bool  # a line of one dot ends the mail; -i: it does not
    verbose: bool


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    try:
        call = read_call(arguments)
        mail, recipients = prepared(call, sys.stdin.buffer.read(), Local())
        id = hand_in(call, mail, recipients)
    except Exit as error:
        print(f"sendmail: {error}", file=sys.stderr)  # noqa: T201  it is a program's output
        return error.code
    except KeyboardInterrupt:
        return 130
    if call.verbose:
        print(id)  # noqa: T201  it is a program's output
    return EX_OK


def read_call(arguments: Sequence[str]) -> Call:
    """Raises Exit."""
    try:
        options, recipients = getopt.gnu_getopt(list(arguments), OPTIONS)
    except getopt.GetoptError as error:
        raise Exit(EX_USAGE, str(error)) from None
    given = dict(options)
    mode = given.get("-b", "m")
    if mode != "m" or "-q" in given:
        asked = f"-b{mode}" if mode != "m" else "-q"
        raise Exit(EX_USAGE, f"{asked} is not supported: this program only submits one mail")
    call = Call(
        recipients=[spec for _, spec in getaddresses(recipients) if spec],
        from_header="-t" in given,
        sender=given.get("-f", given.get("-r", "")).strip().strip("<>"),
        name=given.get("-F", ""),
        dot_ends=not ("-i" in given or ("-o", "i") in options),
        verbose="-v" in given,
    )
    if not (recipients or call.from_header):
        raise Exit(EX_USAGE, "name recipients, or give -t to read them from the header")
    return call


# ---------------------------------------------------------------------- the mail


class Local:
    """The names of this machine's users, and where their mail goes."""

    def __init__(self, aliases: Path = ALIASES, mailname: Path = MAILNAME) -> None:
        self._aliases = _aliases(aliases)
        self._mailname = mailname

    def full(self, address: str) -> Iterator[str]:
        """The addresses that this one stands for. Raises Exit for a name that leads nowhere."""
        yield from self._led(address, HOPS)

    def _led(self, address: str, hops: int) -> Iterator[str]:
        if "@" in address:
            yield address
        elif hops and (targets := self._aliases.get(address.lower())):
            for each in targets:
                # A user who is an alias of its own has a mailbox here.
                yield from self._led(each, 0 if each.lower() == address.lower() else hops - 1)
        elif domain := self._domain():
            yield f"{address}@{domain}"
        else:
            raise Exit(
                EX_NOUSER,
                f"{address} has no domain: write a whole address, or an alias in {ALIASES}, or "
                f"this machine's mail domain in {MAILNAME}",
            )

    def _domain(self) -> str:
        try:
            return self._mailname.read_text(encoding="utf-8").split()[0]
        except (OSError, ValueError, IndexError):
            name = socket.getfqdn()
            return name if "." in name and not name.startswith("localhost") else ""


def _aliases(path: Path) -> dict[str, list[str]]:
    """Of aliases(5) those that lead to addresses and users; not to files, programs and lists."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\n[ \t]+", " ", text).splitlines():
        name, colon, targets = line.partition("#")[0].partition(":")
        wanted = [each.strip() for each in targets.split(",")]
        wanted = [each for each in wanted if each and each[0] not in '/|":\\']
        if colon and wanted:
            found[name.strip().strip('"').lower()] = wanted
    return found


def prepared(call: Call, given: bytes, local: Local) -> tuple[bytes, list[str]]:
    """The mail with line ends and lines as RFC 5322 has them, and its recipients. Raises Exit."""
    mail = _END.sub(b"\r\n", given.replace(b"\0", b""))
    if call.dot_ends:
        end = (b"\r\n" + mail).find(b"\r\n.\r\n")
        mail = mail if end < 0 else mail[:end]
    if mail.startswith(b"From "):  # of a mailbox file
        mail = mail.partition(b"\r\n")[2]
    if not _FIELD.match(mail):
        mail = b"\r\n" + mail  # all of it is the body
    head, blank, body = (b"", b"\r\n", mail[2:]) if mail.startswith(b"\r\n") else _parted(mail)
    fields = _UNFOLDED.split(head) if head else []
    recipients = list(call.recipients)
    if call.from_header:
        recipients += _named(fields)
    found = [each for address in recipients for each in local.full(address)]
    found = list(dict.fromkeys(found))
    if not found:
        raise Exit(EX_USAGE, "the mail names no recipient in To, Cc or Bcc")
    if len(found) > MOST_RECIPIENTS:
        raise Exit(EX_DATAERR, f"at most {MOST_RECIPIENTS} recipients are allowed")
    fields = _with_author(fields, call)
    whole = b"".join([field + b"\r\n" for field in fields]) + blank + body
    if not whole.endswith(b"\r\n"):
        whole += b"\r\n"
    return _broken(whole), found


def _parted(mail: bytes) -> tuple[bytes, bytes, bytes]:
    head, _, body = mail.partition(b"\r\n\r\n")
    return head.removesuffix(b"\r\n"), b"\r\n", body


def _values(fields: Sequence[bytes], *names: str) -> list[str]:
    found = []
    for field in fields:
        name, _, value = field.partition(b":")
        if name.strip().lower().decode("latin-1") in names:
            found.append(value.replace(b"\r\n", b"").decode(errors="replace").strip())
    return found


def _named(fields: Sequence[bytes]) -> list[str]:
    try:
        return [spec for _, spec in getaddresses(_values(fields, "to", "cc", "bcc")) if spec]
    except RecursionError:
        raise Exit(EX_DATAERR, "To, Cc or Bcc cannot be read") from None


def _with_author(fields: list[bytes], call: Call) -> list[bytes]:
    """
    The fields with an author that a relay can take. A bare user name, as cron writes it, gives way
    to the sender of the command line, else to the server's default sender.
    """
    author = _values(fields, "from")
    name, spec = getaddresses(author)[0] if author else ("", "")
    if "@" in spec:
        return fields
    kept = [each for each in fields if not each.lower().startswith(b"from:")]
    if "@" in call.sender:
        written = formataddr((call.name or name, call.sender))
        kept.insert(0, f"From: {written}".encode())
    return kept


def _broken(mail: bytes) -> bytes:
    """The mail with each long line broken, as relays do, so that it is not refused for that."""
    if max(map(len, mail.split(b"\r\n"))) <= LINE_OCTETS:
        return mail
    return b"\r\n".join([b"\r\n ".join(_pieces(line)) for line in mail.split(b"\r\n")])


def _pieces(line: bytes) -> Iterator[bytes]:
    while len(line) > LINE_OCTETS:
        at = BREAK_OCTETS
        while at > BREAK_OCTETS - 4 and line[at] & 0xC0 == 0x80:  # within a character of UTF-8
            at -= 1
        yield line[:at]
        line = line[at:]
    yield line


# ---------------------------------------------------------------------- the server


def hand_in(call: Call, mail: bytes, recipients: Sequence[str]) -> str:
    """The id of the message, once it is on the server's disk. Raises Exit."""
    query = [("to", each) for each in recipients]
    if "@" in call.sender:
        query.append(("from", call.sender))
    headers = {
        "Content-Type": "message/rfc822",
        "Idempotency-Key": secrets.token_hex(16),  # so that no try makes a second message
    }
    if key := _key(os.environ.get("NOTIFIER_KEY") or os.environ.get("NOTIFIER_API_KEY") or ""):
        headers["Authorization"] = f"Bearer {key}"
    url = os.environ.get("NOTIFIER_URL") or USUAL_URL
    failure = Exit(EX_TEMPFAIL, "")
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            return _post(url, f"/v1/messages?{urlencode(query)}", mail, headers)
        except Exit as error:
            if error.code != EX_TEMPFAIL:
                raise
            failure = error
    raise failure


def _key(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise Exit(EX_CONFIG, f"NOTIFIER_KEY: cannot read {given[1:]}: {error}") from None


_AWAY = (408, 429, 502, 503, 504)


def _post(url: str, path: str, mail: bytes, headers: dict[str, str]) -> str:
    connection, base = _connection(url)
    try:
        connection.request("POST", base + path, mail, headers)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Exit(EX_TEMPFAIL, f"cannot reach {url}: {error}") from None
    finally:
        connection.close()
    try:
        data = json.loads(content)
        if status in (200, 202):
            return str(data["id"])
        faults = data.get("errors", ())
        said = [data.get("detail") or data.get("title") or "", *map(_fault_text, faults)]
        nobody = any(str(each.get("pointer", "")).startswith("/to") for each in faults)
    except (ValueError, AttributeError, KeyError, TypeError):
        # A proxy answers with its own text while the server behind it is away.
        code = EX_TEMPFAIL if status in _AWAY else EX_UNAVAILABLE
        raise Exit(code, f"{url} answered {status} and no message; is it notifier?") from None
    words = "; ".join(dict.fromkeys(filter(None, said)))
    raise Exit(_code(status, nobody=nobody), f"{status}: {words}")


def _fault_text(fault: dict[str, str]) -> str:
    where = fault.get("pointer") or fault.get("parameter") or fault.get("header")
    return f"{where}: {fault['message']}" if where else fault["message"]


def _code(status: int, *, nobody: bool) -> int:
    if status in _AWAY:
        return EX_TEMPFAIL
    if status in (401, 403):
        return EX_NOPERM
    if nobody:
        return EX_NOUSER
    return EX_DATAERR if status < 500 else EX_UNAVAILABLE


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise Exit(EX_CONFIG, f"NOTIFIER_URL: {url!r} is not a URL; write {USUAL_URL}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=SECONDS), parts.path.rstrip("/")
