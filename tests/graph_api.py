"""Microsoft Graph as a mailbox is met there: on a real socket, with its answers and its limits."""

import asyncio
import base64
import contextlib
import json
import re
from email.parser import BytesHeaderParser
from email.utils import getaddresses

from notifier.relayspec import Application, RelaySpec, Tls

CUT = "<cut>"  # the whole request was read, and the connection ends without an answer
ACCEPTED = (202, {})


def error(status, code, message="", **fields):
    return status, {"error": {"code": code, "message": message}}, fields


class GraphApi:
    """
    Takes mail of the mailbox `noreply@corp.example`, for tokens in `endpoint.good`. Answers in
    `answers` are given first. `received` has recipients and source of each message.
    """

    def __init__(self, endpoint, *answers):
        self.endpoint = endpoint
        self.answers = list(answers)
        self.received = []
        self.requests = []
        self.refused = 0
        self.held = asyncio.Event()
        self.held.set()
        self.asked = asyncio.Event()
        self.port = 0

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

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self.held.set()
        self._server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        (length,) = re.findall(r"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length))
        self.requests.append(head)
        self.asked.set()
        await self.held.wait()
        answer = self._judged(head, body)
        if answer == CUT:
            return False
        status, data, *fields = answer
        said = json.dumps(data).encode() if data else b""
        more = "".join(
            f"{name.replace('_', '-')}: {value}\r\n"
            for each in fields
            for name, value in each.items()
        )
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\nrequest-id: r-1\r\n{more}"
            "\r\n".encode()
            + said
        )
        await writer.drain()
        return True

    def _judged(self, head, body):
        (token,) = re.findall(r"(?i)authorization: Bearer (\S+)", head)
        if token not in self.endpoint.good:
            self.refused += 1
            return error(401, "InvalidAuthenticationToken", "Lifetime validation failed")
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if not head.startswith("POST /v1.0/users/noreply@corp.example/sendMail HTTP/1.1"):
            return error(404, "ErrorInvalidUser", "The requested user is invalid.")
        try:
            source = base64.b64decode(body, validate=True)
        except ValueError:
            code = "ErrorMimeContentInvalidBase64String"
            return error(400, code, "Invalid base64 string for MIME content.")
        if answer in (ACCEPTED, CUT):
            fields = BytesHeaderParser().parsebytes(source)
            named = [each for name in ("To", "Cc", "Bcc") for each in fields.get_all(name, [])]
            self.received.append((sorted(address for _, address in getaddresses(named)), source))
        return answer
