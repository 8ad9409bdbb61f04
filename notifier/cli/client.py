"""A small client of a running server, with nothing but the standard library."""

import contextlib
import json
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from notifier.errors import NotifierError

MARGIN_SECONDS = 10.0  # beyond what the server was asked to wait


class RequestFailed(NotifierError):
    """The server cannot be reached, or said no."""


class Refused(RequestFailed):
    """The server said no."""


class _NoRedirect(HTTPRedirectHandler):
    """The key is for the server that was named, and for no other that it leads to."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """Calls the server at `url`. Raises RequestFailed."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 10.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise RequestFailed(f"{url!r} is no URL of a server; write http://127.0.0.1:8014")
        self.url = self._url = url.rstrip("/")
        self._timeout = timeout
        self._key = _key(api_key)
        # No proxies: whoever runs this may have one set for the world outside.
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

    def ready(self) -> str:
        """That the server can take messages."""
        self._call(Request(f"{self._url}/readyz"), self._timeout)  # noqa: S310 - http, see above
        return "ready"

    def answers(self) -> bool:
        """Whether a server is there, fit or not."""
        try:
            self._call(Request(f"{self._url}/livez"), self._timeout)  # noqa: S310 - http, see above
        except RequestFailed:
            return False
        return True

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""
        return self._object(Request(f"{self._url}{path}", headers=self._proof()))  # noqa: S310 - http, see above

    def post(self, path: str, *, timeout: float | None = None) -> dict[str, Any]:
        """What the server answers to a POST without a body."""
        request = Request(f"{self._url}{path}", headers=self._proof(), method="POST")  # noqa: S310 - http, see above
        return self._object(request, timeout=timeout)

    def _proof(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _object(self, request: Request, *, timeout: float | None = None) -> dict[str, Any]:
        answer = self._call(request, timeout or self._timeout)
        with contextlib.suppress(ValueError):
            found = json.loads(answer)
            if isinstance(found, dict):
                return found
        raise RequestFailed(f"{self._url} did not answer with an object; is it notifier?")

    def post_message(self, body: dict[str, Any], *, wait: int | None) -> dict[str, Any]:
        """The message resource."""
        headers = {"Content-Type": "application/json"}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = Request(  # noqa: S310 - http, see above
            f"{self._url}/v1/messages", json.dumps(body).encode(), headers
        )
        answer = self._call(request, (wait or 0) + MARGIN_SECONDS)
        with contextlib.suppress(ValueError):
            resource = json.loads(answer)
            if isinstance(resource, dict) and resource.keys() >= {"id", "status"}:
                return resource
        raise RequestFailed(f"{self._url} did not answer with a message; is it notifier?")

    def _call(self, request: Request, timeout: float) -> bytes:
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            with error:
                hint = ""
                if error.code == 401:
                    hint = "; say --api-key @FILE, or set NOTIFIER_API_KEY"
                elif 300 <= error.code < 400:
                    place = str(error.headers.get("Location", "nowhere"))[:200]
                    hint = f"; it leads to {place!r}, which is not followed: name that by --url"
                raise Refused(_in_words(error.code, error.read()) + hint) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise RequestFailed(f"cannot reach {self._url}: {reason}") from None


def _key(given: str | None) -> str:
    if given is None or not given.startswith("@"):
        return given or ""
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise RequestFailed(f"--api-key: cannot read {given[1:]}: {error}") from error


def _fault(error: dict[str, str]) -> str:
    where = error.get("pointer") or error.get("parameter") or error.get("header")
    return f"{where}: {error['message']}" if where else error["message"]


def _in_words(code: int, content: bytes) -> str:
    """What a problem (RFC 9457) says, with the fields that it names."""
    try:
        problem = json.loads(content)
        said = [problem.get("detail") or problem.get("title") or ""]
        said += [_fault(each) for each in problem.get("errors", ())]
        said += problem.get("reasons", ())  # a probe's
        return f"{code}: {'; '.join(dict.fromkeys(filter(None, said)))}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{code}: {content[:200].decode(errors='replace')}"
