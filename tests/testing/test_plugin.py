"""The pytest plug-in, as a project of strangers uses it: installed, and in a pytest of its own."""

import os
import re
import subprocess
import sys
import tomllib

import notifier.testing.plugin
from tests.paths import PACKAGE, ROOT

PROJECT = """
import os, urllib.request
import pytest
from notifier.client import Notifier

LETTER = {"from_": "us@example.org", "subject": "Hello", "text": "It works."}

@pytest.mark.parametrize("number", range(4))
def test_each_begins_empty(notifier_mailbox, number):
    assert notifier_mailbox.sent == ()
    assert os.environ["NOTIFIER_URL"] == notifier_mailbox.url
    Notifier().send("ann@example.org", idempotency_key="the-same-in-each-test", **LETTER)
    assert notifier_mailbox.wait(to="Ann@example.org", subject="Hell").text.strip() == "It works."
    assert urllib.request.urlopen(notifier_mailbox.url + "/inbox").status == 200

def test_waiting_messages_are_gone_in_the_next_test(notifier_mailbox):
    notifier_mailbox.fail("ann@example.org", 451)
    Notifier().send("ann@example.org", **LETTER)

def test_events_come_at_once(notifier_mailbox):
    Notifier().send("bob@example.org", wait=10, **LETTER)
    assert [mail.recipients for mail in notifier_mailbox.sent] == [("bob@example.org",)]

def test_no_fixture():
    assert "NOTIFIER_URL" not in os.environ
"""

FAILING = """
from notifier.client import Notifier

def test_it(notifier_mailbox):
    notifier_mailbox.fail("bob@example.org", 550, "5.1.1 no such user")
    for name in ("ann", "bob"):
        Notifier().send(f"{name}@example.org", subject=f"To {name}", text="Hello", wait=10)
    assert len(notifier_mailbox.sent) == 2

def test_wait(notifier_mailbox):
    notifier_mailbox.wait(to="carl@example.org", timeout=0.1)
"""

UNUSED = """
import sys

def test_it():
    ours = [name for name in sys.modules if name.split(".")[0] in ("notifier", "httpx2", "msgspec")]
    assert sorted(ours) == ["notifier", "notifier.testing", "notifier.testing.plugin"]
"""


# The plug-ins of our own tests load slowly. The settings and the key of a real service are not for
# the fixture.
OTHERS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "NOTIFIER_WORKERS": "many",
    "NOTIFIER_KEY": "@/nonexistent",
}


def run_pytest(folder, *arguments, **files):
    """What pytest says of a project with these files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "NOTIFIER", "COV"))
    }
    # In a folder of its own: what other runs keep in the common one is not cleaned up by this one.
    command = [sys.executable, "-m", "pytest", "-q", f"--basetemp={folder / 'tmp'}"]
    return subprocess.run(
        [*command, "-p", "notifier.testing.plugin", *arguments],
        cwd=folder,
        env=environment | OTHERS,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_each_test_has_an_empty_mailbox(tmp_path):
    """Each test begins as new, in two processes of pytest-xdist; also the tests of the guide."""
    page = (PACKAGE / "guide" / "testing.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    files = {"test_project": PROJECT, "test_page": "\n\n".join(code)}
    done = run_pytest(tmp_path, "-p", "xdist", "-n", "2", **files)
    assert "10 passed" in done.stdout, done.stdout


def test_a_failing_test_shows_what_arrived(tmp_path):
    """The report of a failed assertion lists the mails, and why others did not arrive."""
    done = run_pytest(tmp_path, test_failing=FAILING)
    assert "2 failed" in done.stdout, done.stdout
    first, second = done.stdout.split("test_wait", 1)
    assert re.search(r"-+ notifier mailbox -+\n.*/inbox: 1\n  'To ann' to ann@example.org", first)
    assert "'To bob' to bob@example.org (550 5.1.1 no such user) is failed" in first
    assert "no mail to carl@example.org within 0.1 s" in second
    assert "/inbox: nothing" in second


def test_unused_fixture_costs_nothing(tmp_path):
    """Without the fixture pytest imports one small module, and starts no server."""
    done = run_pytest(tmp_path, test_unused=UNUSED)
    assert "1 passed" in done.stdout, done.stdout


def test_it_is_installed():
    """Pytest finds the plug-in by its entry point."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["pytest11"] == {"notifier": notifier.testing.plugin.__name__}
