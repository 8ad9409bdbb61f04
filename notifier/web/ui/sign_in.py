"""Sign in with an API key, so that a browser can look and act: /sign-in and /sign-out."""

from typing import NoReturn

import structlog
from litestar import post, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.json import Decoder

from notifier.intake.rates import Limits
from notifier.keys import KeyScope
from notifier.service import Notifier
from notifier.web.auth import COOKIE, SECURE_COOKIE, Door, cookie_of, id_in
from notifier.web.bodies import AnyRequest, decode, read_json
from notifier.web.openapi import GET
from notifier.web.origins import address_of, is_secure
from notifier.web.problems import WrongKey
from notifier.web.responses import NO_STORE, Answer, encode
from notifier.web.ui.layout import Shell

LONGEST = 1024  # octets of a body that holds a key
WRONG_A_MINUTE = 10  # keys that one address may try in vain
MOST_ADDRESSES = 10_000  # whose tries are counted; past it, counting begins anew

log = structlog.get_logger()


class Given(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody signs in with."""

    key: str


class SignedIn(Struct, frozen=True):
    """As whom, and for what."""

    name: str
    scopes: list[KeyScope]


_given = Decoder(Given)


class Signing:
    """
    The key begins a session, whose token stays in a cookie that no script can read and that no
    other site can have sent. It is checked at every request, and its key with it.
    """

    def __init__(self, service: Notifier, door: Door, shell: Shell) -> None:
        self._door = door
        self._sessions = service.sessions
        self._wrong = Limits()
        self._shell = shell
        self._path = service.settings.public_path or "/"

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/sign-in", http_method=GET)(self.page),
            post("/sign-in", status_code=200)(self.sign_in),
            post("/sign-out", status_code=200)(self.sign_out),
        ]

    async def page(self, request: AnyRequest) -> Answer:
        return await self._shell.page(request, "sign-in.html")

    async def sign_in(self, request: AnyRequest) -> Answer:
        body = await read_json(request, dict(request.scope["headers"]), limit=LONGEST)
        presented = decode(_given, body).key.strip()
        try:
            key = self._door.key_named(presented)
        except WrongKey as error:
            self._refuse(request, presented, error)
        if before := cookie_of(request):
            await self._sessions.end(before)
        token = await self._sessions.begin(key)
        log.info("signed_in", by=f"monitor:{key.name}", client=address_of(request))
        known = SignedIn(key.name, [scope for scope in KeyScope if key.may(scope)])
        return Answer(encode(known), headers=[NO_STORE, self._cookie(request, token)])

    async def sign_out(self, request: AnyRequest) -> Answer:
        if token := cookie_of(request):
            key = await self._sessions.known(token)
            await self._sessions.end(token)
            if key is not None:
                log.info("signed_out", by=f"monitor:{key.name}", client=address_of(request))
        return Answer(b"{}", headers=[NO_STORE, self._cookie(request, "", b"; Max-Age=0")])

    def _refuse(self, request: AnyRequest, presented: str, error: WrongKey) -> NoReturn:
        """
        Raises 429 for too many wrong keys from one address, else what is wrong. A right key is
        never put off: neither by others behind the same proxy, nor by who tries theirs.
        """
        address = address_of(request)
        log.warning("sign_in_refused", client=address, key_id=id_in(presented), reason=str(error))
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong = Limits()
        verdict = self._wrong.take(address, rate=WRONG_A_MINUTE, daily=None)
        if not verdict.allowed:
            raise HTTPException(
                status_code=429,
                detail=f"too many wrong keys from {address}",
                headers={"Retry-After": str(verdict.retry_after)},
            )
        raise error

    def _cookie(self, request: AnyRequest, value: str, more: bytes = b"") -> tuple[bytes, bytes]:
        """RFC 6265bis: for us alone, until the browser is closed."""
        secure = is_secure(request)
        name, path = (SECURE_COOKIE, "/") if secure else (COOKIE, self._path)
        rules = f"; Path={path}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}".encode()
        return b"set-cookie", f"{name}={value}".encode() + rules + more
