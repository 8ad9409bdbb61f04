"""The company's login with a real nginx, as the guide shows it, before a real server."""

import asyncio
import contextlib
import re

import httpx2
import pytest
import pytest_asyncio

from notifier.web.ui.guide import FOLDER
from tests.nginx import Nginx
from tests.process import Server, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = {  # by the cookie of oauth2-proxy, as its /oauth2/auth tells of them
    "ann": {"X-Auth-Request-User": "ann", "X-Auth-Request-Groups": "staff,ops"},
    "bob": {"X-Auth-Request-User": "bob", "X-Auth-Request-Email": "bob@example.org"},
}
FORGED = {
    "X-Forwarded-User": "root",
    "X-Forwarded-Groups": "ops",
    "X-Auth-Request-User": "root",
    "X-Auth-Request-Groups": "ops",
}


async def answer_as_oauth2_proxy(reader, writer):
    """202 and who it is, or 401, as `oauth2-proxy --set-xauthrequest` answers on /oauth2/auth."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        found = re.search(r"(?im)^cookie: _oauth2_proxy=(\w+)", asked)
        person = PEOPLE.get(found[1]) if found else None
        lines = ["HTTP/1.1 202 Accepted" if person else "HTTP/1.1 401 Unauthorized"]
        lines += [f"{name}: {value}" for name, value in (person or {}).items()]
        lines += ["Content-Length: 0", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
    writer.close()


def configuration(folder, port, login, service):
    """The guide's example, without TLS and on ports of the test."""
    example = re.search(r"(?s)```nginx\n(.*?)```", (FOLDER / "access.md").read_text())[1]
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:4180", f"127.0.0.1:{login}"),
        ("127.0.0.1:8014", f"127.0.0.1:{service}"),
    ):
        assert old in example
        example = example.replace(old, new)
    example = re.sub(r"ssl_certificate\w* .*;", "", example)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"pid {folder}/nginx.pid; error_log stderr warn; events {{}}\n"
        f"http {{ access_log off; {paths}\n{example}}}"
    )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def proxied(tmp_path_factory):
    """A client of nginx, and the server behind it, which trusts the address 127.0.0.1 alone."""
    folder = tmp_path_factory.mktemp("login")
    server = Server(
        folder,
        trusted_proxies="127.0.0.1",
        sign_in_header="X-Forwarded-User",
        sign_in_groups_header="X-Forwarded-Groups",
        sign_in_groups="ops:manage",
        allowed_hosts="notifier.example.org",
    )
    async with await asyncio.start_server(answer_as_oauth2_proxy, "127.0.0.1", 0) as login:
        port = free_port()
        text = configuration(folder, port, login.sockets[0].getsockname()[1], server.port)
        await server.start()
        try:
            async with (
                Nginx(folder, port, text) as nginx,
                httpx2.AsyncClient(
                    base_url=nginx.url,
                    trust_env=False,
                    timeout=30,
                    headers={"Host": "notifier.example.org"},
                ) as client,
            ):
                yield client, server
        finally:
            await server.stop()


def cookie(person):
    return {"Cookie": f"_oauth2_proxy={person}"}


async def test_a_person_reads_and_a_group_acts_in_the_persons_name(proxied):
    """Through auth_request and the headers that oauth2-proxy sets."""
    client, _ = proxied
    ours = {"Origin": "http://notifier.example.org"}
    assert (await client.get("/v1/messages", headers=cookie("bob"))).status_code == 200
    assert "bob" in (await client.get("/monitor", headers=cookie("bob"))).text
    pause = "/v1/queue/pause"
    assert (await client.post(pause, headers=cookie("bob") | ours)).status_code == 403
    assert (await client.post(pause, headers=cookie("ann"))).status_code == 403
    assert (await client.post(pause, headers=cookie("ann") | ours)).status_code == 200
    (told,) = (await client.get("/v1/audit?by=login:ann", headers=cookie("ann"))).json()["items"]
    assert told["what"] == "pause-queue"


async def test_nginx_removes_the_claims_of_a_client(proxied):
    """Without a login nobody gets through; with one, the claim makes nobody anybody else."""
    client, _ = proxied
    assert (await client.get("/v1/messages", headers=FORGED)).status_code == 401
    page = await client.get("/monitor", headers={"Sec-Fetch-Mode": "navigate"})
    assert (page.status_code, "/oauth2/start?rd=/monitor" in page.headers["location"]) == (
        302,
        True,
    )
    shown = (await client.get("/monitor", headers=cookie("bob") | FORGED)).text
    assert "bob" in shown
    assert "root" not in shown
    answer = await client.get("/v1/audit", headers=cookie("bob") | FORGED)
    assert answer.status_code == 403  # the groups are not the client's either


async def test_past_the_proxy_everybody_is_a_stranger(proxied):
    """Whoever reaches the port from an address that is not the proxy's, whatever it claims."""
    _, server = proxied
    transport = httpx2.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx2.AsyncClient(transport=transport, base_url=server.url) as stranger:
        forged = FORGED | {"X-Forwarded-For": "127.0.0.1"}
        assert (await stranger.get("/v1/messages", headers=forged)).status_code == 401
        assert (await stranger.get("/monitor", headers=forged)).status_code == 303
