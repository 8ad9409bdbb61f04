"""Each route that changes something is recorded in the audit, with who called it."""

import base64
import re
from typing import Any, NamedTuple

from notifier.audit import Which
from notifier.journal.shared_secret import shared_secret
from notifier.keys import KeyScope
from notifier.pseudonyms import SECRET as OF_PSEUDONYMS
from notifier.pseudonyms import Pseudonyms
from notifier.web.api.examples import REPORTS
from notifier.web.app import create_app
from tests.api_keys import OURS, made
from tests.applications import made_key
from tests.paths import PACKAGE
from tests.routes import routes_of
from tests.web_client import LETTER, SIMPLE, final, serving

ADDRESS = "ann@example.org"
EXAMPLE_ID = "0195519f3d40a1b2c3d4e5f60718293a"
SECRET = "a-long-random-word"
LOST = LETTER | {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}
TEXT = {"phone_number": "+12025550123", "provider": "us cellular", "message": "Hi"}
LISTED = {"content": b"bob@x.org", "headers": {"Content-Type": "text/csv"}}
REFUSED = {"address": ADDRESS}
SETTLED = {"as": "sent", "why": "seen"}
TAGGED = {"tag": "t"}
SINCE = {"since": "2026-01-31T12:00:00Z"}


class Act(NamedTuple):
    """What the audit calls it, on what it is done, and how."""

    what: str
    on: str = ""
    call: dict[str, Any] = {}  # noqa: RUF012  read only
    by: str = "key:boss"


# In an order in which each can be done: what is sent, then a paused queue, sessions last.
ACTS = {
    "POST /v1/messages": Act("send", call={"json": LETTER}),
    "POST /v1/messages/batch": Act("send", call={"json": [LETTER, LETTER]}),
    "POST /send-email": Act("send", call={"json": SIMPLE}),
    "POST /send-async": Act("send", call={"json": SIMPLE}),
    "POST /send-sms": Act("send", call={"json": TEXT}),
    "POST /v1/queue/pause": Act("pause-queue"),
    "POST /v1/messages/{id:str}/retry": Act("retry", "{id}"),
    "POST /v1/messages/{id:str}/send-now": Act("send-now", "{id}"),
    "POST /v1/messages/{id:str}/cancel": Act("cancel", "{id}"),
    "POST /v1/messages/{id:str}/settle": Act("settle", "{id}", {"json": SETTLED}),
    "POST /v1/messages/{id:str}/copies": Act("copy", "{id}", {"json": {"to": [ADDRESS]}}),
    "POST /v1/messages/send-now": Act("send-now", call={"params": TAGGED}),
    "POST /v1/messages/cancel": Act("cancel", call={"params": TAGGED}),
    "POST /v1/messages/retry": Act("retry", call={"params": TAGGED}),
    "POST /v1/messages/settle": Act("settle", call={"params": TAGGED, "json": SETTLED}),
    "POST /v1/relays/{name:str}/pause": Act("pause-relay", "capture"),
    "POST /v1/relays/{name:str}/resume": Act("resume-relay", "capture"),
    "POST /v1/suppressions": Act("add-suppression", ADDRESS, {"json": {"address": ADDRESS}}),
    "DELETE /v1/suppressions/{address:path}": Act("remove-suppression", ADDRESS),
    "POST /v1/suppressions/import": Act("import-suppressions", call=LISTED),
    "DELETE /v1/suppressions": Act("remove-suppressions", call={"params": {"domain": "x.org"}}),
    "POST /v1/callbacks/{key:str}/test": Act("test-callback", "shop"),
    "POST /v1/callbacks/{key:str}/replay": Act("replay-callbacks", "shop", {"params": SINCE}),
    "POST /v1/callbacks/{key:str}/resume": Act("resume-callback", "shop"),
    "POST /v1/recipients/export": Act(
        "export-recipient", "{erased}", {"json": {"address": ADDRESS}}
    ),
    "POST /v1/recipients/erase": Act("erase-recipient", "{erased}", {"json": {"address": ADDRESS}}),
    "POST /v1/reports": Act("take-report"),
    "POST /v1/reports/{name:str}": Act("take-report", by="report:postmark"),
    "POST /inbox/refusals": Act("refuse-recipient", ADDRESS, {"json": REFUSED}),
    "DELETE /inbox/refusals": Act("refuse-nobody", "inbox"),
    "DELETE /inbox/messages": Act("delete-mails", "inbox"),
    "POST /inbox/reset": Act("reset-inbox", "inbox"),
    "POST /v1/queue/resume": Act("resume-queue"),
    "POST /sign-in": Act("sign-in", "127.0.0.1", by="monitor:boss"),
    "POST /sign-out": Act("sign-out", "127.0.0.1", by="monitor:boss"),
}
# Routes that change something of which nobody must know, and why.
UNTOLD = {
    "POST /v1/templates/{name:str}/preview": "it shows what would be sent, and sends nothing",
}


