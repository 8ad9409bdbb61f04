"""The examples of the guide's pages for callers run, as they stand there."""

import base64
import json
import re
from datetime import UTC, datetime

import fastapi
import httpx2
import pytest
from django.test.utils import override_settings
from django.utils.module_loading import import_string
from standardwebhooks import Webhook

from notifier.client.django import EmailBackend
from tests import django_project  # noqa: F401 - Django wants its settings first
from tests.paths import PACKAGE

GUIDE = PACKAGE / "guide"


def examples(page, section=None):
    """The Python of a page, or of one section of it."""
    text = (GUIDE / page).read_text()
    if section:
        text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    found = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture
def run(notifier_mailbox, monkeypatch, tmp_path):
    """Runs examples one after another, against a real server, with the names that they leave."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}

    def run(page, section=None):
        for code in examples(page, section):
            code = code.replace("http://127.0.0.1:8014", notifier_mailbox.url)
            exec(compile(code, f"{page}: {section or 'all'}", "exec"), names)
        return names

    return run


def test_the_client_page_runs(run, notifier_mailbox, capsys):
    """Every example of the page runs, and what it sends arrives."""
    run("client.md")
    for subject in ("Your order has shipped", "Your code", "Hello Ann", "Hello Bob", "Hello"):
        notifier_mailbox.wait(subject=subject)
    invoice = notifier_mailbox.wait(to="archive@example.org", subject="Invoice 17")
    assert {each.name for each in invoice.attachments} == {"invoice.txt", "logo.png"}
    said = capsys.readouterr().out
    assert "422 The message is not valid: /to/0: " in said


def test_callbacks_are_received(run, capsys):
    """The receiver of the page believes what was signed, and nothing else."""
    names = run("client.md", "Callbacks")
    body = json.dumps(
        {"type": "message.sent", "timestamp": "2026-01-31T12:00:00Z", "data": {}}
    ).encode()
    now = datetime.now(UTC)
    for secret in names["SECRETS"]:
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) >= 24
        headers = {
            "webhook-id": "1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign("1", now, body.decode()),
        }
        assert names["receive"](headers, body) == 204
        assert names["receive"](headers, body + b" ") == 400


async def test_the_fastapi_recipe(run, notifier_mailbox):
    """The application ships an order once, however often it is asked, and checks callbacks."""
    names = run("client.md", "Callbacks")
    names = run("client.md", "FastAPI")
    app = names["app"]
    assert isinstance(app, fastapi.FastAPI)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        answers = [await client.post("/orders/17/ship") for _ in range(2)]
        assert [each.status_code for each in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        assert (await client.post("/callbacks", content=b"{}")).status_code == 400
    notifier_mailbox.wait(subject="Order 17 has shipped")
    assert len(notifier_mailbox.messages) == 1


def test_the_celery_recipe(run, notifier_mailbox):
    """A task that fails tells of it, with its traceback."""
    names = run("client.md", "Celery")
    names["charge"].apply(args=[17])
    mail = notifier_mailbox.wait(to="ops@example.org")
    assert "order 17 has no price" in mail.subject
    assert "Traceback" in mail.text


def test_the_django_page_runs(run, notifier_mailbox):
    """The settings of the page are those that Django takes, and its message is sent."""
    mailers, backend, sending = examples("django.md")
    names = {}
    exec(mailers, names)
    assert import_string(names["MAILERS"]["default"]["BACKEND"]) is EmailBackend
    exec(backend, names)
    assert import_string(names["EMAIL_BACKEND"]) is EmailBackend
    with override_settings(NOTIFIER_URL=notifier_mailbox.url, NOTIFIER_KEY=""):
        exec(sending, names)
    mail = notifier_mailbox.wait(to="ann@example.org")
    assert mail.attachments[0].name == "invoice.pdf"
    assert names["message"].notifier_id == notifier_mailbox.messages[0].id
