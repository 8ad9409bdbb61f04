"""Litestar + SAQ + Redis: a POST becomes a job, and a job sends one mail by aiosmtplib."""

import os
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

import aiosmtplib
from litestar import Litestar, post
from msgspec import Struct, field
from saq import Queue

HOST, PORT = os.environ["BENCH_RELAY"].rsplit(":", 1)
queue = Queue.from_url(os.environ["BENCH_REDIS"])


class Mail(Struct):
    to: list[str]
    subject: str
    text: str
    sender: str = field(name="from")


async def send(ctx, *, sender, to, subject, text):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="example.org")
    mail.set_content(text)
    await aiosmtplib.send(mail, hostname=HOST, port=int(PORT), start_tls=False)


@post("/mails", status_code=202)
async def mails(data: Mail) -> dict[str, Any]:
    job = await queue.enqueue(
        "send", sender=data.sender, to=data.to, subject=data.subject, text=data.text, retries=5
    )
    return {"id": job.id if job else None}


app = Litestar([mails])
settings = {"queue": queue, "functions": [send], "concurrency": 16}
