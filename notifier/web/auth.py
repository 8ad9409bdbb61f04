"""Authentication and authorization: API keys, sessions of browsers, logins, scopes of routes."""

import contextlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog
from litestar import Request
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec.structs import replace

from notifier.clock import Clock, utc_now
from notifier.deliveries import Delivery
from notifier.errors import Forbidden, MessageNotFound, Unauthorized
from notifier.journal import Filter
from notifier.keys import PREFIX, Key, KeyScope
from notifier.service import Notifier
from notifier.settings import may_be_anonymous
from notifier.web.audited import audited
from notifier.web.bodies import AnyRequest
from notifier.web.forwarded import address_of, is_secure
from notifier.web.hosts import KEYLESS, SAFE, Hosts, refuse_foreign
from notifier.web.logins import Login, Logins, Visitor
from notifier.web.parameters import read_id
from notifier.web.problems import WrongKey
from notifier.web.routes import ACCESS, AUDIT, STREAM, Access, access_to
from notifier.web.sse import Watch, until

KEY, BY = "notifier_key", "notifier_by"  # in the request's state
ANONYMOUS = "anonymous"
BEARER = b"bearer "
# A stream of somebody whom a proxy has signed in ends after it. The browser opens it again, and the
# proxy names the person again.
LOGIN_STREAM = timedelta(minutes=5)
COOKIE = "notifier_session"
SECURE_COOKIE = "__Host-notifier_session"  # behind TLS: no other host can have set it; RFC 6265bis

# A key's id may be logged. Anything else could be part of a secret.
_ID = re.compile(r"ntf_([0-9a-f]{12})_")

log = structlog.get_logger()


class NotOwn(MessageNotFound):
    """The error does not say whether the message exists."""

    def __init__(self, id: str, key: Key) -> None:
        super().__init__(id)
        self.args = (
            f"the key {key.name!r} has sent no message with the id {id!r};"
            " to see messages of other keys, a key needs the scope 'read'",
        )


def key_of(request: AnyRequest) -> Key | None:
    """The API key of the request. None: an anonymous caller, which is allowed."""
    key: Key | None = request.scope["state"].get(KEY)
    return key


def by_of(request: AnyRequest) -> str:
    """Who acts, as in timelines and logs: `key:shop`, `monitor:shop`, `login:ann`, `anonymous`."""
    if session := session_of(request):
        return session
    key = key_of(request)
    return ANONYMOUS if key is None else f"key:{key.name}"


def session_of(request: AnyRequest) -> str:
    """`by_of` for a caller with a session or a login; empty: the caller has neither."""
    by: str = request.scope["state"].get(BY, "")
    return by


def caller_of(request: AnyRequest) -> str:
    """The name under which callers take turns: a key's name, or an address if there are no keys."""
    if key := key_of(request):
        return key.name
    client = request.scope.get("client")
    return client[0] if client else ""


def narrowed(which: Filter, request: AnyRequest) -> Filter:
    """
    The part of the filter that the caller may see. A key with `send` alone sees the messages that
    it sent. Raises Forbidden if the filter names another key.
    """
    key = key_of(request)
    if key is None or key.may(KeyScope.READ):
        return which
    if which.key not in (None, key.name):
        raise Forbidden(key.objection_to_scope(KeyScope.READ))
    return replace(which, key=key.name)


async def visible(service: Notifier, request: AnyRequest) -> Delivery:
    """
    The message in the path, for a call that needs `send`. Raises MessageNotFound, also if the
    caller's key has no `read` and has not sent the message.
    """
    key, id = key_of(request), request.scope["path_params"]["id"]
    if key is None or key.may(KeyScope.READ):
        return await service.message(read_id(request))
    with contextlib.suppress(MessageNotFound):
        delivery = await service.message(read_id(request))
        if delivery.key == key.name:
            return delivery
    raise NotOwn(id[:64], key)


