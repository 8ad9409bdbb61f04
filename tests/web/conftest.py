"""A service, and a client of its application."""

import pytest

from notifier.intake.rates import Limits
from tests.web_client import serving


@pytest.fixture
async def web(tmp_path):
    """Both. Modules whose service has settings of its own make it themselves."""
    async with serving(tmp_path) as (service, client):
        yield service, client


@pytest.fixture
def client(web):
    return web[1]


@pytest.fixture
def no_time_passes(monkeypatch):
    """No token flows into a bucket: ten a minute are one in six seconds."""
    monkeypatch.setitem(Limits.__init__.__kwdefaults__, "clock", lambda: 0.0)
