"""Who calls, and whether they may."""

import functools
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import structlog
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from notifier.clock import Clock, utc_now
from notifier.errors import ConfigurationError, Forbidden, MessageNotFound, Unauthorized
from notifier.journal import Filter
from notifier.keys import Key, KeyScope
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.access import Access, access_to
from notifier.web.bodies import AnyRequest
from notifier.web.origins import SAFE, address_of, is_secure, refuse_foreign
from notifier.web.parameters import read_id
from notifier.web.problems import WrongKey
from notifier.web.responses import Answer
from notifier.web.sse import Stream, Watch

KEY, BY = "notifier_key", "notifier_by"  # in the request's state
ANONYMOUS = "anonymous"
BEARER = b"bearer "
COOKIE = "notifier_session"
SECURE_COOKIE = "__Host-notifier_session"  # behind TLS: no other host can have set it; RFC 6265bis

Handler: TypeAlias = Callable[[AnyRequest], Awaitable[Any]]

# A key's id may be logged. Whatever else stands in its place could be part of a secret.
_ID = re.compile(r"ntf_([0-9a-f]{12})_")

log = structlog.get_logger()


class NotOwn(MessageNotFound):
    """Whether it is another's or nobody's is not told."""

    def __init__(self, id: str, key: Key) -> None:
        super().__init__(id)
        self.args = (
            f"no message with the id {id!r} was sent with the key {key.name!r};"
            " to see those of others it needs the scope 'read'",
        )


def key_of(request: AnyRequest) -> Key | None:
    """The API key that the door has let in; None: the caller is anonymous, and may be."""
    key: Key | None = request.scope["state"].get(KEY)
    return key


def by_of(request: AnyRequest) -> str:
    """Who acts, as timelines and logs name it: `key:shop`, `monitor:shop` or `anonymous`."""
    if session := session_of(request):
        return session
    key = key_of(request)
    return ANONYMOUS if key is None else f"key:{key.name}"


def session_of(request: AnyRequest) -> str:
    """The same of somebody who has signed in; empty: nobody has."""
    by: str = request.scope["state"].get(BY, "")
    return by


def caller_of(request: AnyRequest) -> str:
    """Whose turn it is, where callers take turns: a key's, or where there is none an address's."""
    if key := key_of(request):
        return key.name
    client = request.scope.get("client")
    return client[0] if client else ""


def narrowed(which: Filter, request: AnyRequest) -> Filter:
    """
    What the caller may see of it: all, or with a key that has only `send` its own. Raises
    Forbidden where that one asks for another key's.
    """
    key = key_of(request)
    if key is None or key.may(KeyScope.READ):
        return which
    if which.key not in (None, key.name):
        raise Forbidden(key.objection_to_scope(KeyScope.READ))
    return replace(which, key=key.name)


class Visitor(Struct, frozen=True):
    """Who looks at a page: whether a key is needed, and the one that was shown, if it opens."""

    needs_key: bool
    key: Key | None = None

    def may(self, scope: KeyScope) -> bool:
        return self.key.may(scope) if self.key else not self.needs_key

    @property
    def manages(self) -> bool:
        return self.may(KeyScope.MANAGE)

    @property
    def reads(self) -> bool:
        return self.may(KeyScope.READ)


