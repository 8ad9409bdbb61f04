"""The file of NOTIFIER_OAUTH: read at the start, with all its faults at once."""

import importlib.util
import json
import re
import shutil
import ssl
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from notifier.errors import ConfigurationError
from notifier.proxies import Proxy
from notifier.relayspec import is_loopback

MICROSOFT_URL = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
MICROSOFT_SMTP = "https://outlook.office365.com/.default"
MICROSOFT_GRAPH = "https://graph.microsoft.com/.default"
GOOGLE_SMTP = "https://mail.google.com/"

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749, A.4
_VISIBLE = re.compile(r"[\x20-\x7e]+")


class Kind(StrEnum):
    """How a token is requested."""

    SECRET = "secret"  # noqa: S105 - client credentials, RFC 6749, section 4.4
    CERTIFICATE = "certificate"  # the same, with a signed assertion, RFC 7523, section 2.2
    SERVICE_ACCOUNT = "service account"  # Google's, RFC 7523, section 2.1
    COMMAND = "command"


class Section(Struct, frozen=True, kw_only=True):
    """One section of the file. Secrets stay in their files, and are read for each request."""

    name: str
    kind: Kind
    preset: str = ""  # microsoft, google; empty: neither
    tenant: str = ""
    token_url: str = ""
    client_id: str = ""
    scope: str = ""  # empty: by what the relay is
    subject: str = ""  # for whom a service account acts; empty: the user of the relay
    secret_file: str = ""  # the secret, the certificate with its key, or the key file
    command: tuple[str, ...] = ()
    proxy: Proxy | None = None  # to reach the endpoint by

    @property
    def source(self) -> str:
        """Who issues the tokens, for people to see."""
        return f"command {self.command[0]}" if self.command else self.token_url


# What each sort of section takes: what it needs, and what it may have.
_SORTS: dict[str, tuple[set[str], set[str]]] = {
    "microsoft": (
        {"preset", "tenant", "client_id"},
        {"client_secret_file", "certificate_file", "scope", "token_url"},
    ),
    "google": ({"preset", "key_file"}, {"scope", "subject"}),
    "command": ({"command"}, set()),
    "": ({"token_url", "client_id", "client_secret_file"}, {"scope"}),
}
_IN_FILES = {"client_secret", "certificate", "key", "private_key", "password", "token"}


def read_sections(path: Path) -> Mapping[str, Section]:
    """The sections by name. Raises ConfigurationError with every fault of the file."""
    sections: dict[str, Section] = {}
    faults: list[str] = []
    for name, fields in _tables(path).items():
        if not isinstance(fields, dict):
            faults.append(f"{name} is outside of a section; write [NAME] above it")
            continue
        found = _Reader(name, fields)
        if (section := found.section()) is not None:
            sections[name] = section
        faults += [f"[{name}] {fault}" for fault in found.faults]
    if faults:
        raise ConfigurationError(*(f"{path}: {fault}" for fault in faults))
    return sections


