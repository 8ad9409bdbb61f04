"""Clients that submit mail by SMTP and repeat it until it is answered, while the server dies."""

import asyncio
import random
import smtplib
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.process import Server, client_of, free_port
from tests.waiting import LIMIT, until

CLIENTS = 8
FEWEST, MOST = 3, 25  # mails that are answered between two deaths


class Clients:
    """Each submits its next mail once the one before was answered, over a connection that lasts."""

    def __init__(self, port):
        self.port = port
        self.numbers = iter(range(10**6))
        self.answered = {}  # recipient -> the id that the server named
        self.tries = 0
        self.unanswered = 0  # mails whose dot got no answer
        self.over = False

    def run(self):
        """One client, in a thread of its own."""
        while not self.over:
            to = f"n{next(self.numbers)}@example.org"
            id = None
            while id is None:
                id = self._submit(to)
                if id is None:
                    time.sleep(0.02)
            self.answered[to] = id

    def _submit(self, to):
        """The id; None: there was no answer, so nobody knows."""
        # The Date changes from one try to the next, as with clients that compose a mail anew.
        mail = (
            f"From: us@example.org\r\nTo: {to}\r\nMessage-ID: <{to}>\r\n"
            f"X-Try: {self.tries}\r\n\r\nHello.\r\n"
        )
        self.tries += 1
        ends = False
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=LIMIT) as client:
                client.ehlo("torture")
                client.mail("us@example.org")
                client.rcpt(to)
                ends = True
                code, said = client.data(mail)
                return said.decode().split()[-1] if code == 250 else None
        except (OSError, smtplib.SMTPException):
            self.unanswered += ends
            return None


async def submit_while_it_dies(deaths, seed):
    """The promises that were broken while the server was killed so often."""
    rng = random.Random(seed)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), smtp_listen=f"127.0.0.1:{port}", relays="capture:")
        clients = Clients(port)
        await server.start()
        try:
            async with asyncio.TaskGroup() as running:
                for _ in range(CLIENTS):
                    running.create_task(asyncio.to_thread(clients.run))
                try:
                    for _ in range(deaths):
                        goal = len(clients.answered) + rng.randint(FEWEST, MOST)
                        await until(lambda goal=goal: len(clients.answered) >= goal, seconds=60)
                        await asyncio.sleep(rng.uniform(0, 0.02))
                        await server.kill()
                        await server.start()
                finally:
                    clients.over = True
            messages = await _messages(server)
        finally:
            await server.kill()
    made = Counter(to for to, _ in messages)
    named = dict(messages)
    lost = [to for to, id in clients.answered.items() if named.get(to) != id]
    twice = [to for to, count in made.items() if count > 1]
    print(
        f"{deaths} x SIGKILL: answered {len(clients.answered)}, messages {len(messages)},"
        f" unanswered {clients.unanswered}, lost {len(lost)}, twice {len(twice)}"
    )
    broken = {"lost": lost, "made twice": twice}
    return [name for name, found in broken.items() if found]


async def _messages(server):
    """Recipient and id of each message."""
    found, more = [], {"limit": 200}
    async with client_of(server) as client:
        while more is not None:
            page = (await client.get("/v1/messages", params=more)).json()
            found += [(each["recipients"][0]["address"], each["id"]) for each in page["items"]]
            more = page["next_cursor"] and {"limit": 200, "cursor": page["next_cursor"]}
    return found
