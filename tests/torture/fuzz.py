"""
Random requests to a whole service over its real server, mails through the composer, and
replies through the parser: from one seed, so many of each.
"""

import asyncio
import json
import random
import tempfile
from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import httpx2

from notifier.compose import compose
from notifier.errors import InvalidMessage
from notifier.messages import Email
from notifier.smtp.replies import MAX_LINE, MAX_REPLY, ReplyReader
from tests.process import Server
from tests.relay import ScriptedRelay
from tests.torture.smuggling import smuggle

CLIENTS = 8
PATHS = [
    *("/v1/messages", "/v1/messages/batch", "/send-email/", "/send-async/", "/send-sms/"),
    *("/v1/messages/x", "/v1/messages/x/cancel", "/v1/messages/retry", "/v1/stats", "/v1/relays"),
    *("/v1/queue/pause", "/v1/queue/resume", "/v1/carriers", "/inbox", "/", "/docs", "/livez"),
]
FIELDS = [
    *("to", "cc", "bcc", "from", "subject", "text", "html", "reply_to", "headers", "attachments"),
    *("channel", "template", "data", "send_at", "expires_at", "ttl", "priority", "reference"),
    *("tags", "metadata", "user_id", "on_uncertain", "collapse_key", "carrier", "email_to"),
    *("email_from", "message", "phone_number", "provider"),
]
WORDS = [
    *(
        "",
        "a@example.org",
        "Ann <a@example.org>",
        "a@b\r\nBcc: e@example.org",
        "x\0y",
        "\x85\u2028",
    ),
    *("=?utf-8?q?x=0D=0ABcc:_e=40x?=", "\r\n.\r\nMAIL FROM:<e@x>\r\n", ".", "<p>x</p>", "\ud800"),
    *("2030-01-01T00:00:00Z", "9" * 400, "é" * 300, "email", "sms", "urgent", "+12025550123"),
    *(
        "verizon",
        "../../etc/passwd",
        "{{ 7 * 7 }}",
        "' OR 1=1 --",
        "😀",
        "success@simulator.notifier",
    ),
]
SAID = [
    b"250 ok\r\n",
    b"250-a\r\n",
    b"550 5.1.1 no\r\n",
    b"421 bye\n",
    b"\r\n",
    b"\0",
    b"25",
    b"x" * 9000,
]


def value(rng, depth=0):
    """Any JSON value."""
    kind = rng.randrange(9 if depth < 3 else 7)
    if kind < 4:
        return rng.choice(WORDS) + rng.choice(("", "", "x", rng.choice(WORDS)))
    if kind < 7:
        return rng.choice([None, True, 0, -1, 2**70, 1e300, 3.5])
    if kind == 7:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(FIELDS + WORDS): value(rng, depth + 1) for _ in range(rng.randrange(4))}


SIMPLE = {
    "email_to": "a@example.org",
    "email_from": "b@example.org",
    "subject": "s",
    "message": "m",
}
RIGHT = {
    "/send-sms/": {"phone_number": "+12025550123", "provider": "verizon", "message": "m"},
    "/send-email/": SIMPLE,
    "/send-async/": SIMPLE,
}
MAIL = {"to": ["a@example.org"], "from": "b@example.org", "subject": "s", "text": "t"}


def body(rng, path):
    """A body: nearly right, anything, cut off, or no JSON at all."""
    right = RIGHT.get(path, MAIL)
    names = [*right] if rng.random() < 0.7 else FIELDS
    made = right | {rng.choice(names): value(rng) for _ in range(rng.randrange(3))}
    kind = rng.randrange(10)
    content = json.dumps([made] if kind == 0 else value(rng) if kind == 1 else made).encode()
    if kind == 2:
        return content[: rng.randrange(len(content) + 1)]
    if kind == 3:
        at = rng.randrange(len(content))
        return content[:at] + rng.randbytes(4) + content[at:]
    return content


