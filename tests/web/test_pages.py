"""Pages: what they show, what they load, and that nobody's text can become part of them."""

import asyncio
import hashlib
import re
import tomllib
from html.parser import HTMLParser

import pytest

from notifier.web.ui.files import STATIC, SWAGGER
from tests.api_keys import made
from tests.paths import ROOT
from tests.waiting import LIMIT
from tests.web_client import LETTER, serving

TESTS = ROOT / "tests"
PAGES = (
    "/",
    "/docs",
    "/guide",
    "/guide/api",
    "/inbox",
    "/monitor",
    "/monitor/messages/abc",
    "/sign-in",
    "/suppressions",
    "/audit",
)
EVIL = "<script>alert(1)</script>\"'&amp;"


class Reader(HTMLParser):
    """The tags of a page, and what they load or lead to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.loads, self.inline, self._script = [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self._script = tag if tag in {"script", "style"} else None
        self.links += [value for name, value in attrs if name in {"src", "href", "data-document"}]
        if tag != "a":
            self.loads += [value for name, value in attrs if name in {"src", "href"}]
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag):
        self._script = None


async def caught(client, body):
    """Send, and wait until the mailbox has it."""
    accepted = await client.post("/v1/messages", json=body)
    assert accepted.status_code == 202, accepted.text
    async with asyncio.timeout(LIMIT):
        while not (items := (await client.get("/inbox/messages")).json()["items"]):
            pass
    return (await client.get(f"/inbox/messages/{items[0]['id']}")).json()


async def test_pages_load_nothing_from_elsewhere(client):
    """Every link is to us, nothing is inline, and the policy would not have it otherwise."""
    for path in PAGES:
        answer = await client.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Reader(answer.text)
        assert not page.inline, path
        assert page.loads
        for link in page.loads:
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
                if link.startswith(("#", "?", "http://localhost/mail/", "https://")):
                    continue  # within the page, or to a specification
                assert link.startswith("/mail/"), f"{path}: {link}"
                assert (await client.get(link.removeprefix("/mail"))).status_code == 200, link


async def test_the_index_says_how_to_call_under_the_name_it_was_called_by(client):
    """Its example can be copied."""
    text = (await client.get("/", headers={"Host": "127.0.0.1:8765"})).text
    assert "curl -s http://127.0.0.1:8765/v1/messages" in text
    assert "http://127.0.0.1:8014" not in text


async def test_a_host_name_never_becomes_a_tag(tmp_path):
    """The index shows under which name it was called, as text: with a key that may be any."""
    made(tmp_path)
    async with serving(tmp_path) as (_, client):
        answer = await client.get("/", headers={"Host": "a<i>b"})
        assert "<i>" not in answer.text


# Files


async def test_files_with_a_version_are_kept_for_good(client):
    """Their content never changes under their name. Ours are asked for each time."""
    vendored = await client.get(f"/static/vendor/{SWAGGER}/swagger-ui-bundle.js")
    assert vendored.headers["cache-control"] == "public, max-age=31536000, immutable"
    ours = await client.get("/static/js/docs.js")
    assert ours.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": ours.headers["etag"]}
    again = await client.get("/static/js/docs.js", headers=known)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "%2e%2e/app.py",
        "vendor/../../app.py",
        "vendor/MANIFEST.toml",
        "js/package.json",
        "/etc/passwd",
        "",
    ],
)
async def test_nothing_but_static_files_is_served(client, path):
    """Names are looked up, paths are not walked."""
    assert (await client.get(f"/static/{path}")).status_code == 404


@pytest.mark.parametrize("folder", [STATIC, TESTS], ids=["package", "tests"])
def test_vendored_files_are_unchanged(folder):
    """Every vendored file has its sum in the manifest, and each package its licence."""
    manifest = tomllib.loads((folder / "vendor/MANIFEST.toml").read_text())
    listed = set()
    for package in manifest["package"]:
        assert package["name"]
        assert package["licence"]
        assert package["version"] in package["folder"]
        assert "LICENSE" in package["sha256"]
        for name, expected in package["sha256"].items():
            path = folder / "vendor" / package["folder"] / name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == expected, name
            listed.add(path)
    assert listed == {path for path in (folder / "vendor").glob("*/*") if path.is_file()}


def test_our_own_files_name_no_other_host():
    """Neither scripts nor styles of ours could load anything from elsewhere."""
    for path in [*STATIC.glob("*.*"), *STATIC.glob("js/*.js")]:
        if path.suffix in {".png", ".webp"}:
            continue
        for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text()):
            assert url == "http://www.w3.org/2000/svg", path.name


async def test_the_documentation_orders_every_tag(client):
    """The script's list of tags has each tag of the OpenAPI document, and no other."""
    paths = (await client.get("/openapi.json")).json()["paths"].values()
    used = {tag for path in paths for operation in path.values() for tag in operation["tags"]}
    (listed,) = re.findall(r"(?s)TAGS = \[(.*?)\]", (STATIC / "js/docs.js").read_text())
    assert sorted(re.findall(r'"(.*?)"', listed)) == sorted(used)


def test_scripts_fit_on_a_few_screens():
    """As modules of ours in Python do."""
    for path in STATIC.glob("js/*.js"):
        assert len(path.read_text().splitlines()) < 300, path.name


# The inbox


