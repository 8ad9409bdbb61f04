"""Ask a token endpoint. RFC 6749, section 4.4; RFC 7523, section 2."""

import asyncio
import base64
from pathlib import Path
from urllib.parse import quote

import httpx2
from msgspec import Struct

from notifier.http_client import http_client, read_at_most
from notifier.oauth import programs
from notifier.oauth.answers import LARGEST_ANSWER, Fetched, of_an_endpoint
from notifier.oauth.sections import Kind, Section
from notifier.proxies import Proxy
from notifier.tokens import DENIED, UNAVAILABLE, NoToken

SECONDS = 30.0  # for one token
CONNECT_SECONDS = 10.0
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_CLIENT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Asked(Struct, frozen=True):
    """The request to the endpoint. All of it is secret."""

    form: dict[str, str]
    headers: dict[str, str]
    secret: str  # no text may repeat it

    def __repr__(self) -> str:
        """Without what is in it."""
        return "_Asked()"


async def fetch(section: Section, *, seconds: float = SECONDS) -> Fetched:
    """Fetch a new token. Raises NoToken."""
    if section.kind is Kind.COMMAND:
        return await programs.run(section.command, seconds=seconds)
    asked = await asyncio.to_thread(_asked, section)  # it reads a file, and may sign
    try:
        async with asyncio.timeout(seconds):
            status, body = await _post(section.token_url, asked, section.proxy)
    except TimeoutError:
        reason = f"{section.token_url} did not answer within {seconds:g} s"
        raise NoToken(UNAVAILABLE, reason) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        why = str(error) or type(error).__name__
        raise NoToken(UNAVAILABLE, f"{section.token_url} was not reached: {why}") from None
    return of_an_endpoint(status, body, section.token_url, asked.secret)


async def _post(url: str, asked: _Asked, proxy: Proxy | None) -> tuple[int, bytes]:
    """POST with a client and a connection of its own, because it happens once an hour."""
    async with (
        http_client(  # the secret is for this URL alone
            url,
            proxy=proxy,
            seconds=SECONDS,
            connect_seconds=CONNECT_SECONDS,
            headers=asked.headers,
        ) as client,
        client.stream("POST", url, data=asked.form) as response,
    ):
        return response.status_code, await read_at_most(response, LARGEST_ANSWER)


def _asked(section: Section) -> _Asked:
    """The request. Raises NoToken if a file of the operator's has changed since the start."""
    try:
        return _request(section)
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        reason = (
            f"{section.secret_file} cannot be read, or no longer holds what it held at the start"
        )
        raise NoToken(DENIED, reason) from None


def _request(section: Section) -> _Asked:
    if section.kind is Kind.SERVICE_ACCOUNT:
        from notifier.oauth.assertions import by_service_account

        assertion = by_service_account(section)
        return _Asked({"grant_type": JWT_BEARER, "assertion": assertion}, {}, assertion)
    form = {"grant_type": "client_credentials"}
    if section.scope:
        form["scope"] = section.scope
    if section.kind is Kind.CERTIFICATE:
        from notifier.oauth.assertions import by_certificate

        assertion = by_certificate(section)
        form |= {
            "client_id": section.client_id,
            "client_assertion_type": JWT_CLIENT,
            "client_assertion": assertion,
        }
        return _Asked(form, {}, assertion)
    secret = Path(section.secret_file).read_text(encoding="utf-8").strip()
    if section.preset == "microsoft":
        return _Asked(form | {"client_id": section.client_id, "client_secret": secret}, {}, secret)
    # RFC 6749, section 2.3.1: what every endpoint must understand.
    pair = f"{quote(section.client_id, safe='')}:{quote(secret, safe='')}"
    basic = base64.b64encode(pair.encode()).decode()
    return _Asked(form, {"Authorization": f"Basic {basic}"}, secret)