class Authentication:
    """
    ASGI middleware before every handler.

    While there is no key, callers may be anonymous if the settings allow it. From the first key on,
    also one that is made while the service runs, each call needs one. A key needs the scope of the
    route, except that a key with `send` alone may look at messages that it sent.

    Not a guard of Litestar: a guard costs 170 µs a request, because Litestar copies the handler for
    each call of a guard (Litestar 2.25).
    """

    def __init__(
        self,
        service: Notifier,
        hosts: Hosts,
        logins: Logins | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._service = service
        self._keys = service.keys
        self._hosts = hosts
        self._logins = logins
        self.anonymous = may_be_anonymous(service.settings)  # only while there is no key
        self._clock = clock
        self._watch = Watch()

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Litestar calls it once for each route, and what it returns for each request."""

        def authenticated(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
            handler = scope["route_handler"]
            access = handler.opt.get(ACCESS) or access_to(handler, scope["method"])
            if handler.opt.get(STREAM) or not (access.scope is None or scope["state"][KEYLESS]):
                return self._admit(app, access, scope, receive, send)
            if scope["method"] not in SAFE and not access.signed:
                # Calls that change something and need no key are for browsers alone.
                refuse_foreign(scope, browser=access.scope is None)
                if access.scope is KeyScope.MANAGE and (act := handler.opt.get(AUDIT)):
                    send = audited(self._service, scope, send, by=ANONYMOUS, act=act)
            return app(scope, receive, send)

        return authenticated

    def keyless(self) -> bool:
        """Whether anonymous calls are allowed, because there is no key."""
        self._keys.reload_if_changed()
        return not self._keys.configured and self.anonymous

    async def _admit(
        self, app: ASGIApp, access: Access, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Call the handler with the caller's key. Raises Unauthorized, Forbidden, NotOwn."""
        handler = scope["route_handler"]
        if not handler.opt.get(STREAM):
            return await app(scope, receive, await self.admitted(Request(scope), handler, send))
        if scope["state"][KEYLESS]:
            with self._watch.over(ANONYMOUS, self.keyless) as ended:
                return await app(scope, until(ended, receive), send)
        key, token = await self._let_in(Request(scope), access)
        with self._watch.over(*self._bounds(key, token)) as ended:
            return await app(scope, until(ended, receive), send)

    async def admitted(self, request: AnyRequest, handler: BaseRouteHandler, send: Send) -> Send:
        """
        Put the caller's key into the request's state. Returns the `send` for its answer. Raises
        Unauthorized, Forbidden, NotOwn.
        """
        access = access_to(handler, request.method)
        key, _ = await self._let_in(request, access)
        act = handler.opt.get(AUDIT)
        # A message itself shows which application has sent it.
        if act and (access.scope is KeyScope.MANAGE or session_of(request)):
            send = audited(self._service, request.scope, send, by=by_of(request), act=act)
        if access.scope is KeyScope.SEND and (key.rate or key.daily):
            send = self._with_rate(send, key)
        return send

    async def _let_in(self, request: AnyRequest, access: Access) -> tuple[Key, str]:
        """
        The key of the request, the login, or the key of the session and the session's token: the
        first of them that there is. Raises Unauthorized, Forbidden, MessageNotFound.
        """
        assert access.scope is not None  # noqa: S101  an open route is not asked for a key
        if not self._service.keys_remembered and self._keys.configured:
            await self._service.remember_keys()
        token, presented = "", _presented(request)
        key: Key
        if login := self.login_of(request):
            _refuse_other_pages(request)
            key = login
        elif presented:
            key = self._shown(request, presented)
        else:
            token = cookie_of(request)
            key = await self._signed_in(request, token)
        if not key.may(access.scope):
            await self._check_own(request, key, access.scope, own=access.own)
        state = request.scope["state"]
        state[KEY] = key
        if token:
            state[BY] = f"monitor:{key.name}"
        elif login:
            state[BY] = key.name
        return key, token

    def login_of(self, request: AnyRequest) -> Login | None:
        """
        The person whom a trusted proxy has signed in. A key of this service that the request sends
        goes first; another token can be the proxy's. Raises HostNotServed.
        """
        if self._logins is None or _presented(request).startswith(f"{PREFIX}_"):
            return None
        login = self._logins.of(request.scope)
        if login is not None:
            self._hosts.require(request.scope, "to people whom a proxy signs in")
        return login

    async def visitor(self, request: AnyRequest) -> Visitor:
        """Who asks for a page that is open to all."""
        if request.scope["state"][KEYLESS]:
            return Visitor(needs_key=False)
        if login := self.login_of(request):
            return Visitor(needs_key=True, key=login)
        if presented := _presented(request):
            return Visitor(needs_key=True, key=self._keys.authenticate(presented, self._clock()))
        key = await self._service.sessions.known(cookie_of(request))
        return Visitor(needs_key=True, key=key)

    def key_named(self, presented: str) -> Key:
        """The key that a person signs in with. Raises Unauthorized."""
        self._keys.reload_if_changed()
        now = self._clock()
        key = self._keys.authenticate(presented, now)
        if key is None:
            raise WrongKey(self._keys.why_not(presented, now))
        return key

    def _shown(self, request: AnyRequest, presented: str) -> Key:
        """The key that the request presents. Raises Unauthorized."""
        now = self._clock()
        key = self._keys.authenticate(presented, now)
        if key is not None:
            return key
        error = WrongKey(self._keys.why_not(presented, now))
        _tell_refusal(request, 401, str(error), id_in(presented))
        raise error

    async def _signed_in(self, request: AnyRequest, token: str) -> Key:
        """The key of the browser's session. Raises Unauthorized; 403 for a page of another site."""
        if token:
            _refuse_other_pages(request)
        key = await self._service.sessions.known(token)
        if key is not None:
            return key
        if token:
            error: Unauthorized = WrongKey("the session has ended; sign in again")
        else:
            error = Unauthorized(_NEEDED if self._keys.configured else _NONE)
        unbelieved = self._logins.objection(request.scope) if self._logins else ""
        _tell_refusal(request, 401, unbelieved or str(error), None)
        raise error

    def _bounds(self, key: Key, token: str) -> tuple[str, Callable[[], bool]]:
        """How long a stream may last, and which streams end together with it."""
        if isinstance(key, Login):
            ends = self._clock() + LOGIN_STREAM
            return f"{key.name} {ends}", lambda: self._clock() < ends
        return token or key.id, lambda: self._still(key, token)

    def _still(self, key: Key, token: str) -> bool:
        """Whether a stream that was opened with this key, or in this session, may continue."""
        self._keys.reload_if_changed()
        if token:
            return self._service.sessions.key_of(token) == key
        return self._keys.find(key.id) == key and not key.lapsed(self._clock())

    async def _check_own(
        self, request: AnyRequest, key: Key, scope: KeyScope, *, own: bool
    ) -> None:
        """Raises Forbidden; MessageNotFound where the message was not sent with the key."""
        if not (own and key.may(KeyScope.SEND)):
            objection = key.objection_to_scope(scope)
            _tell_refusal(request, 403, objection, key.id or None)
            raise Forbidden(objection)
        id: str | None = request.scope["path_params"].get("id")
        if id is None:
            return  # a list, which is `narrowed`
        try:
            sender = (await self._service.message(read_id(request))).key
        except MessageNotFound:
            sender = None
        if sender != key.name:
            raise NotOwn(id[:64], key)

    def _with_rate(self, send: Send, key: Key) -> Send:
        """Add the key's remaining rate to a successful answer."""

        def sending(message: Any) -> Awaitable[None]:
            if message["type"] == "http.response.start" and message["status"] < 400:
                left = self._service.rate_left(key)
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in left.items()),
                ]
            return send(message)

        return sending


