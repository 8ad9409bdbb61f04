"""A real service that takes mail by SMTP, smtplib as the client, and a relay that keeps it all."""

import asyncio
import contextlib
import smtplib

import pytest
from msgspec.structs import replace

from notifier.keys import Keys, KeyScope, new_key
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.smtp_server import ListenAddress
from notifier.submission_agent import Agent
from tests.relay import ScriptedRelay
from tests.service import now
from tests.waiting import LIMIT, until

HOST = "127.0.0.1"


class Submission:
    """The service, its agent, and the relay behind it."""

    def __init__(self, service, agent, relay):
        self.service, self.agent, self.relay = service, agent, relay
        self.port = agent.ports[0]

    async def call(self, talk, *arguments, port=None):
        """Have smtplib talk, in a thread of its own."""

        def conversation():
            with smtplib.SMTP(HOST, port or self.port, timeout=LIMIT) as client:
                return talk(client, *arguments)

        return await asyncio.to_thread(conversation)

    async def send(self, source, *, sender="us@example.org", to=("ann@example.org",), **options):
        """The reply to the dot, or the error."""

        def talk(client):
            client.ehlo("me")
            code, said = client.mail(sender, **options)
            if code != 250:
                return code, said.decode()
            for each in to:
                code, said = client.rcpt(each)
                if code != 250:
                    return code, said.decode()
            code, said = client.data(source)
            return code, said.decode()

        return await self.call(talk)

    async def delivered(self, count=1):
        """The contents that the relay has, once there are so many."""
        await until(lambda: len(self.relay.received) >= count)
        return [content for _, _, content in self.relay.received]


@contextlib.asynccontextmanager
async def submitting(folder, *, keys=(), features=None, addresses=None, **settings):
    """A service on this folder, with these API keys, that takes mail by SMTP."""
    path = folder / "keys.toml"
    known = Keys.read(path)
    for key in keys:
        known.add(key)
    async with ScriptedRelay(**({} if features is None else {"features": features})) as relay:
        given = {
            "data_dir": str(folder),
            "relays": (replace(relay.spec, name="relay"),),
            "smtp_listen": addresses or (ListenAddress(host=HOST, port=0),),
            "grace": 1.0,
        }
        chosen = Settings(**(given | settings))
        async with Notifier(chosen) as service, Agent(service) as agent:
            yield Submission(service, agent, relay)


@pytest.fixture
async def submission(tmp_path):
    """A service without API keys."""
    async with submitting(tmp_path) as opened:
        yield opened


def made_key(name="shop", **terms):
    """A key and its secret."""
    return new_key(name, now=now(), scopes=terms.pop("scopes", (KeyScope.SEND,)), **terms)
