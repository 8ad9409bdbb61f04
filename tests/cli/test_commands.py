"""The command line: what each command says, how it exits, and how `serve` lives and ends."""

import asyncio
import contextlib
import http.server
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import click
import msgspec
import pytest

from notifier.cli.check import check
from notifier.relayspec import RelaySpec
from notifier.settings import Settings
from notifier.smtp.connect import Opening
from tests.paths import ROOT
from tests.process import Server, environment, free_port, run, run_async
from tests.waiting import LIMIT

# --- settings -------------------------------------------------------------------------------


def test_config_prints_what_is_in_force(tmp_path):
    """File, environment and defaults together, without a password."""
    toml = tmp_path / "n.toml"
    toml.write_text('workers = 3\nrelays = "smtps://user:hush@mail.example.org"\n')
    done = run("config", "--config", str(toml), port=9001)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert "NOTIFIER_WORKERS=3" in lines
    assert "NOTIFIER_PORT=9001" in lines
    assert "NOTIFIER_GRACE=20s" in lines
    assert "smtps://user:***@mail.example.org:465" in done.stdout
    assert "hush" not in done.stdout


@pytest.mark.parametrize("command", ["serve", "config", "check", "healthcheck"])
def test_all_wrong_settings_are_reported_with_exit_code_2(command):
    """Before anything listens, each fault on a line of its own."""
    done = run(command, port="x", workres=1)
    assert done.returncode == 2
    assert [line.split(":")[:2] for line in sorted(done.stderr.splitlines())] == [
        ["notifier", " NOTIFIER_PORT"],
        ["notifier", " NOTIFIER_WORKRES"],
    ]