def _refuse_other_pages(request: AnyRequest) -> None:
    """A browser sends its cookie, and its proxy the login, with the requests of any page."""
    if request.method not in SAFE:
        refuse_foreign(request.scope, browser=True)


def _presented(request: AnyRequest) -> str:
    """The key in the request's headers. X-API-Key is notifier's own, so it takes precedence."""
    bearer = b""
    for name, value in request.scope["headers"]:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            bearer = value[len(BEARER) :]
    return bearer.decode("latin-1").strip()


def cookie_of(request: AnyRequest) -> str:
    """The token of the browser's session; empty: none."""
    wanted = SECURE_COOKIE if is_secure(request) else COOKIE
    for pair in request.headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value
    return ""


def id_in(presented: str) -> str | None:
    """The id of a presented key: this part may be logged."""
    shown = _ID.match(presented)
    return shown[1] if shown else None


def _tell_refusal(request: AnyRequest, status: int, reason: str, key_id: str | None) -> None:
    log.warning(
        "refused",
        status=status,
        method=request.method,
        path=request.scope["path"],
        client=address_of(request),
        key_id=key_id,
        reason=reason,
    )


_NEEDED = "an API key is needed, as `Authorization: Bearer ntf_...` or as `X-API-Key: ntf_...`"
_NONE = f"{_NEEDED}; the service has no key yet; make one with `notifier keys add`"