async def test_no_route_that_changes_something_is_forgotten(tmp_path):
    """The next test does each and reads the audit, or its reason stands in the short list."""
    async with serving(tmp_path) as (service, _):
        changing = {
            f"{method} {path}"
            for path, handler in routes_of(create_app(service))
            for method in set(map(str, handler.http_methods)) - {"GET", "HEAD", "OPTIONS"}
        }
    assert changing == ACTS.keys() | UNTOLD.keys()


def test_every_act_has_words_on_the_page():
    """Of routes, and those that a server tells by itself."""
    script = (PACKAGE / "web/ui/static/js/audit.js").read_text()
    words = set(re.findall(r'^  \["([a-z-]+)", "', script, re.MULTILINE))
    others = {"make-key", "change-key", "revoke-key", "remove-key", "sign-in-refused"}
    others |= {"start", "prune", "send-message", "send-batch"}
    assert words >= {act.what for act in ACTS.values()} | others


async def test_audit_records_every_act_with_its_actor(tmp_path):
    """What was done, on what and by whom; once, and as soon as it is answered."""
    headers = made(tmp_path, "boss", *KeyScope)
    made_key(tmp_path, "http://127.0.0.1:9/")
    secrets = tmp_path / "reports.toml"
    secrets.write_text(f'postmark = {{ secret = "{SECRET}" }}')
    secrets.chmod(0o600)
    given = {"report_secrets": str(secrets), "sms_from": "us@example.org"}
    async with serving(tmp_path, **given) as (service, client):

        async def sent(letter):
            answer = await client.post("/v1/messages", json=letter, headers=headers)
            return answer.json()["id"]

        client.headers.update(headers)
        erased = Pseudonyms(await shared_secret(service.journal, OF_PSEUDONYMS)).of(ADDRESS)
        ids = [(await final(client, await sent(each)))["id"] for each in (LOST, LETTER, LETTER)]
        special = {
            "POST /v1/reports": _bounce(ids[1], headers),
            "POST /v1/reports/{name:str}": _of_postmark(ids[2]),
            "POST /sign-in": {"json": {"key": headers["Authorization"][7:]}, "headers": OURS},
            "POST /sign-out": {"headers": OURS},
        }
        for route, act in ACTS.items():
            before = await _told(service, act)
            method, path = route.split(" ")
            name = "postmark" if path.startswith("/v1/reports") else "capture"
            path = path.replace(":str", "").replace(":path", "")
            path = path.format(id=ids[0], name=name, address=ADDRESS, key="shop")
            answer = await client.request(method, path, **special.get(route, act.call))
            assert answer.status_code < 300, (route, answer.text)
            after = await _told(service, act)
            if act.what in {"send", "take-report"}:
                count = 2 if path.endswith("batch") else 1
                assert _sum(after) - _sum(before) == count, route
            else:
                assert len(after) == len(before) + 1, route
                assert after[0].on == act.on.format(id=ids[0], erased=erased), route


def _bounce(id, headers):
    content = REPORTS["bounce"].replace(EXAMPLE_ID, id).encode()
    return {"content": content, "headers": headers | {"Content-Type": "message/rfc822"}}


def _of_postmark(id):
    login = base64.b64encode(f"notifier:{SECRET}".encode()).decode()
    event = {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "Name": "Hard bounce",
        "Details": "smtp;550 5.1.1 no such user",
        "Email": "ann@example.net",
        "BouncedAt": "2026-03-01T12:00:00.2735393-04:00",
        "Metadata": {"Notifier": id},
    }
    return {"json": event, "headers": {"Authorization": f"Basic {login}"}}


async def _told(service, act):
    await service.audit.write_sums()
    return (await service.audit.page(Which(by=act.by, what=act.what))).items


def _sum(records):
    return sum(each.count for each in records)
