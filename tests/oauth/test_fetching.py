"""How a token is asked for, what an answer means, and what is never shown."""

import asyncio
import base64
import hashlib
import json
import ssl
import sys
from functools import partial
from pathlib import Path

import jwt
import pytest
import trustme
import uvloop
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from notifier.oauth import grant_for, read_sections
from notifier.oauth.answers import of_a_program, of_an_endpoint
from notifier.oauth.requests import fetch
from notifier.relayspec import RelaySpec, Tls
from notifier.tokens import DENIED, UNAVAILABLE, NoToken
from tests.process import free_port
from tests.relay import CUT
from tests.token_endpoint import TokenEndpoint
from tests.waiting import LIMIT, until

RELAY = RelaySpec(name="r", host="h", port=587, tls=Tls.STARTTLS, username="us@corp.example")


def grant(folder, text):
    path = folder / "oauth.toml"
    path.write_text(text)
    (section,) = read_sections(path).values()
    return grant_for(RELAY, section)


def certificate(folder):
    """A certificate and its key, both in one file."""
    made = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(
        "notifier.example", key_type=trustme.KeyType.RSA
    )
    path = folder / "certificate.pem"
    chain = b"".join(each.bytes() for each in made.cert_chain_pems)
    path.write_bytes(made.private_key_pem.bytes() + chain)
    return path


async def test_by_a_secret(tmp_path):
    """Microsoft's endpoint takes it in the form; it is read anew each time."""
    async with TokenEndpoint() as endpoint:
        asked = grant(tmp_path, endpoint.section(tmp_path))
        assert (await fetch(asked)).value == "token-1"
        (tmp_path / "secret").write_text("new-secret")
        assert (await fetch(asked)).seconds == 3600
    assert [form["client_secret"] for form in endpoint.forms] == ["hush-hush", "new-secret"]
    assert endpoint.forms[0]["grant_type"] == "client_credentials"
    assert endpoint.forms[0]["scope"] == "https://outlook.office365.com/.default"


async def test_by_a_secret_anywhere_else(tmp_path):
    """RFC 6749, section 2.3.1: Basic, which every endpoint must understand."""
    (tmp_path / "secret").write_text("hush:hush")
    async with TokenEndpoint() as endpoint:
        await fetch(
            grant(
                tmp_path,
                f'[a]\ntoken_url = "{endpoint.url}"\nclient_id = "us"\n'
                f'client_secret_file = "{tmp_path}/secret"\n',
            )
        )
    (form,) = endpoint.forms
    authorization = endpoint.requests[0].fields["authorization"]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"us:hush%3Ahush"
    assert form == {"grant_type": "client_credentials"}


async def test_by_a_certificate(tmp_path):
    """The assertion is signed with its key, and names the certificate by its thumbprint."""
    path = certificate(tmp_path)
    async with TokenEndpoint() as endpoint:
        await fetch(
            grant(
                tmp_path,
                f'[a]\npreset = "microsoft"\ntenant = "corp.example"\nclient_id = "us"\n'
                f'certificate_file = "{path}"\ntoken_url = "{endpoint.url}"\n',
            )
        )
    (form,) = endpoint.forms
    assertion = form["client_assertion"]
    key = load_pem_private_key(path.read_bytes(), None).public_key()
    claims = jwt.decode(assertion, key, algorithms=["PS256"], audience=endpoint.url)
    assert claims["iss"] == claims["sub"] == form["client_id"] == "us"
    first = path.read_text().partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    der = ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{first}-----END CERTIFICATE-----")
    thumbprint = jwt.get_unverified_header(assertion)["x5t#S256"]
    assert base64.urlsafe_b64decode(thumbprint + "=") == hashlib.sha256(der).digest()


async def test_by_a_service_account(tmp_path):
    """Google's: it acts for the user of the relay."""
    path = certificate(tmp_path)
    pem = path.read_text()
    async with TokenEndpoint() as endpoint:
        key = {
            "token_uri": endpoint.url,
            "client_email": "notifier@project.example",
            "private_key": pem,
            "private_key_id": "7",
        }
        (tmp_path / "key.json").write_text(json.dumps(key))
        await fetch(grant(tmp_path, f'[a]\npreset = "google"\nkey_file = "{tmp_path}/key.json"'))
    (form,) = endpoint.forms
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    key = load_pem_private_key(path.read_bytes(), None).public_key()
    claims = jwt.decode(form["assertion"], key, algorithms=["RS256"], audience=endpoint.url)
    assert claims["sub"] == "us@corp.example"
    assert claims["scope"] == "https://mail.google.com/"
    assert claims["iss"] == "notifier@project.example"
    assert jwt.get_unverified_header(form["assertion"])["kid"] == "7"


@pytest.mark.parametrize(
    ("answer", "name", "words"),
    [
        (
            (401, {"error": "invalid_client", "error_description": "AADSTS7000215"}),
            DENIED,
            "7000215",
        ),
        ((400, {"error": "invalid_grant"}), DENIED, "invalid_grant"),
        ((400, {"error": "temporarily_unavailable"}), UNAVAILABLE, "temporarily"),
        ((503, {}), UNAVAILABLE, "503"),
        ((429, {"error": "too_many_requests"}), UNAVAILABLE, "429"),
        ((302, {}), UNAVAILABLE, "302"),
        ((200, {"token_type": "Bearer"}), UNAVAILABLE, "without a token"),
        ((200, {"access_token": "a b", "expires_in": 3}), UNAVAILABLE, "without a token"),
        ((200, {"access_token": "a", "expires_in": 0}), UNAVAILABLE, "has already expired"),
        (CUT, UNAVAILABLE, "was not reached"),
    ],
)
async def test_an_answer_without_a_token_has_a_meaning(answer, name, words, tmp_path):
    """Who is denied has to act; the rest passes by itself."""
    async with TokenEndpoint(answer) as endpoint:
        with pytest.raises(NoToken, match=words) as raised:
            await fetch(grant(tmp_path, endpoint.section(tmp_path)))
    assert raised.value.name == name
    assert endpoint.url in str(raised.value)


