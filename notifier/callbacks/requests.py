"""POST one callback. Whatever the application does, there is an answer in bounded time."""

import asyncio
import time
from collections.abc import Mapping

import httpx2

from notifier.callbacks.answers import Answer, reply_of
from notifier.exchange import Exchange
from notifier.http_client import http_client
from notifier.keys import Callback
from notifier.keys.callback import trust_of
from notifier.proxies import Proxy

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0  # from the first step to the status
BODY_SECONDS = 1.0  # for the text behind the status, which is only shown
LARGEST_ANSWER = 4096  # octets that are read of it
KEEPALIVE_SECONDS = 4.0  # below what servers allow, so that none closes under a request


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
        """The answer, or why there is none. Never raises but when it is cancelled."""
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
            reply = "it redirects, which is not followed"
        return Answer(
            code=code,
            reply=reply_of(reply.encode()),
            seconds=time.monotonic() - begun,
            retry_after=retry_after,
        )


async def _begin(response: httpx2.Response) -> str:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= LARGEST_ANSWER:
            break
    return reply_of(bytes(body[:LARGEST_ANSWER]))