@pytest.mark.parametrize("arguments", [["nope"], ["serve", "--nope"], ["send"], ["config", "x"]])
def test_wrong_usage_exits_2(arguments):
    """With a word on how it is used."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_help_and_version():
    """Both exit with 0."""
    assert run("--version").stdout.startswith("notifier ")
    help = run("--help")
    assert help.returncode == 0
    assert "serve" in help.stdout


# --- a running server, seen by clients --------------------------------------------------------


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path as it was told, and keeps what it was asked."""

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, dict(self.headers), body))
        status, answer, *headers = self.server.answers[self.path]
        self.send_response(status)
        for name, value in dict(*headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.asked, server.answers = [], {}
        server.url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join(LIMIT)


def test_the_exit_code_of_healthcheck_is_the_readiness(web):
    """0 while the server is ready; 1 with the reason when it is not, or not there."""
    web.answers["/readyz"] = (200, "{}")
    assert run("healthcheck", port=web.server_port).returncode == 0
    web.answers["/readyz"] = (503, json.dumps({"reasons": ["draining"]}))
    refused = run("healthcheck", "--url", web.url)
    assert (refused.returncode, refused.stderr) == (1, "notifier: 503: draining\n")
    gone = run("healthcheck", port=free_port())
    assert gone.returncode == 1
    assert "cannot reach http://127.0.0.1:" in gone.stderr


def test_a_proxy_for_the_world_is_not_asked_for_our_own_server(web):
    """`http_proxy` is set on many machines."""
    web.answers["/readyz"] = (200, "{}")
    proxied = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
    assert run("healthcheck", "--url", web.url, env=proxied).returncode == 0


def test_healthcheck_loads_no_more_than_it_needs():
    """It runs every few seconds in a container: no web framework, no SMTP, no service."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "notifier", "healthcheck"],
        cwd=ROOT,
        env=environment(port=free_port()),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "urllib.request" in loaded
    heavy = {"litestar", "uvicorn", "uvloop", "asyncio", "structlog", "sqlite3"}
    assert not loaded & heavy


def test_send_posts_a_message(web, tmp_path):
    """Every option has its place in the body; the answer is id and status."""
    web.answers["/v1/messages"] = (202, json.dumps({"id": "m1", "status": "queued"}))
    page, picture, key = tmp_path / "p.html", tmp_path / "a.png", tmp_path / "key"
    page.write_text("<p>Grüße</p>")
    picture.write_bytes(b"\x89PNG")
    key.write_text("ntf_secret\n")
    # fmt: off
    done = run(
        "send", "--url", web.url, "--to", "a@b.example", "--to", "c@d.example",
        "--cc", "e@f.example", "--from", "us@example.org", "--subject", "Hallo", "--text", "-",
        "--html", str(page), "--attach", str(picture), "--wait", "3", "--api-key", f"@{key}",
        stdin="Grüße",
    )
    # fmt: on
    assert (done.returncode, done.stdout) == (0, "m1 queued\n"), done.stderr
    ((_, headers, body),) = web.asked
    assert headers["Authorization"] == "Bearer ntf_secret"
    assert headers["Prefer"] == "wait=3"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "to": ["a@b.example", "c@d.example"],
        "cc": ["e@f.example"],
        "from": "us@example.org",
        "subject": "Hallo",
        "text": "Grüße",
        "html": "<p>Grüße</p>",
        "attachments": [{"filename": "a.png", "content_type": "image/png", "content": "iVBORw=="}],
    }


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (
            422,
            {"detail": "cannot be sent", "errors": [{"pointer": "/to/0", "message": "no address"}]},
            "notifier: 422: cannot be sent; /to/0: no address",
        ),
        (
            401,
            {"title": "no key"},
            "notifier: 401: no key; give --api-key @FILE, or set NOTIFIER_API_KEY",
        ),
        (202, {"id": "m1", "status": "failed", "reason": "550 no"}, "notifier: m1 failed: 550 no"),
    ],
)
def test_send_says_why_not(web, status, answer, told):
    """A refusal and a bad outcome exit with 1, in the server's words."""
    web.answers["/v1/messages"] = (status, json.dumps(answer))
    done = run("send", "--url", web.url, "--to", "a@b.example", "--text", "x")
    assert (done.returncode, done.stderr.strip()) == (1, told)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_key_goes_to_no_server_that_another_names(web, status):
    """A redirect is reported and not followed. Neither the message nor the key goes further."""
    elsewhere = "http://127.0.0.1:1/v1/messages"
    web.answers["/v1/messages"] = (status, "", {"Location": elsewhere})
    done = run("send", "--url", web.url, "--to", "a@b.example", "--text", "x", "--api-key", "ntf_k")
    assert done.returncode == 1
    assert f"redirects to '{elsewhere}', which is not followed" in done.stderr


def test_the_key_may_stand_in_the_environment(web):
    """NOTIFIER_API_KEY, where no list of processes shows it; the option is stronger."""
    web.answers["/v1/messages"] = (202, '{"id": "m1", "status": "queued"}')
    sent = ("send", "--url", web.url, "--to", "a@b.example", "--text", "x")
    assert run(*sent, api_key="ntf_environment").returncode == 0
    assert run(*sent, "--api-key", "ntf_option", api_key="ntf_environment").returncode == 0
    shown = [headers["Authorization"] for _, headers, _ in web.asked]
    assert shown == ["Bearer ntf_environment", "Bearer ntf_option"]
    assert "API_KEY" not in run("config", api_key="ntf_environment").stdout.replace("API_KEYS", "")


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"id": 1}'])
def test_send_to_something_else(web, answer):
    """A server that is not notifier gets an error in words, without a traceback."""
    web.answers["/v1/messages"] = (200, answer)
    done = run("send", "--url", web.url, "--to", "a@b.example", "--text", "x")
    assert done.returncode == 1
    assert "is it notifier?" in done.stderr
    assert "Traceback" not in done.stderr


# --- check ------------------------------------------------------------------------------------


