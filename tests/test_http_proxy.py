"""NOTIFIER_PROXY: whatever goes out by HTTP goes through it, but for what is on this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from notifier.alerts.channels import Alert, ByPost
from notifier.attempts import Envelope
from notifier.errors import ConfigurationError
from notifier.graph.carrier import Graph
from notifier.oauth.requests import fetch
from notifier.preflight import Preflight, grants
from notifier.proxies import Proxy as Address
from notifier.proxies import proxy_for
from notifier.settings import Settings
from notifier.sms.provider import Provider, content
from notifier.tokens import NoToken, Token
from tests.proxy import Proxy
from tests.service import now
from tests.waiting import LIMIT

ADDRESS = Address(scheme="http", host="127.0.0.1", port=1)


def read(folder, proxy, **more):
    (folder / "secret").write_text("hush-hush")
    (folder / "oauth.toml").write_text(
        f"""
        [m365]
        preset = "microsoft"
        tenant = "corp.example"
        client_id = "us"
        client_secret_file = "{folder}/secret"
        """
    )
    return Settings.read(
        {
            "NOTIFIER_DATA_DIR": str(folder),
            "NOTIFIER_PROXY": f"http://us:s3cret@127.0.0.1:{proxy.port}",
            "NOTIFIER_OAUTH": str(folder / "oauth.toml"),
            "NOTIFIER_RELAYS": "graph://corp.example/us?mailbox=a@corp.example&oauth=m365",
            "NOTIFIER_SMS_PROVIDER": "https://sms.example/send",
        }
        | more
    )


async def test_tokens_graph_and_the_provider_go_through_it(tmp_path):
    """Each asks the proxy for a connection to its host, with the login, before all else."""

    class Tokens:
        async def get(self):
            return Token("secret-token", "here", now())

        async def refused(self, _):
            return await self.get()

    async with Proxy(login=("us", "s3cret"), refuses=403) as proxy:
        settings = read(tmp_path, proxy)
        (grant,) = grants(settings).values()
        with pytest.raises(NoToken, match="403"):
            await fetch(grant)
        graph = Graph(settings.relays[0], Tokens())
        outcome = await graph.send(Envelope("a@corp.example", ("b@x.org",)), b"To: b@x.org\r\n\r\n")
        assert "403" in outcome.reply
        assert not outcome.uncertain
        await graph.close()
        provider = Provider(Preflight.read(settings).provider)
        attempt = await provider.send(
            Envelope("", ("+15005550001",)), content("d1", "+15005550001", "Hi")
        )
        assert attempt.relay_failed
        assert not attempt.uncertain
        await provider.close()
    assert proxy.asked == [
        "login.microsoftonline.com:443",
        "graph.microsoft.com:443",
        "sms.example:443",
    ]
    assert "s3cret" not in repr((settings, outcome, attempt, settings.relays))


async def test_alerts_go_through_it():
    """By http the proxy itself passes the request on."""
    posted = []

    class Posts(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Posts) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        async with Proxy(names={"chat.corp.example": "127.0.0.1"}) as proxy:
            address = Address(scheme="http", host="127.0.0.1", port=proxy.port)
            road = ByPost(f"http://chat.corp.example:{server.server_port}/hook", address)
            await road.tell(Alert("disk_low", "raised", "disk", now(), now(), "here", "It is low."))
        server.shutdown()
        serving.join(LIMIT)
    assert proxy.asked == [f"chat.corp.example:{server.server_port}"]
    ((path, body),) = posted
    assert path == "/hook"
    assert b"It is low." in body


@pytest.mark.parametrize("here", ["http://127.0.0.1:1/", "http://localhost/x", "https://[::1]/"])
def test_loopback_addresses_bypass_the_proxy(here):
    """The proxy could not reach it."""
    assert proxy_for(here, ADDRESS) is None
    assert proxy_for("https://elsewhere.example/", ADDRESS) is ADDRESS
    assert proxy_for("https://elsewhere.example/", None) is None


@pytest.mark.parametrize(
    "wrong", ["socks5://proxy.example", "proxy.example", "http://u:s3cret@h:0"]
)
def test_a_wrong_setting_is_reported_by_name(wrong):
    """Without what may be secret."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.read({"NOTIFIER_PROXY": wrong})
    (fault,) = raised.value.faults
    assert fault.startswith("NOTIFIER_PROXY")
    assert "s3cret" not in fault
