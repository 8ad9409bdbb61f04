"""
A mailbox that sends: `POST /users/{mailbox}/sendMail` with the source of a message in base64.
https://learn.microsoft.com/graph/api/user-sendmail
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from email.parser import HeaderParser
from email.utils import getaddresses
from urllib.parse import quote

import httpx2

from notifier.attempts import Attempt, Envelope, Failure, Scope, Stage
from notifier.exchange import Exchange
from notifier.findings import Finding
from notifier.graph.answers import Answer, judge
from notifier.http_client import http_client, read_at_most
from notifier.relayspec import RelaySpec
from notifier.tokens import NoToken, Token, Tokens

USUAL_BASE = "https://graph.microsoft.com"
LARGEST_REQUEST = 4 * 1024 * 1024  # octets, of the source in base64
LARGEST_ANSWER = 64 * 1024
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0  # for one whole exchange
KEEPALIVE_SECONDS = 5.0  # below what servers allow, so that none closes under a request
NOT_LET_IN = 401
STOPPED = "cut off because the service is stopping"
FOLD = "\r\n "  # RFC 5322, section 2.2.3
LONGEST_HEADER = 256 * 1024  # octets of all fields
# Invalid base64. Graph checks permission first, so a caller that may send gets this error.
NO_MESSAGE = b"!"


class Graph:
    """
    Offers each message once, and reports the outcome. If a token is refused, a new one is fetched
    once.
    """

    idle = 0  # the client keeps its connections, and does not say how many

    def __init__(
        self,
        spec: RelaySpec,
        tokens: Tokens,
        *,
        trust: ssl.SSLContext | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._url = url_of(spec)
        self._tokens = tokens
        self._answer_seconds = answer_seconds
        self._under_way: dict[asyncio.Timeout, Exchange] = {}
        self._client = client(spec, answer_seconds=answer_seconds, trust=trust)

    @property
    def busy(self) -> int:
        return len(self._under_way)

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        recipients = envelope.recipients
        source = addressed(content, recipients)
        if source is None:
            reason = (
                "the header of the message names other recipients than its envelope, "
                "and Microsoft Graph would send it to them, too"
            )
            return _failed(_unfit("other_recipients", reason), recipients)
        body = base64.b64encode(source)
        if len(body) > LARGEST_REQUEST:
            most = LARGEST_REQUEST // 4 * 3
            reason = f"the message has {len(source)} octets, Microsoft Graph takes {most} at most"
            return _failed(_unfit("too_large", reason), recipients)
        try:
            token, answer, exchange = await self._post(self._tokens.get(), body)
            again = answer is not None and answer.status == NOT_LET_IN and not exchange.ours
            if token is not None and again:
                _, answer, exchange = await self._post(self._tokens.renew(token), body)
        except NoToken as error:
            return _failed(_relay_failure(Stage.AUTH, error.name, str(error)), recipients)
        asked = f"C: POST {self._url} ({len(source)} octets)"
        return self._outcome(answer, exchange, recipients, asked)

    def _outcome(
        self, answer: Answer | None, exchange: Exchange, recipients: Sequence[str], asked: str
    ) -> Attempt:
        if answer is None:
            stage = Stage.DOT if exchange.sent else exchange.stage
            name = "aborted" if exchange.ours else "timeout" if exchange.sent else "connect_failed"
            failure = _relay_failure(stage, name, exchange.trouble)
            lines = (asked, f"   {exchange.trouble}")
            return _failed(failure, recipients, lines, uncertain=exchange.sent)
        verdict, lines = judge(answer), (asked, f"S: {answer.reply}")
        if verdict.failure is not None:
            return _failed(verdict.failure, recipients, lines, uncertain=verdict.uncertain)
        return Attempt(
            Stage.DOT, answer.reply, answer.status, tuple(recipients), conversation=lines
        )

    async def _post(
        self, getting: Awaitable[Token], body: bytes
    ) -> tuple[Token | None, Answer | None, Exchange]:
        """The token, the answer, or None, and how far the request came."""
        exchange, token, answer = Exchange(), None, None
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = exchange
                token = await getting
                if not exchange.ours:  # else it is expiring
                    limit.reschedule(asyncio.get_running_loop().time() + self._answer_seconds)
                answer = await post(self._client, self._url, token, body, exchange)
        except TimeoutError:
            if not exchange.ours:
                exchange.trouble = f"no answer within {self._answer_seconds:g} s"
        except (httpx2.HTTPError, OSError) as error:
            exchange.trouble = f"{type(error).__name__}: {error}".rstrip(": ")
        finally:
            self._under_way.pop(limit, None)
            await exchange.hang_up()
        return token, answer, exchange

    def ease(self, most: int) -> None:
        """Nothing: a connection that is kept for the next request is no load."""

    def abort_all(self) -> None:
        """Abort every request under way. Each returns with what is known of it."""
        for limit, exchange in self._under_way.items():
            if not limit.expired():
                exchange.give_up(STOPPED)
                limit.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        self.abort_all()
        await self._client.aclose()


def url_of(spec: RelaySpec) -> str:
    """The URL at which the mailbox sends."""
    mailbox = quote(spec.mailbox or "", safe="@")
    return f"{spec.base or USUAL_BASE}/v1.0/users/{mailbox}/sendMail"


def client(
    spec: RelaySpec, *, answer_seconds: float, trust: ssl.SSLContext | None = None
) -> httpx2.AsyncClient:
    return http_client(
        url_of(spec),
        proxy=spec.proxy,
        seconds=answer_seconds,
        connect_seconds=CONNECT_SECONDS,
        headers={},
        limits=httpx2.Limits(max_connections=spec.connections, keepalive_expiry=KEEPALIVE_SECONDS),
        trust=trust,
    )


async def post(
    client: httpx2.AsyncClient, url: str, token: Token, body: bytes, exchange: Exchange
) -> Answer:
    """One request. Raises httpx2.HTTPError."""
    async with client.stream(
        "POST",
        url,
        content=body,
        headers={"Authorization": f"Bearer {token.value}", "Content-Type": "text/plain"},
        extensions={"trace": exchange.trace},
    ) as response:
        try:
            heard = await read_at_most(response, LARGEST_ANSWER)
        except httpx2.HTTPError:  # the status is known, and decides
            heard = b""
        return Answer(
            response.status_code,
            heard,
            response.headers.get("Retry-After", ""),
            response.headers.get("request-id", "")[:64],
        )


def _relay_failure(stage: Stage, name: str, reason: str) -> Failure:
    return Failure(scope=Scope.RELAY, permanent=False, stage=stage, reply=reason, name=name)


def _unfit(name: str, reason: str) -> Failure:
    """A failure: Graph can never take this message. It was not asked; another relay may take it."""
    return Failure(scope=Scope.RELAY, permanent=True, stage=Stage.MAIL, reply=reason, name=name)


def _failed(
    failure: Failure,
    recipients: Sequence[str],
    conversation: tuple[str, ...] = (),
    *,
    uncertain: bool = False,
) -> Attempt:
    return Attempt(
        failure.stage,
        failure.reply,
        failure.code,
        failures=dict.fromkeys(recipients, failure),
        uncertain=uncertain,
        conversation=conversation or (f"   {failure.reply}",),
    )


def addressed(content: bytes, recipients: tuple[str, ...]) -> bytes | None:
    """
    The source that reaches these recipients and nobody else. None: that is impossible.

    There is no envelope: the mail goes to everybody in To, Cc and Bcc. So hidden recipients are
    added as a Bcc field, which Exchange removes. A message whose headers name others than its
    recipients cannot be sent this way, because they would get it, too.
    """
    end = content.find(b"\r\n\r\n")
    if not 0 <= end <= LONGEST_HEADER:
        return None
    fields = HeaderParser().parsestr(content[: end + 2].decode("utf-8", "surrogateescape"))
    named = [value for name in ("To", "Cc", "Bcc") for value in fields.get_all(name, [])]
    visible = {address.casefold() for _, address in getaddresses(named) if address}
    wanted = {address.casefold(): address for address in recipients}
    if not visible <= wanted.keys():
        return None
    hidden = [address for folded, address in wanted.items() if folded not in visible]
    if not hidden:
        return content
    return f"Bcc: {f',{FOLD}'.join(f'<{each}>' for each in hidden)}\r\n".encode() + content


async def probe(spec: RelaySpec, tokens: Tokens) -> AsyncIterator[Finding]:
    """
    Check a mailbox; no mail is sent. The finding of each step, as it is made. A failed one has the
    fault's name as its remedy.
    """
    try:
        token = await tokens.get()
    except NoToken as error:
        yield Finding("token", False, str(error), error.name)
        return
    until = f"{token.good_until:%Y-%m-%d %H:%M:%S} UTC"
    yield Finding("token", True, f"from {token.source}, good until {until}")
    async with client(spec, answer_seconds=ANSWER_SECONDS) as asking:
        try:
            answer = await post(asking, url_of(spec), token, NO_MESSAGE, Exchange())
        except (httpx2.HTTPError, OSError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            yield Finding("sendMail", False, said, "connect_failed")
            return
    failure = judge(answer).failure
    if answer.status == httpx2.codes.BAD_REQUEST and failure is not None and not failure.name:
        said = f"{spec.mailbox} may send; what was not a message was refused: {answer.reply}"
        yield Finding("sendMail", True, said)
    else:
        yield Finding("sendMail", False, answer.reply, failure.name if failure else "")
