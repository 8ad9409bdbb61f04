"""The client of an SMS provider."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import structlog
from msgspec import Struct

from notifier.attempts import Attempt, Envelope, Stage
from notifier.breaker import Breaker, Rests, Setback, State
from notifier.errors import Rejected
from notifier.http_client import http_client
from notifier.sms.provider.policy import Answer, Meaning, Verdict, judge, silence
from notifier.sms.provider.request import Asked, Text
from notifier.sms.provider.spec import ProviderSpec
from notifier.supervisor import wait_at_most

CONNECTIONS = 8  # requests at a time
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # for one whole exchange
KEEPALIVE_SECONDS = 5.0  # below what servers allow, so that none closes under a request
LARGEST_ANSWER = 64 * 1024  # octets that are read of one
LONGEST_ASKED = 3600.0  # seconds of rest that a provider may ask for
RESTS = Rests(spread=0.0)

log = structlog.get_logger()

_decoder = msgspec.json.Decoder(Text)


class ProviderState(Struct, frozen=True, kw_only=True):
    """The state of a provider, in the terms of a relay."""

    name: str
    state: State
    busy: int  # sends under way or waiting for a place
    limit: int  # requests at a time
    reason: str  # of the rest
    opens_at: datetime | None  # when it has rested
    sent: int
    failed: int


class Provider:
    """
    Offers each text once, and reports in the attempt what happened.

    A provider that fails for every message rests, each time longer, and is then tried with one
    text.
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
        self._answer_seconds = answer_seconds
        self._breaker = Breaker(
            full=CONNECTIONS, rests=RESTS, clock=clock, random=random.random, slow_start=False
        )
        self._reason = ""  # of the rest
        self._paused = False
        self._busy = 0
        self._sent = 0
        self._failed = 0
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._under_way: dict[asyncio.Timeout, Asked] = {}
        self._stir = asyncio.Event()
        self._client = http_client(
            spec.url,
            proxy=spec.proxy,
            seconds=answer_seconds,
            connect_seconds=CONNECT_SECONDS,
            headers={"Accept-Encoding": "identity", **spec.headers},
            limits=httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
            trust=trust,
        )

    async def close(self) -> None:
        self.abort_all()
        await self._client.aclose()

    def room(self) -> int:
        if self._paused or not self._breaker.fit:
            return 0
        return max(0, self._limit() - self._busy)

    def _limit(self) -> int:
        return self._breaker.capacity if self._breaker.state is State.CLOSED else 1

    @property
    def paced(self) -> bool:
        return False

    async def wait_for_room(self) -> None:
        while True:
            left = (
                self._breaker.left
            )  # before the test for room, because the rest may end in between
            if self.room():
                return
            self._stir.clear()
            await wait_at_most(self._stir, left or None)

    def pause(self, name: str) -> None:
        """Send no more requests; those under way are finished. Raises Rejected for another name."""
        self._require(name)
        self._paused = True

    def resume(self, name: str) -> None:
        """Send again, also if it rested: a person may know better."""
        self._require(name)
        self._paused = False
        self._breaker.reset()
        self._stir.set()

    def _require(self, name: str) -> None:
        if name != self.name:
            raise Rejected(f"no provider has the name {name!r}")

    def states(self) -> list[ProviderState]:
        state = self._state()
        return [
            ProviderState(
                name=self.name,
                state=state,
                busy=self._busy,
                limit=1 if state is State.PROBING else CONNECTIONS,
                reason="" if self._breaker.state is State.CLOSED else self._reason,
                opens_at=self.next_probe_at(),
                sent=self._sent,
                failed=self._failed,
            )
        ]

    def _state(self) -> State:
        if self._paused:
            return State.PAUSED
        rested = self._breaker.state is State.OPEN and self._breaker.fit
        return State.PROBING if rested else self._breaker.state

    def next_probe_at(self) -> datetime | None:
        """When the rest ends. None: the provider does not rest."""
        left = self._breaker.left
        return datetime.now(UTC) + timedelta(seconds=left) if left else None

    def abort_all(self) -> None:
        """Abort every request under way. Each returns with what is known of it."""
        for limit, exchange in self._under_way.items():
            if not limit.expired():
                exchange.give_up("cut off because the service is stopping")
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
        exchange = Asked()
        self._busy += 1
        verdict = None
        try:
            await self._limited(text, exchange)
            verdict = self._verdict(exchange)
        finally:
            self._busy -= 1
            self._learn(exchange, verdict)
            self._stir.set()
        self._sent += verdict.failure is None
        self._failed += verdict.failure is not None
        return verdict

    def _verdict(self, exchange: Asked) -> Verdict:
        spec = self._spec
        repeatable = spec.idempotency_header is not None
        if exchange.answer is None:
            return silence(
                exchange.trouble, sent=exchange.sent, stage=exchange.stage, repeatable=repeatable
            )
        return judge(
            exchange.answer,
            codes=spec.codes,
            repeatable=repeatable,
            now=datetime.now(UTC),
            expected=spec.expected,
        )

    async def _limited(self, text: Text, exchange: Asked) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = exchange
                async with self._places:
                    limit.reschedule(asyncio.get_running_loop().time() + self._answer_seconds)
                    await self._ask(text, exchange)
        except TimeoutError:
            if not exchange.ours:
                exchange.trouble = f"no answer within {self._answer_seconds:g} s"
        except httpx2.HTTPError as error:
            exchange.trouble = f"{type(error).__name__}: {error}".rstrip(": ")
        finally:
            self._under_way.pop(limit, None)
            await exchange.hang_up()

    async def _ask(self, text: Text, exchange: Asked) -> None:
        if reason := self._shut():
            exchange.give_up(reason)
            return
        exchange.ticket = self._breaker.begin()
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
            exchange.answer = answer  # the status is valid even if the body is cut off
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                exchange.answer = msgspec.structs.replace(answer, body=bytes(body[:LARGEST_ANSWER]))
                if len(body) >= LARGEST_ANSWER:
                    return
            exchange.answer = msgspec.structs.replace(exchange.answer, whole=True)

    def _shut(self) -> str:
        """Why a claimed message may not be offered now; empty: it may."""
        if self._paused:
            return f"{self.name} is paused"
        if self._breaker.fit:
            return ""
        state = "is being probed" if self._breaker.state is State.PROBING else "rests"
        return f"{self.name} {state}: {self._reason}"

    def _learn(self, exchange: Asked, verdict: Verdict | None) -> None:
        """Tell the breaker what a request has shown. No verdict: the request was cancelled."""
        breaker, ticket = self._breaker, exchange.ticket
        if ticket is None:  # nothing was asked
            return
        if verdict is None or exchange.ours:
            breaker.forget(ticket)
            return
        before, reason = breaker.state, self._spec.struck(verdict.reply)
        setback = _setback(verdict, takes=breaker.takes)
        breaker.end(ticket, setback, took=verdict.failure is None)
        if setback is not None and breaker.state is State.OPEN:
            self._reason = reason
            if before is not State.OPEN:
                seconds = round(breaker.left, 1)
                log.warning("provider_rests", provider=self.name, seconds=seconds, reason=reason)


def _setback(verdict: Verdict, *, takes: bool) -> Setback | None:
    """What a verdict says about the provider. None: it works. `takes`: it took a text lately."""
    match verdict.meaning:
        case Meaning.FINE:
            return None
        case Meaning.DOUBT:
            return None if takes else Setback(in_doubt=True)
        case Meaning.TROUBLE:
            return Setback()
        case Meaning.BUSY | Meaning.ACCOUNT:
            return Setback(at_once=True, at_least=min(verdict.rest, LONGEST_ASKED))
