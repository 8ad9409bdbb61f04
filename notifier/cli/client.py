"""
A small HTTP client of a running server. It uses the standard library alone, because an HTTP
library takes longer to import than the whole of `notifier healthcheck` to run.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from notifier.errors import NotifierError


class RequestFailed(NotifierError):
    """The server cannot be reached, or refused the request."""


class Refused(RequestFailed):
    """The server refused the request."""


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: the API key is for the named server alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """Calls the server at `url`. Raises RequestFailed."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 10.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise RequestFailed(
                f"{url!r} is not the URL of a server; write it like http://127.0.0.1:8014"
            )
        self.url = url.rstrip("/")
        self._timeout = timeout
        key = _key(api_key)
        self._authorization = {"Authorization": f"Bearer {key}"} if key else {}
        # A proxy of the environment is for the outside world.
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

    def require_ready(self) -> None:
        """Raises RequestFailed unless the server can take messages."""
        self._call("GET", "/readyz")

    def is_alive(self) -> bool:
        """Whether a server answers, ready or not."""
        try:
            self._call("GET", "/livez")
        except RequestFailed:
            return False
        return True

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""
        return self._object(self._call("GET", path, headers=self._authorization))

    def post(
        self,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The JSON object that answers a POST, of JSON if there is a body."""
        content = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        headers = {**(headers or {}), **kind, **self._authorization}
        return self._object(self._call("POST", path, content, headers=headers, timeout=timeout))

    def send(
        self, path: str, content: bytes, kind: str, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers a POST of content of this media type."""
        headers = {"Content-Type": kind, **self._authorization}
        return self._object(self._call("POST", path, content, headers=headers, timeout=timeout))

    def delete(self, path: str, *, timeout: float | None = None) -> dict[str, Any]:
        """The JSON object that answers a DELETE."""
        headers = self._authorization
        return self._object(self._call("DELETE", path, headers=headers, timeout=timeout))

    def read(self, path: str, kind: str, *, timeout: float | None = None) -> bytes:
        """What is at a path, in this media type."""
        return self._call(
            "GET", path, headers={"Accept": kind, **self._authorization}, timeout=timeout
        )

    def save(self, path: str, kind: str, file: BinaryIO, *, timeout: float) -> None:
        """Write what is at a path, in this media type, into a file."""
        headers = {"Accept": kind, **self._authorization}
        with self._answer("GET", path, None, headers, timeout) as answer:
            shutil.copyfileobj(answer, file)

    def lines(self, path: str, body: object, *, timeout: float | None = None) -> Iterator[bytes]:
        """The lines that answer a POST of JSON, as they come."""
        headers = {"Content-Type": "application/json", **self._authorization}
        with self._answer("POST", path, json.dumps(body).encode(), headers, timeout) as answer:
            yield from answer

    def _object(self, answer: bytes) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(answer)
            if isinstance(found, dict):
                return found
        raise RequestFailed(f"{self.url} did not answer with a JSON object; is it notifier?")

    def _call(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        with self._answer(method, path, content, dict(headers or {}), timeout) as answer:
            read: bytes = answer.read()
            return read

    @contextlib.contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
        timeout: float | None,
    ) -> Iterator[Any]:
        url = f"{self.url}{path}"
        request = Request(url, content, headers, method=method)  # noqa: S310 - http, see above
        try:
            with self._opener.open(request, timeout=timeout or self._timeout) as answer:
                yield answer
        except HTTPError as error:
            with error:
                hint = ""
                if error.code == 401:
                    hint = "; give --api-key @FILE, or set NOTIFIER_API_KEY"
                elif 300 <= error.code < 400:
                    place = str(error.headers.get("Location", "nowhere"))[:200]
                    hint = f"; it redirects to {place!r}, which is not followed; give that as --url"
                raise Refused(_problem_text(error.code, error.read()) + hint) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise RequestFailed(f"cannot reach {self.url}: {reason}") from None


def _key(given: str | None) -> str:
    if given is None or not given.startswith("@"):
        return given or ""
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise RequestFailed(f"--api-key: cannot read {given[1:]}: {error}") from error


def _field_text(error: dict[str, str]) -> str:
    where = error.get("pointer") or error.get("parameter") or error.get("header")
    return f"{where}: {error['message']}" if where else error["message"]


def _problem_text(code: int, content: bytes) -> str:
    """The text of a problem (RFC 9457), with the fields that it names."""
    try:
        problem = json.loads(content)
        said = [problem.get("detail") or problem.get("title") or ""]
        said += [_field_text(each) for each in problem.get("errors", ())]
        said += problem.get("reasons", ())  # a probe's
        return f"{code}: {'; '.join(dict.fromkeys(filter(None, said)))}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{code}: {content[:200].decode(errors='replace')}"
