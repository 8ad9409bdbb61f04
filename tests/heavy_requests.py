"""
Requests made to hold up a server or to fill its memory, and what each of them does to one.

Each is asked of a real process under a limit of memory, which `tests/watched_server.py` measures.
"""

import asyncio
import base64
import json
import smtplib
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.process import Server, environment, free_port

MOST_HELD = 0.25  # seconds for which nothing may hold the loop
AGAIN = 2  # times that a shape which held it for longer is tried; the shortest counts
MOST_MEMORY = 120  # MB above what the server had before
MOST_TOGETHER = 300  # MB, of several requests at a time
# Octets of the process: 512 MiB, and as RLIMIT_DATA counts them the stacks of 20 threads.
LIMIT = (512 + 20 * 8) * 1024 * 1024
UNANSWERED = {500, "hung up", "none in time"}
PATIENCE = 120.0  # seconds for one shape, until all that came of it has left
UNDER_WAY = "status=queued,sending,deferred&limit=1"
NOTHING = b'{"items":[],"next_cursor":null}'
MB = 1_000_000
BATCH = "/v1/messages/batch"


LATER = (datetime.now(UTC) + timedelta(days=30)).isoformat()


def letter(**changes):
    base = {"from": "us@example.org", "to": ["ann@example.org"], "subject": "Hi", "text": "Hi."}
    return json.dumps(base | changes, separators=(",", ":"), ensure_ascii=False).encode()


def html(text):
    return letter(text=None, html=text)


def array(item, size):
    """JSON of about so many octets."""
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def with_field(name, value):
    return letter()[:-1] + b',"%b":%b}' % (name, value)


def batch(count, **changes):
    """Messages that are accepted, and do not leave while others are measured."""
    return b"[" + b",".join([letter(send_at=LATER, **changes)] * count) + b"]"


def post(body, path="/v1/messages", **headers):
    return "POST", path, body, headers


def get(path, **headers):
    return "GET", path, b"", headers


