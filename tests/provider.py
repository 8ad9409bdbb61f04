"""Providers of SMS by HTTP, as scripted."""

import asyncio
import json

from tests.http_stub import HttpStub
from tests.relay import CUT

ACCEPTED = (201, {"sid": "SM0123456789abcdef", "status": "queued", "error_code": None})
INVALID = (400, {"code": 21211, "message": "The 'To' number is not valid.", "status": 400})
TOO_MANY = (429, {"code": 20429, "message": "Too Many Requests", "status": 429})
BROKEN = (500, {"code": 20500, "message": "Internal Server Error"})
HANG = object()  # instead of an answer: none comes before `let_go`
LATE = object()  # after an answer: it comes with `let_go`


class ScriptedProvider(HttpStub):
    """
    `decide` is asked at each request, with its number: whether the text is sent, and the HTTP
    status of the answer, or CUT. `received` is to whom texts were sent.
    """

    def __init__(self, decide):
        super().__init__()
        self.decide = decide
        self.received = []

    async def answer(self, request):
        number = json.loads(request.body)["to"]
        sent, status = self.decide(number)
        if sent:
            self.received.append(number)
        if status == CUT:
            return CUT
        return status, {"id": "x"} if status == 200 else {}


class Site(HttpStub):
    """Answers each request as scripted, the last answer over and over, with these fields."""

    def __init__(self, *answers, fields=None, tls=None):
        super().__init__(tls)
        self.answers = list(answers)
        self.fields = fields
        self._open = asyncio.Event()

    def let_go(self):
        self._open.set()

    async def answer(self, request):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is HANG:
            await self._open.wait()
            return CUT
        if answer == CUT:
            return CUT
        status, body, *late = answer
        if late:
            await self._open.wait()
        return status, body, self.fields
