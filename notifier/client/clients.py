"""
The two clients. They differ in how they wait: what they call is in `calls`, which does no input or
output.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar, Unpack, overload
from urllib.parse import urlsplit

import httpx2
from msgspec import Raw

from notifier import __version__
from notifier.client.calls import Calls, Filters
from notifier.client.errors import Problem
from notifier.client.fields import Draft, Fields, encoded
from notifier.client.resources import Message
from notifier.client.retrying import Answer, Ask, Call, Lost, Pause, Retrying

T = TypeVar("T")
# A method is called `list`.
Messages: TypeAlias = list[Message]
Results: TypeAlias = list[Message | Problem]

TIMEOUT = 10.0  # seconds
RETRY_FOR = 30.0  # seconds
PAGE = 100  # messages


class _Client:
    """What both clients share: where the service is, and how it is asked."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        """
        `url`: where the service is, such as `http://127.0.0.1:8014`; default: NOTIFIER_URL.
        `key`: an API key, or `@FILE` that holds it; default: NOTIFIER_KEY; "": none. `timeout`:
        seconds without an octet after which a try is given up. `retry_for`: seconds during which
        further tries begin. `verify`: the certificates to trust, if the usual ones will not do.
        Raises ValueError.
        """
        self.url = _checked(url or os.environ.get("NOTIFIER_URL", ""))
        self._key = _read_key(os.environ.get("NOTIFIER_KEY", "") if key is None else key)
        if not (self._key.isascii() and self._key.isprintable()):
            raise ValueError("key: an API key is plain ASCII")
        self._timeout = timeout
        self._verify = verify
        self._calls = Calls(self.url, Retrying(retry_for))
        self._process = os.getpid()
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _options(self) -> dict[str, Any]:
        """For httpx2. No redirect is followed: the key is for the named service alone."""
        headers = {"User-Agent": f"notifier-client/{__version__}", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        verify = self._verify
        if verify is None and self.url.startswith("http://"):
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused; the usual one loads slowly
        return {
            "headers": headers,
            "follow_redirects": False,
            "trust_env": False,  # a proxy of the environment is for the outside world
            "verify": True if verify is None else verify,
        }

    def _request(self, ask: Ask) -> dict[str, Any]:
        if self._process != os.getpid():  # forked: the connections are the parent's
            self._process = os.getpid()
            self._open()
        return {
            "method": ask.method,
            "url": self.url + ask.path,
            "content": ask.content,
            "headers": ask.headers,
            "timeout": httpx2.Timeout(self._timeout, read=self._timeout + ask.seconds),
        }


class Notifier(_Client):
    """
    Sends messages by a notifier service. Threads may share one.

    Each call has an idempotency key of its own, so that it is tried again without harm where no
    answer came, or 429, 502, 503 or 504. Errors: see `notifier.client.errors`.
    """

    def _open(self) -> None:
        self._http = httpx2.Client(**self._options())

    def send(
        self,
        to: str | Sequence[str],
        *,
        wait: float = 0.0,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Message:
        """
        Send a message. When this returns, it is on the service's disk. `wait`: return once it is
        sent, failed or held, or as it is after so many seconds.
        """
        draft = {"to": to, **fields}
        return self._run(self._calls.send(draft, wait=wait, idempotency_key=idempotency_key))

    def send_source(
        self, source: bytes, *, to: str | Sequence[str] = (), idempotency_key: str | None = None
    ) -> Message:
        """Send a whole mail (RFC 5322). `to`: the recipients; default: those in its header."""
        call = self._calls.send_source(source, {"to": to}, idempotency_key=idempotency_key)
        return self._run(call)

    @overload
    def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: Literal[False] = False,
        idempotency_key: str | None = None,
    ) -> Messages: ...
    @overload
    def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: Literal[True],
        idempotency_key: str | None = None,
    ) -> Results: ...
    def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: bool = False,
        idempotency_key: str | None = None,
    ) -> Messages | Results:
        """
        Send up to 1,000 messages at once: all or none. `permissive`: what can be sent is sent, and
        the problem of each other one stands in its place.
        """
        encoded_ones = [encoded(each) for each in messages]
        if permissive:
            return [
                *self._run(self._calls.batch_each(encoded_ones, idempotency_key=idempotency_key))
            ]
        return [*self._run(self._calls.batch(encoded_ones, idempotency_key=idempotency_key))]

    def get(self, id: str) -> Message:
        """The message as it is now."""
        return self._run(self._calls.get(id))

    def wait(self, id: str, *, timeout: float = 60.0) -> Message:
        """The message once it is sent, failed or held. Raises NotYet after `timeout` seconds."""
        return self._run(self._calls.wait(id, timeout=timeout))

    def list(self, *, page_size: int = PAGE, **filters: Unpack[Filters]) -> Iterator[Message]:
        """The messages that match, newest first. Pages are read as they are needed."""
        cursor = None
        while True:
            page = self._run(self._calls.page(filters, cursor, page_size))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel(self, id: str) -> Message:
        """Cancel a message that waits. Raises WrongState if it does not."""
        return self._run(self._calls.act(id, "cancel"))

    def retry(self, id: str) -> Message:
        """Send a failed or held message again. Raises WrongState if it is neither."""
        return self._run(self._calls.act(id, "retry"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        came = None
        while True:
            try:
                step = call.send(came)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                came = None
            else:
                came = self._asked(step)

    def _asked(self, ask: Ask) -> Answer | Lost:
        try:
            response = self._http.request(**self._request(ask))
        except httpx2.RequestError as error:
            return _lost(error)
        return Answer(response.status_code, response.content, response.headers)


class AsyncNotifier(_Client):
    """As Notifier, for asyncio. Use one in each event loop."""

    def _open(self) -> None:
        self._http = httpx2.AsyncClient(**self._options())

    async def send(
        self,
        to: str | Sequence[str],
        *,
        wait: float = 0.0,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Message:
        """
        Send a message. When this returns, it is on the service's disk. `wait`: return once it is
        sent, failed or held, or as it is after so many seconds.
        """
        draft = {"to": to, **fields}
        return await self._run(self._calls.send(draft, wait=wait, idempotency_key=idempotency_key))

    async def send_source(
        self, source: bytes, *, to: str | Sequence[str] = (), idempotency_key: str | None = None
    ) -> Message:
        """Send a whole mail (RFC 5322). `to`: the recipients; default: those in its header."""
        call = self._calls.send_source(source, {"to": to}, idempotency_key=idempotency_key)
        return await self._run(call)

    @overload
    async def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: Literal[False] = False,
        idempotency_key: str | None = None,
    ) -> Messages: ...
    @overload
    async def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: Literal[True],
        idempotency_key: str | None = None,
    ) -> Results: ...
    async def batch(
        self,
        messages: Sequence[Draft | Raw],
        *,
        permissive: bool = False,
        idempotency_key: str | None = None,
    ) -> Messages | Results:
        """
        Send up to 1,000 messages at once: all or none. `permissive`: what can be sent is sent, and
        the problem of each other one stands in its place.
        """
        encoded_ones = [encoded(each) for each in messages]
        if permissive:
            return [
                *await self._run(
                    self._calls.batch_each(encoded_ones, idempotency_key=idempotency_key)
                )
            ]
        return [*await self._run(self._calls.batch(encoded_ones, idempotency_key=idempotency_key))]

    async def get(self, id: str) -> Message:
        """The message as it is now."""
        return await self._run(self._calls.get(id))

    async def wait(self, id: str, *, timeout: float = 60.0) -> Message:
        """The message once it is sent, failed or held. Raises NotYet after `timeout` seconds."""
        return await self._run(self._calls.wait(id, timeout=timeout))

    async def list(
        self, *, page_size: int = PAGE, **filters: Unpack[Filters]
    ) -> AsyncIterator[Message]:
        """The messages that match, newest first. Pages are read as they are needed."""
        cursor = None
        while True:
            page = await self._run(self._calls.page(filters, cursor, page_size))
            for message in page.items:
                yield message
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, id: str) -> Message:
        """Cancel a message that waits. Raises WrongState if it does not."""
        return await self._run(self._calls.act(id, "cancel"))

    async def retry(self, id: str) -> Message:
        """Send a failed or held message again. Raises WrongState if it is neither."""
        return await self._run(self._calls.act(id, "retry"))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _run(self, call: Call[T]) -> T:
        came = None
        while True:
            try:
                step = call.send(came)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                came = None
            else:
                came = await self._asked(step)

    async def _asked(self, ask: Ask) -> Answer | Lost:
        try:
            response = await self._http.request(**self._request(ask))
        except httpx2.RequestError as error:
            return _lost(error)
        return Answer(response.status_code, response.content, response.headers)


def _lost(error: httpx2.RequestError) -> Lost:
    never = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
    return Lost(str(error) or type(error).__name__, connected=not never)


def _read_key(given: str) -> str:
    """Raises ValueError for a file that cannot be read."""
    if not given.startswith("@"):
        return given.strip()
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"key: cannot read {given[1:]}: {error}") from error


def _checked(url: str) -> str:
    """The service's URL without a slash at its end. Raises ValueError."""
    url = url.strip().rstrip("/")
    if not url:
        raise ValueError("no url: give one such as http://127.0.0.1:8014, or set NOTIFIER_URL")
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        right = False
    if not right or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a service; write http://127.0.0.1:8014")
    if parts.username is not None:
        raise ValueError("url: an API key goes into `key` or NOTIFIER_KEY, not into the URL")
    return url
