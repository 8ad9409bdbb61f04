"""Microsoft Graph as a mailbox is met there, with its answers and its limits."""

import asyncio
import base64
from email.parser import BytesHeaderParser
from email.utils import getaddresses

from notifier.relayspec import Application, RelaySpec, Tls
from tests.http_stub import HttpStub
from tests.relay import CUT

ACCEPTED = (202, b"")


def error(status, code, message="", **fields):
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return status, {"error": {"code": code, "message": message}}, named


class GraphApi(HttpStub):
    """
    Takes mail of the mailbox `noreply@corp.example`, for tokens in `endpoint.good`. Answers in
    `answers` are given first. `received` has recipients and source of each message.
    """

    def __init__(self, endpoint, *answers):
        super().__init__()
        self.endpoint = endpoint
        self.answers = list(answers)
        self.received = []
        self.refused = 0
        self.held = asyncio.Event()
        self.held.set()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def spec(self):
        return RelaySpec(
            name="graph",
            host="graph.microsoft.com",
            port=443,
            tls=Tls.IMPLICIT,
            connections=4,
            oauth="m365",
            graph=Application("corp.example", "us"),
            mailbox="noreply@corp.example",
            base=self.base,
        )

    async def answer(self, request):
        await self.held.wait()
        answer = self._judged(request)
        if answer == CUT:
            return CUT
        status, body, *fields = answer
        return status, body, {"request-id": "r-1"} | dict(*fields)

    def _judged(self, request):
        if request.fields["authorization"].removeprefix("Bearer ") not in self.endpoint.good:
            self.refused += 1
            return error(401, "InvalidAuthenticationToken", "Lifetime validation failed")
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if request.start != "POST /v1.0/users/noreply@corp.example/sendMail HTTP/1.1":
            return error(404, "ErrorInvalidUser", "The requested user is invalid.")
        try:
            source = base64.b64decode(request.body, validate=True)
        except ValueError:
            code = "ErrorMimeContentInvalidBase64String"
            return error(400, code, "Invalid base64 string for MIME content.")
        if answer in (ACCEPTED, CUT):
            fields = BytesHeaderParser().parsebytes(source)
            named = [each for name in ("To", "Cc", "Bcc") for each in fields.get_all(name, [])]
            self.received.append((sorted(address for _, address in getaddresses(named)), source))
        return answer
