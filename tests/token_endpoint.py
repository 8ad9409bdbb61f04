"""A token endpoint that does as it is told."""

import asyncio
from urllib.parse import parse_qs

from tests.http_stub import HttpStub
from tests.relay import CUT


class TokenEndpoint(HttpStub):
    """
    Issues tokens `token-1`, `token-2` ... unless an answer (as `HttpStub` takes it) stands in
    `answers`; they are given first.
    """

    def __init__(self, *answers, expires_in=3600):
        super().__init__()
        self.answers = list(answers)
        self.expires_in = expires_in
        self.down = None  # what it answers for as long as it is down
        self.issued = []
        self.good = set()  # tokens that a relay should take
        self.known = True  # whether relays take what is issued
        self.held = asyncio.Event()
        self.held.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/token"

    @property
    def forms(self):
        """What was asked."""
        forms = [parse_qs(request.body.decode()) for request in self.requests]
        return [{name: value for name, (value,) in form.items()} for form in forms]

    def section(self, folder, name="m365"):
        """A section of NOTIFIER_OAUTH that asks here; its secret is `hush-hush`."""
        (folder / "secret").write_text("hush-hush\n")
        return (
            f'[{name}]\npreset = "microsoft"\ntenant = "corp.example"\nclient_id = "us"\n'
            f'client_secret_file = "{folder}/secret"\ntoken_url = "{self.url}"\n'
        )

    async def answer(self, request):
        answer = self.answers.pop(0) if self.answers else self.down
        await self.held.wait()
        if answer == CUT:
            return CUT
        return answer or (200, self.issue())

    def issue(self):
        """A new token, which a relay takes."""
        token = f"token-{len(self.issued) + 1}"
        self.issued.append(token)
        if self.known:
            self.good.add(token)
            asyncio.get_running_loop().call_later(self.expires_in, self.good.discard, token)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
