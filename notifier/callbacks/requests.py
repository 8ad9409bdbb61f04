"""One callback over HTTP: its body, its signature, and a POST that ends in bounded time."""

import asyncio
import base64
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx2
import msgspec

from notifier.callbacks.answers import LONGEST_REPLY, Answer
from notifier.characters import one_line
from notifier.exchange import Exchange
from notifier.http_client import http_client
from notifier.keys import Callback
from notifier.keys.callback import secret_bytes, trust_of
from notifier.proxies import Proxy

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0  # from the first step to the status
BODY_SECONDS = 1.0  # for the text behind the status, which is only shown
LARGEST_ANSWER = 4096  # octets that are read of it
KEEPALIVE_SECONDS = 4.0  # below what servers allow, so that none closes under a request
LARGEST_BODY = 256 * 1024  # octets; what is larger is shown without its history, then shorter still
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
# What is left out of a large message, in this order, until it fits.
_HISTORY = ("attempts", "timeline")
_LISTS = ("recipients", "metadata", "tags", "warnings")


class Sender:
    """The HTTP client of one URL."""

    def __init__(self, callback: Callback, *, proxy: Proxy | None, connections: int) -> None:
        self._url = callback.url
        self._client = http_client(
            callback.url,
            proxy=proxy,
            seconds=ANSWER_SECONDS,
            connect_seconds=CONNECT_SECONDS,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            limits=httpx2.Limits(max_connections=connections, keepalive_expiry=KEEPALIVE_SECONDS),
            trust=trust_of(callback.ca_file) if callback.ca_file else None,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, or why there is none. Raises only if it is cancelled."""
        begun = time.monotonic()
        code, retry_after, reply = None, None, ""
        exchange = Exchange()
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as limit:
                async with self._client.stream(
                    "POST",
                    self._url,
                    content=body,
                    headers=headers,
                    extensions={"trace": exchange.trace},
                ) as response:
                    code = response.status_code  # valid even if the text behind it never ends
                    retry_after = response.headers.get("Retry-After")
                    limit.reschedule(asyncio.get_running_loop().time() + BODY_SECONDS)
                    reply = await _begin(response)
        except TimeoutError:
            if code is None:
                reply = f"no answer within {ANSWER_SECONDS:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            reply = f"{type(error).__name__}: {error}".rstrip(": ")
        finally:
            await exchange.hang_up()
        if code is not None and 300 <= code < 400:
            reply = "it redirects; redirects are not followed"
        return Answer(
            code=code,
            reply=one_line(reply, LONGEST_REPLY),
            seconds=time.monotonic() - begun,
            retry_after=retry_after,
        )


async def _begin(response: httpx2.Response) -> str:
    """The beginning of the body, not decompressed, so that a few octets cannot become many."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= LARGEST_ANSWER:
            break
    return body[:LARGEST_ANSWER].decode("utf-8", "replace")


def body_of(event: str, at: datetime, version: int, message: bytes) -> bytes:
    """
    The body. `message`: the JSON that GET shows. `abridged` is there and true if a part of the
    message had to be left out.
    """
    data: Any = msgspec.Raw(message)
    if len(message) <= LARGEST_BODY:
        return _written(event, at, version, data, {})
    data = _decode(message)
    for name in (*_HISTORY, *_LISTS):
        data.pop(name, None)
        if len(body := _written(event, at, version, data, {"abridged": True})) <= LARGEST_BODY:
            break
    return body


def _written(event: str, at: datetime, version: int, data: object, more: dict[str, bool]) -> bytes:
    return _encode({"type": event, "timestamp": at, "version": version, "data": data} | more)


def signed_headers(id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """
    The header fields of one try: one signature for each secret, so that secrets can rotate.
    Standard Webhooks 1.0.0, https://www.standardwebhooks.com.
    """
    timestamp = str(int(at.timestamp()))
    content = b".".join((id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(content, secret) for secret in secrets),
    }


def _signature(content: bytes, secret: str) -> str:
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), content, "sha256")).decode()