def _tables(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        # Without its words, which may repeat what somebody took for the place of a secret.
        raise ConfigurationError(f"{path}: is not TOML") from None


class _Reader:
    """Reads one section; `faults` has a line for whatever is wrong with it."""

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = name
        self.fields = fields
        self.faults: list[str] = []

    def section(self) -> Section | None:
        """None: it has faults."""
        preset = self.fields.get("preset", "")
        if preset not in ("", "microsoft", "google"):
            self.faults.append('preset must be "microsoft" or "google"')
            return None
        sort = preset or ("command" if "command" in self.fields else "")
        self._check_names(sort)
        read = {
            "microsoft": self._microsoft,
            "google": self._google,
            "command": self._command,
            "": self._other,
        }
        section = read[sort]()
        return None if self.faults else section

    def _check_names(self, sort: str) -> None:
        needed, further = _SORTS[sort]
        for field in sorted(self.fields.keys() - needed - further):
            if field in _IN_FILES:
                self.faults.append(f"{field}: a secret must be in a file; write {field}_file")
            else:
                known = ", ".join(sorted(needed | further))
                self.faults.append(f"{field} is not a known field; known: {known}")
        self.faults += [f"{field} is missing" for field in sorted(needed - self.fields.keys())]

    def _microsoft(self) -> Section:
        tenant = self._text("tenant")
        if tenant and not _TENANT.fullmatch(tenant):
            self.faults.append("tenant must be the id of a directory, or one of its domains")
        kind, file = Kind.SECRET, self._file("client_secret_file")
        if "certificate_file" in self.fields:
            kind, file = Kind.CERTIFICATE, self._certificate()
            if "client_secret_file" in self.fields:
                self.faults.append(
                    "client_secret_file and certificate_file are both given; keep one"
                )
        elif "client_secret_file" not in self.fields:
            self.faults.append("client_secret_file or certificate_file is missing")
        return Section(
            name=self.name,
            kind=kind,
            preset="microsoft",
            tenant=tenant,
            token_url=self._url() or MICROSOFT_URL.format(tenant=tenant),
            client_id=self._text("client_id"),
            scope=self._scope(),
            secret_file=file,
        )

    def _google(self) -> Section:
        url, file = "", self._file("key_file")
        if file:
            try:
                key = json.loads(Path(file).read_text(encoding="utf-8"))
                url, _, _ = key["token_uri"], key["client_email"], key["private_key"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                self.faults.append("key_file is not the JSON key of a service account")
            else:
                self._check_url(url, "key_file: token_uri")
                self._require_jwt("key_file")
        return Section(
            name=self.name,
            kind=Kind.SERVICE_ACCOUNT,
            preset="google",
            token_url=url,
            scope=self._scope(),
            subject=self._text("subject"),
            secret_file=file,
        )

    def _command(self) -> Section:
        words = self.fields["command"]
        if not isinstance(words, list) or not words or not all(map(_is_word, words)):
            self.faults.append('command must be a list of words, ["/usr/local/bin/token"]')
            words = []
        elif shutil.which(words[0]) is None:
            self.faults.append(f"command: there is no program {words[0]}")
        return Section(name=self.name, kind=Kind.COMMAND, command=tuple(words))

    def _other(self) -> Section:
        return Section(
            name=self.name,
            kind=Kind.SECRET,
            token_url=self._url(),
            client_id=self._text("client_id"),
            scope=self._scope(),
            secret_file=self._file("client_secret_file"),
        )

    def _text(self, field: str) -> str:
        """A field in visible ASCII; empty where it is missing or wrong."""
        text = self.fields.get(field, "")
        if isinstance(text, str) and (not text or _VISIBLE.fullmatch(text)):
            if field in self.fields and not text:
                self.faults.append(f"{field} is empty")
            return text
        self.faults.append(f"{field} must be a text of visible characters")
        return ""

    def _scope(self) -> str:
        scope = self._text("scope")
        if scope and not _SCOPE.fullmatch(scope):
            self.faults.append("scope must be words separated by single spaces")
        return scope

    def _url(self) -> str:
        url = self._text("token_url")
        if url:
            self._check_url(url, "token_url")
        return url

    def _check_url(self, url: object, called: str) -> None:
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("https", "http") or parts.username is not None:
            self.faults.append(f"{called} must be a URL, https://HOST/PATH")
        elif parts.scheme == "http" and not is_loopback(host):
            self.faults.append(
                f"{called}: the secret would go in clear; write https:// (http:// is "
                "for loopback addresses only)"
            )

    def _file(self, field: str) -> str:
        """The path of a file that can be read and is not empty."""
        path = self._text(field)
        if not path:
            return ""
        try:
            said = Path(path).read_bytes().strip()
        except OSError as error:
            self.faults.append(f"{field}: {path}: {error.strerror}")
            return ""
        if not said:
            self.faults.append(f"{field}: {path} is empty")
        return path

    def _certificate(self) -> str:
        path = self._file("certificate_file")
        if path:
            self._require_jwt("certificate_file")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_cert_chain(path, password=lambda: b"")
            except (OSError, ValueError):
                self.faults.append(
                    f"certificate_file: {path} must hold a certificate and its private key, in PEM"
                    " and without a passphrase"
                )
        return path

    def _require_jwt(self, field: str) -> None:
        if (
            importlib.util.find_spec("jwt") is None
            or importlib.util.find_spec("cryptography") is None
        ):
            self.faults.append(
                f"{field} needs a library that is not installed; run pip install 'notifier[oauth]'"
            )


def _is_word(word: object) -> bool:
    return isinstance(word, str) and bool(word) and "\0" not in word
