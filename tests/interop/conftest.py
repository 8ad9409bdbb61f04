"""One running server of each kind for all cases, and others for those that need limits."""

import pytest

from tests.interop import packages
from tests.interop.exim import Exim
from tests.interop.haraka import Haraka
from tests.interop.opensmtpd import OpenSmtpd
from tests.interop.postfix import Postfix
from tests.interop.server import Limits
from tests.interop.sink import Sink

KINDS = (Postfix, Exim, OpenSmtpd, Haraka)


def each_of(*kinds):
    """As parameters. With `--dist loadgroup` the cases of each kind run in one process."""
    return [
        pytest.param(each, id=each.name, marks=pytest.mark.xdist_group(each.name)) for each in kinds
    ]


@pytest.fixture(scope="session")
def made(tmp_path_factory, authority):
    """Makes a server, not started yet, with a sink that runs; all end with the session."""
    packages.root()
    servers = []

    def make(kind, **limits):
        sink = Sink()
        sink.start()
        folder = tmp_path_factory.mktemp(kind.name)
        server = kind(folder, sink, authority, Limits(**limits))
        servers.append(server)
        return server

    yield make
    for each in servers:
        each.kill()
        each.sink.stop()


@pytest.fixture(scope="session", params=each_of(*KINDS))
def server(request, made):
    """One without limits, that runs."""
    return made(request.param).start()


@pytest.fixture(params=each_of(*KINDS))
def kind(request):
    """For cases that start servers of their own."""
    return request.param
