"""What is wrong with what the settings point at: told at the start, by name, all together."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from notifier.errors import ConfigurationError
from notifier.preflight import Preflight
from notifier.server import sockets
from notifier.settings import Settings
from tests.paths import ROOT
from tests.process import Server, environment, free_port
from tests.waiting import LIMIT


def serve(folder, **settings):
    """`notifier serve` with settings that it must refuse: its exit code and what it said."""
    given = {"data_dir": folder / "data", "port": free_port()} | settings
    done = subprocess.run(
        [sys.executable, "-m", "notifier", "serve"],
        env=environment(**given),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, [
        line.removeprefix("notifier: ") for line in done.stderr.splitlines() if line
    ]


def broken_templates(folder):
    folder.mkdir()
    (folder / "welcome.txt").write_text("Hello {{ name }")
    (folder / "bye.subject.txt").write_text("Bye")
    return folder


CASES = {
    "sms_provider": ("ftp://hush-hush@example.org", "NOTIFIER_SMS_PROVIDER: "),
    "carriers": ("/nowhere/carriers.toml", "NOTIFIER_CARRIERS: /nowhere/carriers.toml: "),
    "templates": ("/nowhere/templates", "NOTIFIER_TEMPLATES: /nowhere/templates: "),
    "default_from": ("nobody", "NOTIFIER_DEFAULT_FROM: "),
    "sms_from": ("us@-.example", "NOTIFIER_SMS_FROM: "),
    "journal": ("mysql://here", "NOTIFIER_JOURNAL: "),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_reported_by_name(name, tmp_path):
    """Exit code 2, one line, nothing of a secret, and no data directory was made."""
    value, begins = CASES[name]
    code, said = serve(tmp_path, **{name: value})
    assert code == 2
    assert len(said) == 1, said
    assert said[0].startswith(begins)
    assert "hush" not in said[0]
    assert not (tmp_path / "data").exists()


def test_all_faults_are_reported_together(tmp_path):
    """One start reports the faults of files together with those of the settings and of access."""
    (tmp_path / "keys.toml").write_text("[keys.x\n")
    code, said = serve(
        tmp_path,
        **{name: value for name, (value, _) in CASES.items() if name != "templates"},
        templates=broken_templates(tmp_path / "templates"),
        api_keys=tmp_path / "keys.toml",
        workers="many",
        sms_provider_body="{",
    )
    assert code == 2
    named = sorted({line.split(":")[0] for line in said})
    assert named == sorted(
        [
            "NOTIFIER_API_KEYS",
            "NOTIFIER_CARRIERS",
            "NOTIFIER_DEFAULT_FROM",
            "NOTIFIER_JOURNAL",
            "NOTIFIER_SMS_FROM",
            "NOTIFIER_SMS_PROVIDER",
            "NOTIFIER_SMS_PROVIDER_BODY",
            "NOTIFIER_TEMPLATES",
            "NOTIFIER_WORKERS",
        ]
    )
    of_templates = [line for line in said if "TEMPLATES" in line]
    assert any("welcome.txt, line 1" in line for line in of_templates)
    assert any("bye.subject.txt" in line for line in of_templates)


def test_an_open_address_is_reported_with_the_other_faults(tmp_path):
    """An address for everybody without a key, and a carrier map that is not there."""
    code, said = serve(tmp_path, host="0.0.0.0", carriers="/nowhere.toml")
    assert code == 2
    assert [line.split(":")[0].split("=")[0] for line in said] == [
        "NOTIFIER_CARRIERS",
        "NOTIFIER_HOST",
    ]


def test_unreadable_certificates_are_reported(tmp_path):
    """A file that is there but holds none: before the first message finds out."""
    (tmp_path / "ca.pem").write_text("no certificate")
    relay = f"smtps://mail.example.org?ca={tmp_path / 'ca.pem'}"
    code, (said,) = serve(tmp_path, relays=relay)
    assert code == 2
    assert said.startswith("NOTIFIER_RELAYS: ca=")


def test_a_sender_that_no_message_could_have_is_refused_at_the_start(tmp_path):
    """What the settings' own look lets pass, but composing would not."""
    with pytest.raises(ConfigurationError) as caught:
        Preflight.read(Settings(data_dir=str(tmp_path), default_from="Us <us@a..b>"))
    (fault,) = caught.value.faults
    assert fault.startswith("NOTIFIER_DEFAULT_FROM: ")


async def test_valid_settings_start(tmp_path):
    """All of these at once, each of them right."""
    (tmp_path / "carriers.toml").write_text('[ours]\nnames = ["Ours"]\nsms = "sms.example.org"\n')
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "welcome.txt").write_text("Hello {{ name }}")
    server = Server(
        tmp_path,
        carriers=tmp_path / "carriers.toml",
        templates=tmp_path / "templates",
        sms_provider="twilio://AC0123456789:secret-token@?from=+15005550006",
        default_from="Us <us@example.org>",
        sms_from="sms@example.org",
    )
    async with server:
        assert await server.stop() == os.EX_OK


def test_each_address_of_a_host_has_the_same_port(monkeypatch):
    """Also where the system chooses it: a client need not know by which address it calls."""
    found = [(socket.AF_INET, (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(sockets, "_addresses", lambda *_: found)
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(each) for each in sockets.bound("here", 0)]
        first, second = (each.getsockname() for each in taken)
    assert first[1] == second[1] != 0
    assert (first[0], second[0]) == ("127.0.0.1", "127.0.0.2")


# What a start without settings has no use for, and whoever needs it loads when it is needed.
UNUSED = {
    "aiosmtpd",  # the built-in mailbox, until a mail comes
    "anyio._backends",  # Litestar's events
    "asyncpg",
    "attr._make",  # Litestar's plugin for its classes
    "cryptography",
    "flufl",
    "httpx2",
    "jinja2",
    "jwt",
    "markdown_it",
    "notifier.submission_agent",
    "opentelemetry.sdk",
    "phonenumbers",
    "pydantic.main",  # Litestar's plugin for its classes
    "rich.console",
    "turbohtml",
    "yaml",  # Litestar's OpenAPI documents
}


async def test_a_start_loads_nothing_that_it_does_not_use(tmp_path):
    """Until it is ready, and while it answers that it is."""
    server = Server(tmp_path)
    server.variables["PYTHONPROFILEIMPORTTIME"] = "1"  # Python writes a line for each import
    async with server:
        pass
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    loaded = {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}
    assert "litestar.app" in loaded
    begins = tuple(f"{name}." for name in UNUSED)
    assert not sorted(name for name in loaded if f"{name}.".startswith(begins))
