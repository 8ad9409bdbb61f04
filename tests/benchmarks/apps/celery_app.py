"""
FastAPI + Celery + Redis, as people build it: a POST becomes a task, and a task sends one mail by
smtplib over a connection of its own; with BENCH_REUSE, over one that its process keeps.
"""

import os
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel, Field

HOST, PORT = os.environ["BENCH_RELAY"].rsplit(":", 1)
REUSE = bool(os.environ.get("BENCH_REUSE"))
REDIS = os.environ["BENCH_REDIS"]

celery = Celery("mails", broker=REDIS)
celery.conf.task_ignore_result = True
celery.conf.task_acks_late = True  # else a worker that dies loses what it has
app = FastAPI()


class Mail(BaseModel):
    sender: str = Field(alias="from")
    to: list[str]
    subject: str
    text: str


kept: list[smtplib.SMTP] = []


@celery.task(autoretry_for=(OSError, smtplib.SMTPException), retry_backoff=True)
def send(sender, to, subject, text):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="example.org")
    mail.set_content(text)
    if not REUSE:
        with smtplib.SMTP(HOST, int(PORT), local_hostname="localhost") as smtp:
            smtp.send_message(mail)
        return
    if not kept:
        kept.append(smtplib.SMTP(HOST, int(PORT), local_hostname="localhost"))
    try:
        kept[0].send_message(mail)
    except (OSError, smtplib.SMTPException):
        kept.clear()
        raise


@app.post("/mails", status_code=202)
async def post(mail: Mail):
    task = send.delay(mail.sender, mail.to, mail.subject, mail.text)
    return {"id": task.id}
