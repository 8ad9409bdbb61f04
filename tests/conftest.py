"""What tests of several modules share, and what costs too much to be made for each."""

import logging
import os
import ssl
import subprocess
from pathlib import Path

import pytest
import structlog
import trustme
from hypothesis import settings

from notifier.journal import journal_at
from tests import postgres as servers

# An example that takes long on a busy machine is no failure.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

WORKERS = 3  # more than processors: tests mostly wait for processes, disks and timers


def pytest_xdist_auto_num_workers(config):
    """Whole folders are shared by workers; files and tests by name run in this process."""
    return WORKERS if all(Path(each).is_dir() for each in config.args) else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Tests that share a module's fixture, such as a server, share a worker, too."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(each[-1].scope == "module" for each in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
        if item.get_closest_marker("alone") and hasattr(config, "workerinput"):
            item.add_marker(pytest.mark.skip("measures, and so runs alone: name its file"))


@pytest.fixture(autouse=True)
def _others_keep_their_log(monkeypatch):
    """A log that a test, or a command that it runs, sets up ends with the test."""
    configure, root = structlog.configure, logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def set_up(**options):
        configure(**options | {"cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", set_up)
    yield
    if structlog.is_configured():
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL server for all that ask; skipped, with the reason, where there is none."""
    cluster = servers.started()
    yield cluster
    cluster.remove()


@pytest.fixture(params=["sqlite", "postgres"])
async def journal_url(request):
    """The setting of a journal of each kind."""
    if request.param == "sqlite":
        return "sqlite:"
    return await request.getfixturevalue("postgres").database()


@pytest.fixture
def journal_here(journal_url, tmp_path):
    """Makes another journal object, on the same journal each time."""
    return lambda: journal_at(journal_url, data_dir=str(tmp_path / "journal"))


@pytest.fixture
async def journal(journal_here):
    journal = journal_here()
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture(scope="session")
def authority():
    """Who signs the certificates of the tests' servers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def good(authority):
    """What a server with a good certificate needs."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(made)
    return made


@pytest.fixture(scope="session")
def trusted(authority, tmp_path_factory):
    """What a relay's spec needs to trust it."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return {"ca": str(file)}


@pytest.fixture
def mounted(tmp_path):
    """Makes a small file system of its own, where we may."""
    places = []

    def mount(options):
        place = tmp_path / f"mount{len(places)}"
        place.mkdir()
        if (
            os.getuid() != 0
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False
            ).returncode
        ):
            pytest.skip("needs to be root and allowed to mount a tmpfs")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)