def request(rng):
    path = rng.choice(PATHS[:5] if rng.random() < 0.8 else PATHS)
    method = "POST" if path in PATHS[:5] else rng.choice(("POST", "GET", "GET", "DELETE", "HEAD"))
    headers = {"Content-Type": rng.choice(("application/json",) * 8 + ("text/plain", "a/b; c"))}
    if rng.random() < 0.1:
        headers["Idempotency-Key"] = rng.choice(("k", "k2", "x" * 300, "a b"))
    if rng.random() < 0.05:
        headers["Prefer"] = rng.choice(("wait=0", "wait=x", "wait=-1"))
    params = {
        rng.choice(("status", "limit", "cursor", "dry_run", "q", "to")): rng.choice(WORDS[:10])
    }
    given = params if rng.random() < 0.2 else None
    return method, path, headers, given, body(rng, path)


async def requests(cases, seed):
    """What was answered, by status. Over HTTP, to a process of its own."""
    rng, statuses, wrong = random.Random(seed), Counter(), []
    left = iter(range(cases))
    with tempfile.TemporaryDirectory() as name:
        async with (
            ScriptedRelay() as relay,
            Server(
                Path(name), relays=f"smtp://{relay.host}:{relay.port}", wait_limit="1s"
            ) as server,
            httpx2.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
        ):

            async def ask():
                for _ in left:
                    method, path, headers, params, content = request(rng)
                    answer = await client.request(
                        method, path, headers=headers, params=params, content=content
                    )
                    statuses[answer.status_code] += 1
                    if answer.status_code == 500:
                        wrong.append((method, path, params, content))

            await asyncio.gather(*(ask() for _ in range(CLIENTS)))
            assert server.process.returncode is None
            for _, _, content in relay.received:
                names = [line.partition(b":")[0].lower() for line in head(content)]
                assert names.count(b"bcc") == 0, content
                assert names.count(b"subject") <= 1, content
    return statuses, wrong


def head(content):
    lines = content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line for line in lines if line[:1] not in (b" ", b"\t")]


def compose_any(rng):
    """A mail of random words: refused, or one that the standard library reads as it was meant."""
    words = ["".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 4))) for _ in range(4)]
    sender, to = rng.choice(("a@example.org", words[3])), rng.choice(("b@example.org", words[0]))
    mail = Email(to=(to,), sender=sender, subject=words[1], text=words[2])
    try:
        made = compose(mail, id="0" * 32, sender=None, at=datetime(2026, 1, 1, tzinfo=UTC))
    except InvalidMessage:
        return
    read = message_from_bytes(made.content, policy=policy.default)
    assert not read.defects
    assert len(read.get_all("to")) == 1
    assert read["bcc"] is None
    assert b"\n" not in made.content.replace(b"\r\n", b"")
    assert b"\r" not in made.content.replace(b"\r\n", b"")


def parse_any(rng):
    """Random octets in random pieces: replies or the end of it, and never more than its limits."""
    reader = ReplyReader()
    for _ in range(rng.randrange(1, 12)):
        piece = rng.choice(SAID) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40))
        for reply in reader.feed(piece):
            assert 200 <= reply.code < 600
            assert reply.line.isprintable()
        if reader.malformed:
            return
        assert len(reader._rest) <= MAX_LINE
        assert reader._size <= MAX_REPLY


async def fuzz(cases, seed):
    """What is broken."""
    rng = random.Random(seed)
    for _ in range(cases):
        compose_any(rng)
        parse_any(rng)
    print(f"{cases} mails composed, {cases} conversations read")
    with tempfile.TemporaryDirectory() as folder:
        print(f"{await smuggle(folder, cases // 5, seed)} bodies full of dots and line ends sent")
    statuses, wrong = await requests(cases, seed)
    print(f"{statuses.total()} requests: {dict(sorted(statuses.items()))}")
    for each in wrong[:5]:
        print(each)
    return ["500"] if wrong else []
