"""Sign in with an API key, so that a browser can look and act: /sign-in and /sign-out."""

from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.json import Decoder

from notifier.keys import KeyScope
from notifier.service import Notifier
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.auth import COOKIE, Door
from notifier.web.bodies import AnyRequest, decode, read_json
from notifier.web.openapi import GET
from notifier.web.shell import Shell

LONGEST = 1024  # octets of a body that holds a key


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
    The key stays in a cookie that no script can read and that no other site can have sent. It
    is checked at every request, so that one that is revoked or has expired opens nothing.
    """

    def __init__(self, service: Notifier, door: Door, shell: Shell) -> None:
        self._door = door
        self._shell = shell
        self._path = service.settings.public_path or "/"

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/sign-in", http_method=GET)(self.page),
            post("/sign-in", status_code=200)(self.sign_in),
            post("/sign-out", status_code=200)(self.sign_out),
        ]

    async def page(self, request: AnyRequest) -> Answer:
        return self._shell.page(request, "sign-in.html")

    async def sign_in(self, request: AnyRequest) -> Answer:
        body = await read_json(request, dict(request.scope["headers"]), limit=LONGEST)
        presented = decode(_given, body).key.strip()
        key = self._door.key_named(presented)
        known = SignedIn(key.name, [scope for scope in KeyScope if key.may(scope)])
        return Answer(encode(known), headers=[NO_STORE, self._cookie(request, presented)])

    async def sign_out(self, request: AnyRequest) -> Answer:
        return Answer(b"{}", headers=[NO_STORE, self._cookie(request, "", b"; Max-Age=0")])

    def _cookie(self, request: AnyRequest, value: str, more: bytes = b"") -> tuple[bytes, bytes]:
        """RFC 6265bis: for us alone, until the browser is closed."""
        secure = b"; Secure" if request.scope["scheme"] == "https" else b""
        rules = f"; Path={self._path}; HttpOnly; SameSite=Strict".encode() + secure + more
        return b"set-cookie", f"{COOKIE}={value}".encode() + rules
