"""What tests of several modules share, and what costs too much to be made for each."""

import ssl

import pytest
import trustme
from hypothesis import settings

from tests import postgres as servers

# An example that takes long on a busy machine is no failure.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL server for all that ask; skipped, with the reason, where there is none."""
    cluster = servers.started()
    yield cluster
    cluster.remove()


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
