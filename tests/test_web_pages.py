"""Pages: what they show, what they load, and that nobody's text can become part of them."""

import asyncio
import hashlib
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from notifier import web as web_package
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.pages import SWAGGER
from tests.web_client import LETTER, client_of, serving

STATIC = Path(web_package.__file__).parent / "static"
PAGES = ("/", "/docs", "/inbox")
EVIL = "<script>alert(1)</script>\"'&amp;"


class Reader(HTMLParser):
    """The tags of a page, and what they load or lead to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.inline, self._script = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self._script = tag if tag in {"script", "style"} else None
        self.links += [value for name, value in attrs if name in {"src", "href", "data-document"}]
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag):
        self._script = None


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as (service, client):
        yield service, client


@pytest.fixture
def client(web):
    return web[1]


async def caught(client, body):
    """Send, and wait until the mailbox has it."""
    accepted = await client.post("/v1/messages", json=body)
    assert accepted.status_code == 202, accepted.text
    async with asyncio.timeout(10):
        while not (items := (await client.get("/inbox/messages")).json()["items"]):
            pass
    return items[0]


async def test_pages_load_nothing_from_elsewhere(client):
    """Every link is to us, nothing is inline, and the policy would not have it otherwise."""
    for path in PAGES:
        answer = await client.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Reader(answer.text)
        assert not page.inline, path
        for link in page.links:
            assert link.startswith("/"), f"{path}: {link}"
            assert not link.startswith("//")
            assert (await client.get(link)).status_code == 200, link
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert ("unsafe-inline" in policy) == (path == "/docs")
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize("path", [*PAGES, "/static/style.css", f"/static/vendor/{SWAGGER}/LICENSE"])
async def test_pages_and_files_carry_their_protection(client, path):
    """No sniffing and no referrer on all of them; HEAD works."""
    answer = await client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    head = await client.head(path)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(answer.content))
    assert head.content == b""


async def test_a_prefix_stands_before_every_link(tmp_path):
    """Behind a proxy that takes it off again."""
    async with serving(tmp_path, public_path="/mail") as (_, client):
        await caught(client, LETTER)
        accepted = await client.post("/v1/messages", json=LETTER)
        assert accepted.headers["location"].startswith("/mail/v1/messages/")
        for path in PAGES:
            for link in Reader((await client.get(path)).text).links:
                assert link.startswith("/mail/"), f"{path}: {link}"
                assert (await client.get(link.removeprefix("/mail"))).status_code == 200, link


async def test_the_index_says_how_to_call_under_the_name_it_was_called_by(client):
    """Its example can be copied."""
    text = (await client.get("/", headers={"Host": "mail.example.org:8014"})).text
    assert "curl -X POST http://mail.example.org:8014/v1/messages" in text


# Files


async def test_files_with_a_version_are_kept_for_good(client):
    """Their content never changes under their name. Ours are asked for each time."""
    vendored = await client.get(f"/static/vendor/{SWAGGER}/swagger-ui-bundle.js")
    assert vendored.headers["cache-control"] == "public, max-age=31536000, immutable"
    ours = await client.get("/static/docs.js")
    assert ours.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": ours.headers["etag"]}
    again = await client.get("/static/docs.js", headers=known)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "%2e%2e/app.py",
        "vendor/../../app.py",
        "vendor/MANIFEST.toml",
        "/etc/passwd",
        "",
    ],
)
async def test_nothing_but_static_files_is_served(client, path):
    """Names are looked up, paths are not walked."""
    assert (await client.get(f"/static/{path}")).status_code == 404


def test_what_others_wrote_is_what_they_wrote():
    """Every vendored file has its sum in the manifest, and each package its licence."""
    manifest = tomllib.loads((STATIC / "vendor/MANIFEST.toml").read_text())
    listed = set()
    for package in manifest["package"]:
        assert package["name"]
        assert package["licence"]
        assert package["version"] in package["folder"]
        assert "LICENSE" in package["sha256"]
        for name, expected in package["sha256"].items():
            path = STATIC / "vendor" / package["folder"] / name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == expected, name
            listed.add(path)
    assert listed == {path for path in (STATIC / "vendor").glob("*/*") if path.is_file()}


def test_our_own_files_name_no_other_host():
    """Neither scripts nor styles of ours could load anything from elsewhere."""
    for path in STATIC.glob("*.*"):
        for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text()):
            assert url == "http://www.w3.org/2000/svg", path.name


# The inbox


async def test_the_inbox_shows_what_was_caught(client):
    """In the list, by itself, as JSON and as its source."""
    found = await caught(client, LETTER | {"subject": "Grüße", "html": "<b>Hi</b>"})
    assert found["subject"] == "Grüße"
    assert found["recipients"] == ["ann@example.net"]
    assert "Grüße" in (await client.get("/inbox")).text
    assert "Hello." in (await client.get(f"/inbox/view/{found['id']}")).text
    assert (await client.get(f"/inbox/messages/{found['id']}")).json() == found
    source = await client.get(f"/inbox/messages/{found['id']}/source")
    assert source.headers["content-type"].startswith("text/plain")
    assert b"\r\nSubject: " in source.content


async def test_the_inbox_goes_page_by_page(client):
    """The newest first; `next_before` leads on."""
    for n in range(3):
        await client.post("/v1/messages", json=LETTER | {"subject": f"s{n}"})
    async with asyncio.timeout(10):
        while len((await client.get("/inbox/messages")).json()["items"]) < 3:
            pass
    first = (await client.get("/inbox/messages?limit=2")).json()
    rest = (await client.get(f"/inbox/messages?limit=2&before={first['next_before']}")).json()
    assert len(first["items"]) == 2
    assert len(rest["items"]) == 1
    assert rest["next_before"] is None
    assert 'href="/inbox?before=' not in (await client.get("/inbox")).text


async def test_a_strangers_text_stays_text(client):
    """Nothing in a mail becomes a tag of our pages; its HTML is shown in a sandbox."""
    body = LETTER | {"to": ['"<i>x" <ann@example.net>'], "subject": EVIL, "text": EVIL}
    found = await caught(client, body | {"html": f"<p>{EVIL}</p>"})
    for path in ("/inbox", f"/inbox/view/{found['id']}"):
        page = Reader((await client.get(path)).text)
        assert "script" not in page.tags
        assert "i" not in page.tags
    text = (await client.get(f"/inbox/view/{found['id']}")).text
    assert re.search(r'<iframe sandbox [^>]*src="/inbox/messages/\w+/html"', text)
    html = await client.get(f"/inbox/messages/{found['id']}/html")
    policy = html.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; ")
    assert "script" not in policy


@pytest.mark.parametrize("id", ["nothing", "..%2f..%2fnotifier.db", "%00", "\u00fc", "a" * 500])
async def test_what_was_not_caught_is_not_found(client, id):
    """Whatever is written there; it never names a file."""
    for path in ("view/{}", "messages/{}", "messages/{}/source", "messages/{}/html"):
        answer = await client.get("/inbox/" + path.format(id))
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_without_the_mailbox_there_is_no_inbox(tmp_path):
    """Before the service has opened it, say: then nothing points to it either."""
    async with client_of(Notifier(Settings(data_dir=str(tmp_path)))) as client:
        for path in ("/inbox", "/inbox/messages", "/inbox/messages/abc"):
            assert (await client.get(path)).status_code == 404
        assert "/inbox" not in (await client.get("/")).text
