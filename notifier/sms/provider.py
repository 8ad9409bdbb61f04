"""An SMS provider by HTTP: the second way for a text message, beside the carriers' gateways."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import httpx2
import msgspec
import structlog
from msgspec import Struct

from notifier.attempts import Attempt, Envelope, Stage
from notifier.errors import Rejected
from notifier.sms.answers import Answer, Meaning, Verdict
from notifier.sms.bodies import Text
from notifier.sms.breaker import Breaker
from notifier.sms.exchange import Exchange
from notifier.sms.providerspec import ProviderSpec

CONNECTIONS = 8  # requests at a time
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # for one whole exchange
KEEPALIVE_SECONDS = 5.0  # below what servers allow, so that none closes under a request
LARGEST_ANSWER = 64 * 1024  # octets that are read of one

log = structlog.get_logger()

_decoder = msgspec.json.Decoder(Text)


def content(id: str, to: str, text: str) -> bytes:
    """What the journal keeps of a text message that goes by a provider."""
    return msgspec.json.encode(Text(id, to, text))


class ProviderState(Struct, frozen=True, kw_only=True):
    """How a provider fares, in the words that relays use."""

    name: str
    state: Literal["closed", "open", "probing", "paused"]  # of its breaker; closed: it works
    busy: int  # sends under way or waiting for a place
    limit: int  # requests at a time
    reason: str  # of the rest
    opens_at: datetime | None  # when it has rested
    sent: int
    failed: int


class Provider:
    """
    Offers each text once. What happened is told in the attempt. While the provider fails for
    all alike it is left to rest, longer each time, and then probed with one text.
    """

    def __init__(
        self,
        spec: ProviderSpec,
        *,
        trust: ssl.SSLContext | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = spec.name
        self._spec = spec
        self._clock = clock
        self._patience = answer_seconds
        self._breaker = Breaker()
        self._paused = False
        self._busy = 0
        self._sent = 0
        self._failed = 0
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._under_way: dict[asyncio.Timeout, Exchange] = {}
        self._stir = asyncio.Event()
        self._client = httpx2.AsyncClient(
            headers={
                "User-Agent": "notifier",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **spec.headers,
            },
            timeout=httpx2.Timeout(answer_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
            follow_redirects=False,  # a redirected POST would become a GET, or go who knows where
            trust_env=False,  # neither proxies nor .netrc from an environment that is not ours
            verify=trust or True,
        )

    async def close(self) -> None:
        self.abort_all()
        await self._client.aclose()

    def room(self) -> int:
        return self._room(self._clock())

    def _room(self, now: float) -> int:
        if self._paused or self._breaker.resting(now):
            return 0
        places = 1 if self._breaker.probing(now) else CONNECTIONS
        return max(0, places - self._busy)

    async def wait_for_room(self) -> None:
        # One look at the clock: a rest that ends between two would be waited for in vain.
        while not self._room(now := self._clock()):
            self._stir.clear()
            left = self._breaker.left(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left or None):
                    await self._stir.wait()

    def pause(self, name: str) -> None:
        """Ask nothing more of it. What is under way goes on. Raises Rejected on another name."""
        self._require(name)
        self._paused = True

    def resume(self, name: str) -> None:
        """Go on, at once also where it was resting: a person has looked at it."""
        self._require(name)
        self._paused = False
        self._breaker.close()
        self._stir.set()

    def _require(self, name: str) -> None:
        if name != self.name:
            raise Rejected(f"no provider has the name {name!r}")

    def states(self) -> list[ProviderState]:
        now = self._clock()
        return [
            ProviderState(
                name=self.name,
                state=self._state(now),
                busy=self._busy,
                limit=1 if self._breaker.probing(now) else CONNECTIONS,
                reason=self._breaker.reason,
                opens_at=self.next_probe_at(),
                sent=self._sent,
                failed=self._failed,
            )
        ]

    def next_probe_at(self) -> datetime | None:
        """When it has rested. None: it does not rest."""
        left = self._breaker.left(self._clock())
        return datetime.now(UTC) + timedelta(seconds=left) if left else None

    def _state(self, now: float) -> Literal["closed", "open", "probing", "paused"]:
        if self._paused:
            return "paused"
        if self._breaker.resting(now):
            return "open"
        return "probing" if self._breaker.probing(now) else "closed"

    def abort_all(self) -> None:
        """Cut off every request under way; each returns what is known of it."""
        for limit, exchange in self._under_way.items():
            if not limit.expired():
                exchange.give_up("cut off, because the service stops")
                limit.reschedule(asyncio.get_running_loop().time())

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        text = _decoder.decode(content)
        started_at, start = datetime.now(UTC), time.monotonic()
        verdict = await self._offer(text)
        failure, reply = verdict.failure, self._spec.struck(verdict.reply)
        if failure is not None:
            failure = msgspec.structs.replace(failure, reply=reply)
        return Attempt(
            relay=self.name,
            started_at=started_at,
            seconds=time.monotonic() - start,
            stage=failure.stage if failure else Stage.DOT,
            reply=reply,
            code=verdict.code,
            accepted=() if failure else envelope.recipients,
            failures=dict.fromkeys(envelope.recipients, failure) if failure else {},
            uncertain=verdict.uncertain,
            conversation=self._conversation(verdict, reply),
        )

    def _conversation(self, verdict: Verdict, reply: str) -> tuple[str, ...]:
        if verdict.code is None:
            return ()
        asked = self._spec.url.partition("?")[0]
        return (f"C: POST {asked}", f"S: {verdict.code} {reply}")

    async def _offer(self, text: Text) -> Verdict:
        exchange = Exchange()
        self._busy += 1
        try:
            await self._limited(text, exchange)
        finally:
            self._busy -= 1
            self._stir.set()
        verdict = exchange.verdict(self._spec)
        self._sent += verdict.failure is None
        self._failed += verdict.failure is not None
        if not exchange.ours:
            self._learn(verdict)
        return verdict

    async def _limited(self, text: Text, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = exchange
                async with self._places:
                    limit.reschedule(asyncio.get_running_loop().time() + self._patience)
                    await self._ask(text, exchange)
        except TimeoutError:
            if not exchange.ours:
                exchange.trouble = f"no answer within {self._patience:g} s"
        except httpx2.HTTPError as error:
            exchange.trouble = f"{type(error).__name__}: {error}".rstrip(": ")
        finally:
            self._under_way.pop(limit, None)
            await exchange.hang_up()

    async def _ask(self, text: Text, exchange: Exchange) -> None:
        if reason := self._shut():
            exchange.give_up(reason)
            return
        headers = {}
        if self._spec.idempotency_header:
            headers[self._spec.idempotency_header] = text.id
        async with self._client.stream(
            "POST",
            self._spec.url,
            content=self._spec.write(text),
            headers=headers,
            extensions={"trace": exchange.trace},
        ) as response:
            answer = Answer(
                response.status_code,
                retry_after=response.headers.get("Retry-After"),
                json="json" in response.headers.get("Content-Type", "").lower(),
                whole=False,
            )
            exchange.answer = answer  # it stands, also where its body is cut off
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                exchange.answer = msgspec.structs.replace(answer, body=bytes(body[:LARGEST_ANSWER]))
                if len(body) >= LARGEST_ANSWER:
                    return
            exchange.answer = msgspec.structs.replace(exchange.answer, whole=True)

    def _shut(self) -> str:
        """Why nothing may be asked of it now, by a message that was claimed before; or empty."""
        now = self._clock()
        if self._paused:
            return f"{self.name} is paused"
        if self._breaker.resting(now):
            return f"{self.name} rests: {self._breaker.reason}"
        if self._breaker.probing(now) and self._busy > 1:
            return f"{self.name} is being probed: {self._breaker.reason}"
        return ""

    def _learn(self, verdict: Verdict) -> None:
        now, reason = self._clock(), self._spec.struck(verdict.reply)
        rested = self._breaker.resting(now)
        if verdict.failure is None:
            self._breaker.took(now)
        match verdict.meaning:
            case Meaning.FINE if not rested:  # what was under way does not cut a rest short
                self._breaker.close()
            case Meaning.DOUBT:
                self._breaker.doubt(now, reason)
            case Meaning.TROUBLE:
                self._breaker.strike(now, reason)
            case Meaning.BUSY | Meaning.ACCOUNT:
                self._breaker.open(now, reason, at_least=verdict.rest)
        if not rested and self._breaker.resting(now):
            seconds = round(self._breaker.left(now), 1)
            log.warning("provider_rests", provider=self.name, seconds=seconds, reason=reason)
