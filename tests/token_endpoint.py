"""A token endpoint that does as it is told, on a real socket."""

import asyncio
import contextlib
import json
import re
from urllib.parse import parse_qs

DOWN = "<down>"  # the connection ends without an answer


class TokenEndpoint:
    """
    Issues tokens `token-1`, `token-2` ... unless an answer (status, data and perhaps a Location,
    or DOWN) stands in `answers`; they are given first. `requests` has the header fields and the
    form of each.
    """

    def __init__(self, *answers, expires_in=3600):
        self.answers = list(answers)
        self.expires_in = expires_in
        self.down = None  # what it answers for as long as it is down
        self.requests = []
        self.issued = []
        self.good = set()  # tokens that a relay should take
        self.known = True  # whether relays take what is issued
        self.held = asyncio.Event()
        self.held.set()
        self.port = 0
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/token"

    def section(self, folder, name="m365"):
        """A section of NOTIFIER_OAUTH that asks here; its secret is `hush-hush`."""
        (folder / "secret").write_text("hush-hush\n")
        return (
            f'[{name}]\npreset = "microsoft"\ntenant = "corp.example"\nclient_id = "us"\n'
            f'client_secret_file = "{folder}/secret"\ntoken_url = "{self.url}"\n'
        )

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self.held.set()
        self._server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        (length,) = re.findall(r"(?i)content-length: (\d+)", head)
        form = parse_qs((await reader.readexactly(int(length))).decode())
        headers = dict(re.findall(r"(?m)^([A-Za-z-]+): (.*?)\r$", head))
        fields = {name.lower(): value for name, value in headers.items()}
        self.requests.append((fields, {name: value[0] for name, value in form.items()}))
        answer = self.answers.pop(0) if self.answers else self.down
        await self.held.wait()
        if answer == DOWN:
            return
        status, data, *location = answer or (200, self.issue())
        more = f"Location: {location[0]}\r\n" if location else ""
        said = json.dumps(data).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(said)}\r\n{more}Connection: close\r\n\r\n".encode()
            + said
        )
        await writer.drain()

    def issue(self):
        """A new token, which a relay takes."""
        token = f"token-{len(self.issued) + 1}"
        self.issued.append(token)
        if self.known:
            self.good.add(token)
            asyncio.get_running_loop().call_later(self.expires_in, self.good.discard, token)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