class Door:
    """
    Stands before every handler that is not open. While there is no key at all, the caller may
    be anonymous where the settings allow a server to start so; from the first key on, also one
    that is made while we run, each call needs one. A key needs the scope of the route, except
    that one with only `send` may look at the messages that were sent with it.

    A handler is wrapped, not given to Litestar's guards: those copy the handler for each call.
    """

    def __init__(self, service: Notifier, *, clock: Clock = utc_now) -> None:
        self._service = service
        self._keys = service.keys
        self._anonymous = _anonymous(service.settings)
        self._clock = clock
        self._watch = Watch()

    def before(self, handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
        """The handlers, each behind the door if it is not open."""
        guarded = list(handlers)
        for handler in guarded:
            access = access_to(handler)
            # The wrapped one takes the other's place.
            if access is not None:
                handler(self._guarded(handler.fn, access))
            elif handler.http_methods - SAFE:
                handler(_for_our_pages(handler.fn))
        return guarded

    @property
    def keyless(self) -> bool:
        """Whether anybody may call, for there is no key."""
        self._keys.reload_if_changed()
        return self._anonymous and not self._keys.configured

    def _guarded(self, handler: Handler, access: Access) -> Handler:
        @functools.wraps(handler)
        async def admitted(request: AnyRequest) -> Any:
            if self.keyless:
                return await self._for_anybody(request, handler)
            key, token = await self._let_in(request, access)
            answer = await handler(request)
            if isinstance(answer, Stream):
                self._watch.over(answer, token or key.id, lambda: self._still(key, token))
            elif access.scope is KeyScope.SEND and (key.rate or key.daily):
                self._tell_rate(answer, key)
            return answer

        return admitted

    async def _for_anybody(self, request: AnyRequest, handler: Handler) -> Any:
        """As long as there is no key. Raises 403 for a page of another site."""
        if request.method not in SAFE:
            refuse_foreign(request)
        answer = await handler(request)
        if isinstance(answer, Stream):
            self._watch.over(answer, ANONYMOUS, lambda: self.keyless)
        return answer

    async def _let_in(self, request: AnyRequest, access: Access) -> tuple[Key, str]:
        """
        The key that a request shows, or that of its session and the session's token. Raises
        Unauthorized, Forbidden, MessageNotFound.
        """
        if not self._service.keys_remembered:
            await self._service.remember_keys()
        token = ""
        if presented := _presented(request):
            key = self._shown(request, presented)
        else:
            token = cookie_of(request)
            key = await self._signed_in(request, token)
        if not key.may(access.scope):
            await self._check_own(request, key, access)
        state = request.scope["state"]
        state[KEY] = key
        if token:
            state[BY] = f"monitor:{key.name}"
        return key, token

    async def visitor(self, request: AnyRequest) -> Visitor:
        """Who asks for a page that is open to everybody."""
        if self.keyless:
            return Visitor(needs_key=False)
        if presented := _presented(request):
            return Visitor(needs_key=True, key=self._keys.authenticate(presented, self._clock()))
        key = await self._service.sessions.known(cookie_of(request))
        return Visitor(needs_key=True, key=key)

    async def trusts(self, request: AnyRequest) -> bool:
        """Whether who asks may see more than a stranger: with `read`, or where no key is needed."""
        return (await self.visitor(request)).reads

    def key_named(self, presented: str) -> Key:
        """The key that somebody signs in with. Raises Unauthorized."""
        self._keys.reload_if_changed()
        now = self._clock()
        key = self._keys.authenticate(presented, now)
        if key is None:
            raise WrongKey(self._keys.why_not(presented, now))
        return key

    def _shown(self, request: AnyRequest, presented: str) -> Key:
        """The key that a request shows. Raises Unauthorized."""
        now = self._clock()
        key = self._keys.authenticate(presented, now)
        if key is not None:
            return key
        error = WrongKey(self._keys.why_not(presented, now))
        _tell_refusal(request, 401, str(error), id_in(presented))
        raise error

    async def _signed_in(self, request: AnyRequest, token: str) -> Key:
        """The key of the browser's session. Raises Unauthorized; 403 for a page of another site."""
        if token and request.method not in SAFE:
            refuse_foreign(request, browser=True)  # it sends the cookie, whoever asked it to
        key = await self._service.sessions.known(token)
        if key is not None:
            return key
        if token:
            error: Unauthorized = WrongKey("the session has ended; sign in again")
        else:
            error = Unauthorized(_NEEDED if self._keys.configured else _NONE)
        _tell_refusal(request, 401, str(error), None)
        raise error

    def _still(self, key: Key, token: str) -> bool:
        """Whether what was opened with this key, or in this session, may go on."""
        self._keys.reload_if_changed()
        if token:
            return self._service.sessions.key_of(token) == key
        return self._keys.find(key.id) == key and not key.lapsed(self._clock())

    async def _check_own(self, request: AnyRequest, key: Key, access: Access) -> None:
        """Raises Forbidden; MessageNotFound where the message was not sent with the key."""
        if not (access.own and key.may(KeyScope.SEND)):
            objection = key.objection_to_scope(access.scope)
            _tell_refusal(request, 403, objection, key.id)
            raise Forbidden(objection)
        id: str | None = request.scope["path_params"].get("id")
        if id is None:
            return  # a list, which is `narrowed`
        try:
            sender = (await self._service.journal.get(read_id(request))).key
        except MessageNotFound:
            sender = None
        if sender != key.name:
            raise NotOwn(id[:64], key)

    def _tell_rate(self, answer: object, key: Key) -> None:
        if isinstance(answer, Answer):
            verdict = self._service.intake.limits.take(
                key.name, rate=key.rate, daily=key.daily, n=0
            )
            answer.headers += [
                (name.lower().encode(), value.encode()) for name, value in verdict.headers().items()
            ]


def _for_our_pages(handler: Handler) -> Handler:
    """An act that needs no key, and that only a browser does."""

    @functools.wraps(handler)
    async def admitted(request: AnyRequest) -> Any:
        refuse_foreign(request, browser=True)
        return await handler(request)

    return admitted


def _anonymous(settings: Settings) -> bool:
    """Whether a server with these settings may start without a key."""
    try:
        settings.check_access(keys_exist=False)
    except ConfigurationError:
        return False
    return True


def _presented(request: AnyRequest) -> str:
    """What the caller shows as its key. X-API-Key is ours alone, so it goes before the other."""
    bearer = b""
    for name, value in request.scope["headers"]:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            bearer = value[len(BEARER) :]
    return bearer.decode("latin-1").strip()


def cookie_of(request: AnyRequest) -> str:
    """The token of the session that a browser is in; empty: in none."""
    wanted = SECURE_COOKIE if is_secure(request) else COOKIE
    for pair in request.headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value
    return ""


def id_in(presented: str) -> str | None:
    """The id in what was shown as a key: that much of it may be logged."""
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
_NONE = f"{_NEEDED}; there is none yet; make one with `notifier keys add`"