async def test_the_inbox_shows_what_was_caught(client):
    """In the list, by itself, as JSON and as its source."""
    found = await caught(client, LETTER | {"subject": "Grüße", "html": "<b>Hi</b>"})
    assert found["subject"] == "Grüße"
    assert found["recipients"] == ["ann@example.net"]
    (listed,) = (await client.get("/inbox/messages?q=grüße")).json()["items"]
    assert (listed["subject"], listed["gist"], listed["files"]) == ("Grüße", "Hello.", 0)
    assert "html" not in listed
    assert (await client.get("/inbox/messages?q=nowhere")).json()["items"] == []
    assert (await client.get(f"/inbox/messages/{found['id']}")).json() == found
    source = await client.get(f"/inbox/messages/{found['id']}/source")
    assert source.headers["content-type"].startswith("text/plain")
    assert b"\r\nSubject: " in source.content


async def test_the_inbox_goes_page_by_page(client):
    """The newest first; `next_before` leads on."""
    for n in range(3):
        await client.post("/v1/messages", json=LETTER | {"subject": f"s{n}"})
    async with asyncio.timeout(LIMIT):
        while len((await client.get("/inbox/messages")).json()["items"]) < 3:
            pass
    first = (await client.get("/inbox/messages?limit=2")).json()
    rest = (await client.get(f"/inbox/messages?limit=2&before={first['next_before']}")).json()
    assert len(first["items"]) == 2
    assert len(rest["items"]) == 1
    assert rest["next_before"] is None
    assert first["total"] == rest["total"] == 3
    assert (await client.delete("/inbox/messages")).json() == {"count": 3}
    assert (await client.get("/inbox/messages")).json()["items"] == []


@pytest.mark.parametrize("kind", ["inbox", "monitor"])
async def test_a_strangers_html_is_locked_up(client, kind):
    """No scripts, no forms, no network, an origin of its own: the policy that goes with it."""
    sent = LETTER | {"html": f"<p>{EVIL}</p>"}
    found = await caught(client, sent)
    id = (await client.get("/v1/messages")).json()["items"][0]["id"]
    path = {"inbox": f"/inbox/messages/{found['id']}", "monitor": f"/monitor/messages/{id}"}[kind]
    html = await client.get(f"{path}/html")
    assert EVIL in html.text
    policy = html.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; ")
    assert "script" not in policy
    assert "form-action 'none'" in policy


@pytest.mark.parametrize("kind", ["inbox", "monitor"])
async def test_an_attachment_is_only_handed_over(client, kind):
    """Never opened in place, whatever it says that it is; a picture is shown where it belongs."""
    files = [
        {"filename": 'a"b;\u20ac.html', "content_type": "text/html", "content": "PGI+"},
        {"filename": "p.png", "content_type": "image/png", "content": "UE5H", "content_id": "pic"},
    ]
    sent = {"html": '<img src="cid:pic"><img src="cid:other">', "attachments": files}
    found = await caught(client, LETTER | sent)
    id = (await client.get("/v1/messages")).json()["items"][0]["id"]
    path = {"inbox": f"/inbox/messages/{found['id']}", "monitor": f"/monitor/messages/{id}"}[kind]
    numbers = {each["name"]: each["number"] for each in found["attachments"]}
    html = next(number for name, number in numbers.items() if name.endswith(".html"))
    answer = await client.get(f"{path}/attachments/{html}")
    assert answer.content == b"<b>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="a_b__.html"; ')
    assert "sandbox" in answer.headers["content-security-policy"]
    for nowhere in ("7", "x", "-1", "\u0663", "9" * 400):
        assert (await client.get(f"{path}/attachments/{nowhere}")).status_code == 404
    shown = (await client.get(f"{path}/html")).text
    assert '<img src="data:image/png;base64,UE5H">' in shown
    assert '<img src="cid:other">' in shown


@pytest.mark.parametrize(
    ("id", "url"),
    [("pic", "CID:pic"), ("a&b", "cid:a&amp;b"), ("a&b", "cid:a&b"), ("a@x", "cid:a%40x")],
)
async def test_a_picture_is_shown_however_its_url_is_written(client, id, url):
    """A scheme has no case, and HTML and URLs have their own ways to write an id."""
    file = {"filename": "p.png", "content_type": "image/png", "content": "UE5H", "content_id": id}
    answer = await client.post(
        "/v1/messages", json=LETTER | {"html": f'<img src="{url}">', "attachments": [file]}
    )
    assert "warnings" not in answer.json() or answer.json()["warnings"] == []
    shown = (await client.get(f"/monitor/messages/{answer.json()['id']}/html")).text
    assert '<img src="data:image/png;base64,UE5H">' in shown


async def test_the_monitor_takes_a_message_apart(client):
    """Texts and headers of a mail; of a text message what is sent."""
    await caught(client, LETTER | {"html": "<b>Hi</b>"})
    id = (await client.get("/v1/messages")).json()["items"][0]["id"]
    content = (await client.get(f"/monitor/messages/{id}/content")).json()
    assert content["text"] == "Hello.\n"
    assert content["has_html"]
    assert ["Subject", "Hi"] in content["headers"]
    for path in ("content", "html", "attachments/0"):
        assert (await client.get(f"/monitor/messages/nothing/{path}")).status_code == 404


@pytest.mark.parametrize("id", ["nothing", "..%2f..%2fnotifier.db", "%00", "\u00fc", "a" * 500])
async def test_an_unknown_captured_mail_is_not_found(client, id):
    """Whatever is written there; it never names a file."""
    for path in ("messages/{}", "messages/{}/source", "messages/{}/html"):
        answer = await client.get("/inbox/" + path.format(id))
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
