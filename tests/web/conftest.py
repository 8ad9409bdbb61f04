"""A service, and a client of its application."""

import pytest

from tests.web_client import serving


@pytest.fixture
async def web(tmp_path):
    """Both. Modules whose service has settings of its own make it themselves."""
    async with serving(tmp_path) as (service, client):
        yield service, client


@pytest.fixture
def client(web):
    return web[1]