HTML = {
    "a ragged table": "<table><tr>" + "<td>x" * 300 + "<tr><td>y" * 9000,
    "'<' alone": "<" * MB,
    "divs": "<div>" * (MB // 5),
    "tables in tables": "<table><tr><td>" * (MB // 15),
    "formatting": "<b><i><u><s>" * (MB // 12),
    "bold paragraphs": "<b><p>" * (MB // 6),
    "foster parents": "<table>" + "x<b>" * (MB // 4),
    "attributes": "<p " + "a=1 " * (MB // 4),
    "attributes that differ": "<p " + " ".join(f"a{n}=1" for n in range(MB // 9)),
    "links": "<a href=x>" * (MB // 10),
    "lists in lists": "<ul><li>" * (MB // 8),
    "references": "&" * MB,
    "comments": "<!--" * (MB // 4),
    "cells": "<table><tr>" + "<td>x" * (MB // 5),
    "a wide cell": "<table><tr><td colspan=999 rowspan=999>x" * 2000,
    "hidden": "<div style='display:none'>x" * (MB // 27),
    "blanks": "\u200c \u00a0" * (MB // 6),
    "line ends": "<br>" * (MB // 4),
    "of 250 kB": "<p>x<b>" * 35_000,
}
LINES = {
    "of one character": "x\n" * (7 * MB // 2),
    "none at all": "x" * (14 * MB),
    "in four octets each": "\U0001f600" * (3 * MB),
    "with dots": ".\n" * (4 * MB // 2),
    "of CR": "\r" * (4 * MB),
    "of blanks": " " * (14 * MB),
    "with one wide character": "\U0001f600" + "x" * (14 * MB),
}
ADDRESSES = {
    "quotes": '"' * 990,
    "brackets": "(" * 990,
    "angles": "<" * 990,
    "ats": "a@" * 490,
    "dots": "a." * 490 + "@b.org",
    "domains": "a@" + "b." * 490 + "org",
    "wide domains": "a@" + "\u00fc." * 100 + "org",
    "a name": "\u00fc" * 900 + " <a@b.org>",
    "backslashes": '"' + "\\" * 980 + '"@b.org',
    "commas": "a," * 490,
    "an encoded word": "=?utf-8?q?" + "=20" * 300 + "?= <a@b.org>",
}

SHAPES = {
    **{f"html: {name}": [post(html(text))] for name, text in HTML.items()},
    **{
        f"html, simple: {name}": [
            post(
                json.dumps(
                    {"email_to": "a@b.org", "email_from": "c@d.org", "subject": "", "message": text}
                ).encode(),
                "/send-email/",
            )
        ]
        for name, text in HTML.items()
        if name in ("'<' alone", "blanks")
    },
    "html: of 15 MB": [post(html("<p>Hello <b>you</b></p>\n" * 600_000))],
    "html: a dry run": [post(html(HTML["a ragged table"]), "/v1/messages?dry_run=true")],
    **{f"lines: {name}": [post(letter(text=text))] for name, text in LINES.items()},
    **{
        f"addresses: {name}": [
            post(letter(to=[text] * 50)),
            *(
                post(batch(200, to=[text] * 50), BATCH, X_Batch_Validation=validation)
                for validation in ("strict", "permissive")
            ),
        ]
        for name, text in ADDRESSES.items()
    },
    "json: deep": [post(with_field(b"metadata", b'{"a":' + b"[" * 10 * MB))],
    "json: lists in the metadata": [
        post(with_field(b"metadata", b'{"a":%b}' % array(b"[]", 14 * MB)))
    ],
    "json: objects in the data": [post(with_field(b"data", b'{"a":%b}' % array(b"{}", 14 * MB)))],
    "json: lists in the data": [post(with_field(b"data", b'{"a":%b}' % array(b"[]", 2 * MB)))],
    "json: recipients": [post(with_field(b"cc", array(b'"a@b"', 14 * MB)))],
    "json: tags": [post(with_field(b"tags", array(b'"a"', 14 * MB)))],
    "json: headers": [
        post(with_field(b"headers", b"{%b}" % b",".join(b'"X-%d":""' % n for n in range(MB))))
    ],
    "json: attachments": [
        post(with_field(b"attachments", array(b'{"filename":"a","content":""}', 14 * MB)))
    ],
    "json: an unknown field": [post(with_field(b"zzz", array(b"[]", 14 * MB)))],
    "json: a channel": [post(with_field(b"channel", array(b"[]", 14 * MB)))],
    "json: escapes": [post(letter()[:-1] + b',"html":"%b"}' % (b"\\u00fc" * (2 * MB)))],
    "json: numbers": [post(b"9" * 14 * MB), post(with_field(b"ttl", b"9" * 14 * MB))],
    "json: a subject": [post(letter(subject="x" * 14 * MB))],
    "json: a key": [post(b'{"%b":1}' % (b"k" * 14 * MB))],
    "json: a date": [post(with_field(b"send_at", b'"%b"' % (b"2026-" * 2 * MB)))],
    "json: NUL at the end": [post(letter(text="x" * 13 * MB + "\0"))],
    "json: no UTF-8": [post(letter()[:-1] + b',"html":"%b\xff"}' % (b"x" * 13 * MB))],
    "json: blanks": [post(b" " * 14 * MB)],
    "files: one": [
        post(
            letter(
                attachments=[
                    {"filename": "a", "content": base64.b64encode(b"\0" * 11 * MB).decode()}
                ]
            )
        )
    ],
    "files: twenty": [
        post(letter(attachments=[{"filename": "\u00fc" * 250, "content": "A" * 700_000}] * 20))
    ],
    "batch: 55 of 250 kB": [post(batch(55, text="Hello there. " * 19_000), BATCH)],
    "batch: 1,000 of 14 kB": [post(batch(1000, text="x" * 14_000), BATCH)],
    "batch: 200 of html": [post(batch(200, text=None, html="<p>x<b>" * 2000), BATCH)],
    "batch: 1,000 to 50": [post(batch(1000, to=["Ann <ann@example.org>"] * 50), BATCH)],
    "batch: 1,000 with metadata": [post(batch(1000, metadata={"a": [[]] * 400}), BATCH)],
    "batch: 1,000 with lists": [post(batch(1000, metadata={"a": [[]] * 4500}), BATCH)],
    "batch: 1,000 with data": [post(batch(1000, data={"a": [[]] * 4500}), BATCH)],
    "batch: six with data": [post(batch(6, data={"a": [[]] * 600_000}), BATCH)],
    "batch: 1,000 with nulls": [
        post(batch(1000, cc=None, html=None, metadata={"a": [[]] * 4500}), BATCH)
    ],
    "batch: 1,000 with strings": [
        post(batch(1000, metadata={f"a{n}": "\u00fc" * 100 for n in range(50)}), BATCH)
    ],
    "batch: 1,000 full of faults": [
        post(batch(1000, to=["x" * 3] * 50, cc=["y" * 3] * 50, bcc=["z" * 3] * 50), BATCH),
        post(
            batch(1000, to=["x" * 3] * 50, cc=["y" * 3] * 50, bcc=["z" * 3] * 50),
            BATCH,
            X_Batch_Validation="permissive",
        ),
    ],
    "batch: 200 of files": [
        post(
            batch(200, attachments=[{"filename": "\u00fc" * 250, "content": "A" * 400}] * 20), BATCH
        )
    ],
    "batch: 200 of tables": [
        post(batch(200, text=None, html="<table>" + "<tr><td>x<td>y" * 900), BATCH)
    ],
    "batch: one of 14 MB": [post(b"[%b]" % letter(text="x\n" * (7 * MB // 2)), BATCH)],
    "batch: numbers": [post(array(b"1", 14 * MB), BATCH)],
    "batch: lists": [post(array(b"[]", 14 * MB), BATCH)],
    "batch: templates": [
        post(
            batch(50, text=None, template="heavy", data={"n": 10**6}),
            BATCH,
            X_Batch_Validation="permissive",
        )
    ],
    "templates: heavy": [post(letter(text=None, template="heavy", data={"n": 10**6}))],
    "templates: recursive": [post(letter(text=None, template="deep", data={"a": 1}))],
    "templates: much data": [
        post(letter(text=None, template="list", data={"all": ["x" * 10] * 90_000}))
    ],
    "templates: a preview": [post(b'{"data":{"n":1000000}}', "/v1/templates/heavy/preview")],
    "texts: a batch": [
        post(
            b"[%b]"
            % b",".join(
                [
                    json.dumps(
                        {
                            "channel": "sms",
                            "send_at": LATER,
                            "to": "+12025550123",
                            "carrier": "us cellular",
                            "text": "[^]" * 533,
                        }
                    ).encode()
                ]
                * 1000
            ),
            BATCH,
        )
    ],
    "texts: digits": [
        post(json.dumps({"phone_number": "+1" * 32, "message": "x"}).encode(), "/send-sms/")
    ],
    "path: 60 kB": [get("/" + "x" * 60_000), get("/v1/messages/" + "a@" * 30_000)],
    "path: 30,000 steps": [get("/a" * 30_000)],
    "path: escapes": [get("/%2f" * 15_000)],
    "query: 60 kB": [get("/v1/messages?q=" + "x" * 60_000), get("/v1/messages?" + "a=1&" * 15_000)],
    "query: a cursor": [get("/v1/messages?cursor=" + "A" * 60_000)],
    "headers: many": [("GET", "/livez", b"", {f"X-{n}": "1" for n in range(8000)})],
    "headers: long": [
        get("/monitor", Cookie="a=b;" * 15_000),
        get("/livez", Accept="*/*," * 15_000),
    ],
    "headers: a key": [get("/v1/messages", Authorization="Bearer " + "n" * 60_000)],
    # Twice: the first message is being sent while the second request arrives.
    "headers: an idempotency key": [post(letter(text="x" * 14 * MB), Idempotency_Key="k" * 255)]
    * 2,
    "search: words": [
        get("/v1/messages?q=" + word) for word in ("e", "nobody", "%25" * 60, "a+b+c+d")
    ],
    "lists: 200": [get("/v1/messages?limit=200")],
    "pages": [
        get("/monitor"),
        get("/monitor/summary"),
        get("/v1/stats"),
        get("/metrics"),
        get("/docs"),
    ],
}


def mail(content_type, body):
    return b"Subject: Hello\r\nContent-Type: %b\r\n\r\n%b" % (content_type, body)


FROM = b"From: us@example.org\r\nX-Notifier-Send-At: %b\r\n" % LATER.encode()
SOURCES = {
    "14 MB": FROM + b"\r\n" + (b"x" * 76 + b"\r\n") * 180_000,
    "empty lines": FROM + b"\r\n" * 7 * MB,
    "one line": FROM + b"\r\n" + b"x" * 14 * MB + b"\r\n",
    "no ASCII": FROM + b"\r\n" + (b"\xc3\xbc" * 400 + b"\r\n") * 17_000,
    "dots": FROM + b"\r\n" + b"..\r\n" * (3 * MB),
    "many fields": FROM + b"a:\r\n" * 60_000 + b"\r\nx\r\n",
    "a field of many lines": FROM + b"Subject:" + b" \r\n" * 80_000 + b"x:\r\n\r\nx\r\n",
    "a header of 14 MB": FROM + b"X: y\r\n" * (2 * MB) + b"\r\nx\r\n",
    "an author of quotes": b'From: "' + b'\\"' * 480 + b" <us@example.org>\r\n\r\nx\r\n",
    "authors": b"From: " + b"a@b.org,\r\n " * 20_000 + b"a@b.org\r\n\r\nx\r\n",
    "quotes": FROM + b"To: " + b'"\\"\r\n ' * 15_000 + b"\r\n\r\nx\r\n",
    "comments": FROM + b"To: " + b"(\r\n " * 12_000 + b"\r\n\r\nx\r\n",
    "recipients": FROM + b"To: " + b"a@b.org,\r\n " * 5_000 + b"a@b.org\r\n\r\nx\r\n",
    "encoded words": FROM + b"Subject:" + b" =?utf-8?Q?=C3=BC?=\r\n" * 9_000 + b"\r\nx\r\n",
    "tags": FROM + b"X-Notifier-Tag:" + b" a,\r\n" * 40_000 + b"\r\nx\r\n",
}
# Of those that name no recipient, it is in the query.
SHAPES |= {
    f"sources: {name}": [
        post(
            source,
            "/v1/messages" + ("" if b"To:" in source else "?to=ann@example.org"),
            Content_Type="message/rfc822",
        )
    ]
    for name, source in SOURCES.items()
}

PICTURE = b"--b\r\nContent-Type: image/png\r\nContent-ID: <p>\r\n\r\n%b\r\n" % (b"P" * 150_000)
MAILS = {
    "pictures": mail(
        b"multipart/mixed; boundary=b",
        b"--b\r\nContent-Type: text/html\r\n\r\n"
        + b"<img src=cid:p>" * 60_000
        + b"\r\n"
        + PICTURE * 20,
    ),
    "deep parts": mail(
        b"multipart/mixed; boundary=b",
        b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 100_000,
    ),
    "10,000 parts": mail(b"multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 10_000),
    "millions of parts": mail(b"multipart/mixed; boundary=b", b"--b\n\n" * 2_500_000),
    "a giant header": b"Subject: " + b"x" * 14 * MB + b"\r\n\r\nx",
    "many headers": b"X: y\r\n" * 2 * MB + b"\r\nx",
    "lines": mail(b"text/plain", b"\n" * 14 * MB),
    "quoted-printable": mail(
        b"text/plain\r\nContent-Transfer-Encoding: quoted-printable", b"=3D" * 4 * MB
    ),
    "base64": mail(b"text/plain\r\nContent-Transfer-Encoding: base64", b"QUFB" * 3 * MB),
    "wide text": mail(b"text/plain; charset=utf-8", b"\xf0\x9f\x98\x80" * 3 * MB),
    "utf-7": mail(b"text/plain; charset=utf-7", b"+AGE-" * 2 * MB),
    "mails in mails": mail(b"message/rfc822", b"Content-Type: message/rfc822\r\n\r\n" * 400_000),
}
LARGE_MAILS = {
    str(number): mail(b"text/plain", (b"x" * 76 + b"\r\n") * 51_000) for number in range(45)
}
LISTS = {
    "inbox: a list": [get("/inbox/messages?limit=200")],
    "inbox: a search": [get("/inbox/messages?q=nobody")],
}


class Watched(Server):
    """`notifier serve` that tells of its loop and its memory, under a limit of memory."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.watch, self.submission = free_port(), free_port()
        self.settings |= {"smtp_listen": f"127.0.0.1:{self.submission}"}

    async def start(self, *, ready=True):
        with (self.folder / "log.jsonl").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "prlimit", f"--data={LIMIT}", sys.executable, "-m", "tests.watched_server",
                str(self.watch), env=environment(**self.settings), stdout=log, stderr=log,
            )  # fmt: skip
        if ready:
            await self.until_ready()
        return self

    async def measured(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.watch)
        found = json.loads(await reader.read())
        writer.close()
        return found

    async def ask(self, method, path, body, headers):
        """The status of an answer, and how long it is. It is read and not kept."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            kind = [] if "Content_Type" in headers else ["Content-Type: application/json"]
            lines += [*kind, f"Content-Length: {len(body)}"]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            left = length
            while left and (piece := await reader.read(min(left, 2**20))):
                left -= len(piece)
        finally:
            writer.close()
        return int(head.split()[1]), length


def put_mails(folder, mails):
    """Where the mailbox finds them; their ids, by name."""
    inbox = folder / "data" / "inbox"
    inbox.mkdir(parents=True)
    ids = {}
    for number, (name, content) in enumerate(mails.items()):
        ids[name] = f"{int(time.time() * 1e6) + number:014x}{'0' * 10}"
        (inbox / f"{ids[name]}.eml").write_bytes(content)
    return ids


def put_templates(folder):
    templates = folder / "templates"
    templates.mkdir()
    (templates / "heavy.txt").write_text(
        "{% for a in range(n) %}{% for b in range(n) %}x{% endfor %}{% endfor %}"
    )
    (templates / "deep.txt").write_text("{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(a) }}")
    (templates / "list.txt").write_text("{% for each in all %}{{ each|upper }}\n{% endfor %}")
    return templates


def of_the_inbox(ids):
    """What can be asked of each hostile mail."""
    return {
        f"mail: {name}": [
            get(f"/inbox/messages/{id}{rest}")
            for rest in ("", "/html", "/source", "/attachments/0", "/attachments/999")
        ]
        for name, id in ids.items()
    }


async def together(server):
    """Eight of the largest at a time."""
    body = letter(text=("x" * 76 + "\n") * 180_000)
    await asyncio.gather(*(server.ask(*post(body)) for _ in range(8)))


async def unread(server):
    """A hundred who ask for the largest file, and read nothing of it."""
    path = "/static/vendor/swagger-ui-5.35.0/swagger-ui-bundle.js"
    asked = [await asyncio.open_connection("127.0.0.1", server.port, limit=64) for _ in range(100)]
    for _, writer in asked:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for _ in range(3):
        await server.ask(*get("/livez"))
    for _, writer in asked:
        writer.transport.abort()


async def streams(server):
    """A hundred readers of events who read nothing, while messages come and go."""
    asked = [await asyncio.open_connection("127.0.0.1", server.port, limit=64) for _ in range(100)]
    for place, (_, writer) in enumerate(asked):
        path = ("/v1/events", "/inbox/events")[place % 2]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for _ in range(5):
        await server.ask(*post(batch(200), BATCH))
    for _, writer in asked:
        writer.transport.abort()


async def submissions(server):
    """Such mails by SMTP, one after the other on one connection."""

    def submit():
        codes = []
        with smtplib.SMTP("127.0.0.1", server.submission, timeout=PATIENCE) as client:
            for source in SOURCES.values():
                client.ehlo("me")
                client.mail("us@example.org")
                client.rcpt("ann@example.org")
                codes.append(client.data(source)[0])
        return codes

    return await asyncio.to_thread(submit)


SCENES = {
    "mails by SMTP": submissions,
    "eight of 14 MB at a time": together,
    "answers that nobody reads": unread,
    "streams that nobody reads": streams,
}


def _large(folder):
    put_mails(folder, LARGE_MAILS)
    return {}, {f"{name}, large": partial(_all, asked) for name, asked in LISTS.items()}


def _hostile(folder):
    asked = {f"{name}, hostile": each for name, each in LISTS.items()}
    asked |= of_the_inbox(put_mails(folder, MAILS))
    return {}, {name: partial(_all, each) for name, each in asked.items()}


def _requests(folder):
    shapes = {name: partial(_all, asked) for name, asked in SHAPES.items()}
    return {"templates": put_templates(folder)}, shapes | SCENES


# Each fills a folder, and returns settings and what a server is asked there.
PLACES = {"large": _large, "hostile": _hostile, "requests": _requests}


async def measured(folder):
    """Of each shape: its name, how long it held the loop, the MB it took, and the answers."""
    for place, fill in PLACES.items():
        (folder / place).mkdir()
        settings, shapes = fill(folder / place)
        async with Watched(folder / place, **settings) as server:
            for name, ask in shapes.items():
                held, memory, answers = await _one(server, ask)
                for again in range(AGAIN if held > MOST_HELD else 0):
                    elsewhere = folder / f"{place}, {name.replace('/', ' ')}, {again}"
                    held = min(held, await _held_by(name, fill, elsewhere))
                yield name, held, memory, answers


async def _held_by(name, fill, folder):
    """
    How long a shape holds the loop of a server that has seen nothing before: what somebody else
    on this machine did to the first will hardly be done to each, and nothing is remembered.
    """
    folder.mkdir()
    settings, shapes = fill(folder)
    async with Watched(folder, **settings) as server:
        return (await _one(server, shapes[name]))[0]


async def _all(asked, server):
    return [(await server.ask(*each))[0] for each in asked]


async def _one(server, ask):
    before = await server.measured()
    try:
        async with asyncio.timeout(PATIENCE):
            answers = await ask(server)
            while (await server.ask(*get(f"/v1/messages?{UNDER_WAY}")))[1] > len(NOTHING):
                await asyncio.sleep(0.02)
    except TimeoutError:
        answers = ["none in time"]
    except (ConnectionError, asyncio.IncompleteReadError):
        answers = ["hung up"]
    after = await server.measured()
    return after["held"], after["peak"] - before["now"], answers
