"""
A thousand sends by the client while the server is stopped and started again five times:
`python -m tests.torture.restarts`. Fails unless that makes a thousand mails exactly.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from notifier.client import AsyncNotifier
from tests.process import Server, client_of

SENDS = 1000
AT_ONCE = 20
RESTARTS = 5
RETRY_FOR = 120.0


async def main():
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with Server(Path(folder)) as server:
            done, ids = 0, []
            numbers = iter(range(SENDS))

            async def caller(client):
                nonlocal done
                for number in numbers:
                    message = await client.send(
                        f"n{number}@example.org", from_="us@example.org", text="Hello"
                    )
                    ids.append(message.id)
                    done += 1

            async def operator():
                for restart in range(RESTARTS):
                    while done < (restart + 0.5) * SENDS / RESTARTS:
                        await asyncio.sleep(0.001)
                    await server.stop()
                    await server.start()

            async with AsyncNotifier(server.url, retry_for=RETRY_FOR) as client:
                await asyncio.gather(operator(), *(caller(client) for _ in range(AT_ONCE)))
                messages = [each async for each in client.list(page_size=200)]
                sent = [await client.wait(each.id, timeout=120) for each in messages]
            async with client_of(server) as http:
                mails = Counter()
                before = ""
                while True:
                    page = (await http.get(f"/inbox/messages?limit=200{before}")).json()
                    mails.update(each["recipients"][0] for each in page["items"])
                    if page["next_before"] is None:
                        break
                    before = f"&before={page['next_before']}"
    print(
        f"{SENDS} sends, {RESTARTS} restarts, {time.monotonic() - begun:.1f} s: {len(messages)} "
        f"messages, {sum(each.sent for each in sent)} sent, {mails.total()} mails to {len(mails)} "
        "recipients"
    )
    return len(messages) == len(set(ids)) == mails.total() == len(mails) == SENDS


if __name__ == "__main__":
    sys.exit(not asyncio.run(main()))
