"""Sign in with an API key, so that a browser can look and act: /sign-in and /sign-out."""

from typing import NoReturn

import structlog
from litestar import Response
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.json import Decoder

from notifier.intake.rates import Limits
from notifier.keys import KeyScope
from notifier.service import Notifier
from notifier.web.auth import COOKIE, SECURE_COOKIE, Authentication, cookie_of, id_in
from notifier.web.bodies import AnyRequest, decode, read_json
from notifier.web.forwarded import address_of, is_secure
from notifier.web.problems import WrongKey
from notifier.web.routes import OPEN, get, post
from notifier.web.ui.layout import Layout

LONGEST = 1024  # octets of a body with a key
WRONG_A_MINUTE = 10  # wrong keys that one address may try
MOST_ADDRESSES = 10_000  # addresses that are counted; above this number, counting starts again

log = structlog.get_logger()


class Given(Struct, frozen=True, forbid_unknown_fields=True):
    """The key to sign in with."""

    key: str


class SignedIn(Struct, frozen=True):
    """The key's name, and what it may do."""

    name: str
    scopes: list[KeyScope]


_given = Decoder(Given)


class SignIn:
    """
    Signing in with a key begins a session. The session's token is in a cookie that no script can
    read and no other site can send. Each request checks the session and its key.
    """

    def __init__(self, service: Notifier, authentication: Authentication, layout: Layout) -> None:
        self._authentication = authentication
        self._sessions = service.sessions
        self._audit = service.audit
        self._wrong = Limits()
        self._layout = layout
        self._path = service.settings.public_path or "/"

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/sign-in", self.page, OPEN),
            post("/sign-in", self.sign_in, OPEN, own_record=True),
            post("/sign-out", self.sign_out, OPEN, own_record=True),
        ]

    async def page(self, request: AnyRequest) -> Response[bytes]:
        return await self._layout.page(request, "sign-in.html")

    async def sign_in(self, request: AnyRequest) -> Response[SignedIn]:
        if login := self._authentication.login_of(request):
            raise HTTPException(
                status_code=409,
                detail=(
                    f"you are signed in as {login.person} by the company's login, which "
                    "takes precedence over a session with a key"
                ),
            )
        body = await read_json(request, dict(request.scope["headers"]), limit=LONGEST)
        presented = decode(_given, body).key.strip()
        try:
            key = self._authentication.key_named(presented)
        except WrongKey as error:
            of = f"key {id}: " if (id := id_in(presented)) else ""
            await self._audit.note_refused_sign_in(on=address_of(request), detail=f"{of}{error}")
            self._refuse(request, presented, error)
        if before := cookie_of(request):
            await self._sessions.end(before)
        by, address = f"monitor:{key.name}", address_of(request)
        token = await self._sessions.begin(key, self._audit.statement(by, "sign-in", on=address))
        log.info("signed_in", by=by, client=address)
        known = SignedIn(key.name, [scope for scope in KeyScope if key.may(scope)])
        return Response(known, cookies=[self._cookie(request, token)])

    async def sign_out(self, request: AnyRequest) -> Response[dict[str, str]]:
        if token := cookie_of(request):
            key = await self._sessions.known(token)
            if key is None:
                await self._sessions.end(token)
            else:
                by, address = f"monitor:{key.name}", address_of(request)
                record = self._audit.statement(by, "sign-out", on=address)
                await self._sessions.end(token, record)
                log.info("signed_out", by=by, client=address)
        return Response({}, cookies=[self._cookie(request, "", max_age=0)])

    def _refuse(self, request: AnyRequest, presented: str, error: WrongKey) -> NoReturn:
        """
        Raise 429 after too many wrong keys from one address, else the error. A valid key is never
        refused because of wrong keys from behind the same proxy.
        """
        address = address_of(request)
        log.warning("sign_in_refused", client=address, key_id=id_in(presented), reason=str(error))
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong = Limits()
        verdict = self._wrong.take(address, rate=WRONG_A_MINUTE, daily=None)
        if not verdict.allowed:
            raise HTTPException(
                status_code=429,
                detail=f"too many wrong keys from {address}; wait and try again",
                headers={"Retry-After": str(verdict.retry_after)},
            )
        raise error

    def _cookie(self, request: AnyRequest, value: str, *, max_age: int | None = None) -> Cookie:
        """A cookie for this host alone, until the browser is closed. RFC 6265bis."""
        secure = is_secure(request)
        return Cookie(
            key=SECURE_COOKIE if secure else COOKIE,
            value=value,
            path="/" if secure else self._path,
            max_age=max_age,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