class Relay:
    """Says what it was told to each command; 250 to the others."""

    def __init__(self, *, greeting="220 relay ready", tls=None, starttls=None, **replies):
        self.greeting, self.tls, self.starttls = greeting, tls, starttls
        self.replies = {"EHLO": "250-relay\r\n250 SIZE 1000", "QUIT": "221 bye"} | replies
        self.heard = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self.server.close()
        await self.server.wait_closed()

    async def _talk(self, reader, writer):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if self.greeting:
                writer.write(f"{self.greeting}\r\n".encode())
            while line := (await reader.readline()).decode():
                self.heard.append(line.strip())
                verb = line.split()[0].upper()
                writer.write(f"{self.replies.get(verb, '250 ok')}\r\n".encode())
                await writer.drain()
                if verb == "STARTTLS" and self.starttls:
                    await writer.start_tls(self.starttls)
        writer.close()


@pytest.fixture
def authority_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def certified(authority, name, **terms):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **terms).configure_cert(context)
    return context


AUTH = {"EHLO": "250-relay\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN"}


async def test_check_goes_through_a_good_relay(authority, authority_file):
    """Every step is reported. The sender is offered and taken back, and no mail is sent."""
    tls = certified(authority, "localhost")
    async with Relay(starttls=tls, AUTH="235 welcome", **AUTH, STARTTLS="220 go") as relay:
        url = f"smtp+starttls://user:hush@localhost:{relay.port}?ca={authority_file}"
        done = await run_async("check", relays=url, default_from="Us <us@example.org>")
        verbs = [line.split()[0] for line in relay.heard]
        as_json = await run_async("check", "--json", relays=url)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split()[:2] for line in done.stdout.splitlines()[1:]]
    steps = ["DNS:", "TCP:", "greeting:", "EHLO:", "STARTTLS:", "login:"]
    steps += ["sender:", "recipient:", "recipient:"]
    assert told == [["ok", step] for step in steps]
    assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "RCPT", "RSET", "QUIT"]
    assert re.search(r"STARTTLS: protected by .+; certificate until \d{4}-\d\d-\d\d", done.stdout)
    assert "MAIL FROM:<us@example.org>" in relay.heard
    (look,) = json.loads(as_json.stdout)
    ends = {each["step"]: each["certificate_ends_at"] for each in look["findings"]}
    assert datetime.fromisoformat(ends.pop("STARTTLS")) > datetime.now(UTC)
    assert set(ends.values()) == {None}
    assert "hush" not in done.stdout + done.stderr


async def test_check_warns_of_what_the_conditions_leave_out():
    """An unknown key's name, and messages that no relay takes; without conditions neither."""
    async with Relay() as relay:
        url = f"smtp://127.0.0.1:{relay.port}"
        partly = await run_async("check", relays=f"{url}?keys=shop")
        whole = await run_async("check", relays=f"{url}?keys=shop&name=a,{url}")
        plain = await run_async("check", relays=url)
    assert "keys=shop names no API key" in partly.stdout
    assert "a message that meets none of them is refused with 422" in partly.stdout
    assert "keys=shop names no API key" in whole.stdout
    assert "refused with 422" not in whole.stdout  # a port may have these digits
    assert "warning" not in plain.stdout