async def test_a_redirect_is_not_followed(tmp_path):
    """The secret is for this endpoint alone."""
    async with (
        TokenEndpoint() as other,
        TokenEndpoint((307, {}, {"Location": other.url})) as endpoint,
    ):
        with pytest.raises(NoToken, match="307"):
            await fetch(grant(tmp_path, endpoint.section(tmp_path)))
    assert other.requests == []


async def test_an_endpoint_that_hangs_is_given_up(tmp_path):
    """Its silence has a limit of its own."""
    async with TokenEndpoint() as endpoint:
        endpoint.held.clear()
        with pytest.raises(NoToken, match=r"did not answer within 0\.2 s"):
            await fetch(grant(tmp_path, endpoint.section(tmp_path)), seconds=0.2)


async def test_a_refused_connection_is_an_error(tmp_path):
    """As an endpoint that is down."""
    endpoint = TokenEndpoint()
    endpoint.port = free_port()
    with pytest.raises(NoToken, match="was not reached") as raised:
        await fetch(grant(tmp_path, endpoint.section(tmp_path)))
    assert raised.value.name == UNAVAILABLE


async def test_an_endpoint_that_repeats_the_secret_is_not_quoted(tmp_path):
    """It is struck out of whatever it says."""
    answer = 400, {"error": "invalid_client", "error_description": "hush-hush is wrong"}
    async with TokenEndpoint(answer) as endpoint:
        with pytest.raises(NoToken, match=r"\*\*\* is wrong"):
            await fetch(grant(tmp_path, endpoint.section(tmp_path)))


async def test_a_missing_secret_file_is_reported(tmp_path):
    """The file is there at the start, and not an hour later."""
    async with TokenEndpoint() as endpoint:
        asked = grant(tmp_path, endpoint.section(tmp_path))
        (tmp_path / "secret").unlink()
        with pytest.raises(NoToken, match="secret cannot be read"):
            await fetch(asked)


def command(folder, script):
    words = json.dumps([sys.executable, "-c", script])
    return grant(folder, f"[a]\ncommand = {words}")


async def test_by_a_command(tmp_path):
    """A token alone, or JSON with its end."""
    plain = await fetch(command(tmp_path, "print('abc.def')"))
    assert (plain.value, plain.seconds) == ("abc.def", 300)
    slow = "import time; print('abc', end='', flush=True); time.sleep(0.2); print('.def')"
    assert (await fetch(command(tmp_path, slow))).value == "abc.def"
    script = 'print(\'{"access_token": "abc", "expires_in": 60}\')'
    assert (await fetch(command(tmp_path, script))).seconds == 60


def alive(pid):
    """Whether a process runs, or has ended and is not waited for."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_with_a_command_end_those_that_it_has_started(tmp_path):
    """None of them is left behind when it is given up."""
    script = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    asked = command(tmp_path, script)
    giving_up = asyncio.create_task(fetch(asked, seconds=8))
    pid = int(await until(lambda: read(tmp_path / "child")))
    with pytest.raises(NoToken, match="did not end"):
        await giving_up
    await until(lambda: not alive(pid))


def read(path):
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_command_runs_on_each_loop(run, tmp_path):
    """The service has uvloop's; `check` has asyncio's."""
    assert run(fetch(command(tmp_path, "print('abc')"))).value == "abc"
    with pytest.raises(NoToken, match="did not end"):
        run(fetch(command(tmp_path, "import time; time.sleep(60)"), seconds=0.5))


@pytest.mark.parametrize(
    ("script", "seconds", "words"),
    [
        ("exit(3)", LIMIT, "exit code 3"),
        ("print('a b')", LIMIT, "must print the token and nothing else"),
        ("pass", LIMIT, "must print the token and nothing else"),
        ("print('{}')", LIMIT, "without a token"),
        ("import time; time.sleep(60)", 1, "did not end within"),
        # Its child may write on.
        ("import os, time; os.fork() or time.sleep(20)", LIMIT, "printed no token"),
        ("print('x' * 100_000)", 2, "did not end within"),  # it holds more than a token may have
    ],
)
async def test_a_command_that_prints_no_token(script, seconds, words, tmp_path):
    """It is ended with all that it has started, and what it printed is not repeated."""
    asked = command(tmp_path, script)
    with pytest.raises(NoToken, match=words) as raised:
        await fetch(asked, seconds=seconds)
    assert "a b" not in str(raised.value)


def said(read):
    """A token, or the words of why there is none: no exception of another kind."""
    try:
        return read().value
    except NoToken as error:
        return str(error)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_answer_is_a_token_or_a_reason(status, body):
    """Nothing of what an endpoint or a command says is more than one line."""
    assert said(lambda: of_an_endpoint(status, body, "s", "hush")).isprintable()
    assert said(lambda: of_a_program(body, "p")).isprintable()


@given(st.recursive(st.none() | st.integers() | st.text(), lambda it: st.lists(it), max_leaves=5))
def test_any_json_is_a_token_or_a_reason(value):
    """Also where the fields have other types than they should."""
    for field in ("access_token", "expires_in", "error"):
        body = json.dumps({"access_token": "abc", field: value}).encode()
        for status in (200, 400):
            assert said(partial(of_an_endpoint, status, body, "s", "")).isprintable()