@pytest.mark.parametrize(
    ("replies", "url", "told", "remedy"),
    [
        ({"AUTH": "535 5.7.8 wrong"}, "smtp://u:p@{}", "login: 535 5.7.8 wrong", "percent-encoded"),
        (
            {"EHLO": "250 relay"},
            "smtp://u:p@{}",
            "no login mechanism that we know",
            "smtp+starttls://",
        ),
        ({"EHLO": "250 relay"}, "smtp+starttls://{}", "does not offer STARTTLS", "smtps://"),
        (
            {"MAIL": "550 5.7.1 not you"},
            "smtp://{}",
            "sender: us@example.org: 550 5.7.1 not you",
            "may use",
        ),
        (
            {"MAIL": "530 login first"},
            "smtp://{}",
            "sender: us@example.org: 530 login first",
            "user:password@",
        ),
        ({"EHLO": "550 what"}, "smtp://{}", "EHLO: 550 what", "mail server"),
        (
            {"greeting": "554 go away"},
            "smtp://{}",
            "greeting: 554 go away",
            "Does it allow our address?",
        ),
        ({}, "smtps://{}", "TLS: ", "smtp+starttls://"),
    ],
)
async def test_check_says_what_is_wrong_and_what_to_do(replies, url, told, remedy):
    """Each trouble in the relay's words, then a remedy in ours; exit code 1."""
    async with Relay(**(AUTH | replies)) as relay:
        place = f"127.0.0.1:{relay.port}"
        done = await run_async("check", relays=url.format(place), default_from="us@example.org")
    assert done.returncode == 1
    *_, failed, advice = done.stdout.splitlines()
    assert failed.startswith("  FAIL  ")
    assert told in failed
    assert remedy in advice
    assert sum(line.startswith("AUTH") for line in relay.heard) <= 1


async def test_check_prints_no_control_characters_of_a_relay():
    """Its words stand on the terminal of an operator, and are nothing but words there."""
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    offers = f"250-relay {evil}\r\n250-X{evil}\r\n250 AUTH PLAIN"
    async with Relay(greeting=f"220 {evil}", EHLO=offers, AUTH=f"535 {evil}") as relay:
        url = f"smtp://u:p@127.0.0.1:{relay.port}"
        done = await run_async("check", relays=url)
        as_json = await run_async("check", "--json", relays=url)
    assert done.stdout.count("owned") == 2
    for text in (done.stdout, done.stderr, as_json.stdout):
        assert all(each.isprintable() or each == "\n" for each in text)


async def test_check_warns_of_a_login_in_clear(monkeypatch):
    """Over a network, and not to this machine."""
    spec = RelaySpec(name="r", host="mail.example.org", port=25, username="u", password="p")

    async def look(self):
        return "seen"

    for step in ("_resolve", "_connect", "_greet", "_introduce", "_log_in"):
        monkeypatch.setattr(Opening, step, look)
    said = []
    settings = msgspec.structs.replace(Settings(), relays=(spec,))
    await asyncio.to_thread(check, settings, say=said.append)
    assert "warning: user and password go over the network in clear" in click.unstyle(said[-2])
    local = msgspec.structs.replace(spec, host="localhost")
    said.clear()
    settings = msgspec.structs.replace(settings, relays=(local,))
    await asyncio.to_thread(check, settings, say=said.append)
    assert "warning" not in "".join(said)


async def test_serve_warns_of_a_login_in_clear(tmp_path):
    """Each start warns for each relay of that kind, without the password."""
    relays = "smtp://u:hush@mail.invalid,smtp://u:hush@127.0.0.1:9,smtps://u:hush@other.invalid"
    async with Server(tmp_path, relays=relays) as server:
        warned = [line for line in server.log if line["event"] == "login_in_clear"]
    assert [(line["relay"], line["level"]) for line in warned] == [("mail.invalid", "warning")]
    assert "hush" not in str(server.log)


async def test_check_knows_bad_certificates(authority, authority_file):
    """An unknown authority, a wrong name and an expired certificate are distinguished."""
    then = datetime.now(UTC) - timedelta(days=2)
    old = certified(authority, "localhost", not_before=then - timedelta(days=9), not_after=then)
    async with Relay(starttls=old, STARTTLS="220 go", **AUTH) as relay:
        url = f"smtp+starttls://u:p@localhost:{relay.port}?ca={authority_file}"
        expired = await run_async("check", relays=url)
    assert (
        "FAIL  STARTTLS: the relay's certificate is not valid: certificate has expired"
        in expired.stdout
    )
    assert "must renew it" in expired.stdout
    assert not any(line.startswith("AUTH") for line in relay.heard)
    async with Relay(tls=certified(authority, "other.example")) as relay:
        url = f"smtps://localhost:{relay.port}"
        unknown = await run_async("check", relays=url)
        wrong = await run_async("check", relays=f"{url}?ca={authority_file}")
    assert "with ca=PATH" in unknown.stdout
    assert "The certificate is not for localhost" in wrong.stdout
    assert unknown.returncode == wrong.returncode == 1


async def test_check_of_a_wrong_authority(authority):
    """A file that contains no certificate is a wrong setting."""
    async with Relay(tls=certified(authority, "localhost")) as relay:
        url = f"smtps://localhost:{relay.port}?ca={ROOT / 'README.md'}"
        done = await run_async("check", relays=url)
    assert done.returncode == 2
    assert "NOTIFIER_RELAYS: ca=" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_an_absent_relay():
    """A closed port and an unknown name are distinguished. The mailbox needs no check."""
    done = run(
        "check", relays=f"smtp://127.0.0.1:{free_port()}?name=a,smtp://nosuch.invalid,capture:"
    )
    assert done.returncode == 1
    assert "Nothing listens on port" in done.stdout
    assert "FAIL  DNS: nosuch.invalid" in done.stdout
    assert "notifier: these relays do not take mail now: a, nosuch.invalid" in done.stderr
    assert run("check").returncode == 0


# --- serve ------------------------------------------------------------------------------------


async def until_listening(server):
    async with asyncio.timeout(LIMIT):
        while True:
            for line in server.log:
                if line["event"] == "listening":
                    return line["url"]
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well(tmp_path, number):
    """Both signals drain, and the exit code is 0."""
    async with Server(tmp_path) as server:
        assert await until_listening(server) == server.url
        server.process.send_signal(number)
        assert await asyncio.wait_for(server.process.wait(), LIMIT) == 0
        assert [line["event"] for line in server.log][-2:] == ["draining", "stopped"]


async def test_port_0_is_a_free_one(tmp_path):
    """The log says which."""
    server = Server(tmp_path, port=0)
    await server.start(ready=False)
    try:
        url = await until_listening(server)
        done = await run_async("healthcheck", "--url", url)
        assert done.returncode == 0, done.stderr
        assert await server.stop() == 0
    finally:
        await server.kill()


async def test_a_port_in_use_is_named(tmp_path):
    """Exit code 1, the setting by name, and the journal not even opened."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await run_async("serve", "--port", str(port), data_dir=tmp_path / "data")
    assert done.returncode == 1
    assert f"NOTIFIER_PORT: 127.0.0.1:{port} is in use" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"host": "0.0.0.0"}, "NOTIFIER_ANONYMOUS"),
        ({"anonymous": "never"}, "NOTIFIER_API_KEYS"),
        ({"host": "nosuch.invalid", "anonymous": "anywhere"}, "NOTIFIER_HOST"),
        ({"log_dir": "/dev/null/logs"}, "NOTIFIER_LOG_DIR"),
        ({"data_dir": "/dev/null/data"}, "NOTIFIER_DATA_DIR"),
    ],
)
def test_it_does_not_start_on_settings_that_cannot_be(settings, named, tmp_path):
    """Exit code 2 (74 where it is the journal's place), and the setting by name."""
    done = run("serve", **({"data_dir": tmp_path / "data", "port": free_port()} | settings))
    assert done.returncode in ({2, 74} if "data_dir" in settings else {2})
    assert named in done.stderr or "/dev/null/data" in done.stderr
    assert "Traceback" not in done.stderr


async def test_options_are_stronger_than_the_environment(tmp_path):
    """--host and --port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", "serve", "--host", "localhost", "--port", str(port),
        cwd=ROOT,
        env=environment(data_dir=tmp_path, host="192.0.2.1", port=1),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT):
            while b"listening" not in (line := await process.stderr.readline()):
                assert line
        assert f":{port}" in json.loads(line)["url"]
    finally:
        process.terminate()
        await process.communicate()
