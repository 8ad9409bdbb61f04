"""A service with each journal for what is known of a person."""

import pytest

from tests.web_client import serving


@pytest.fixture(params=["sqlite", "postgres"])
async def web(request, tmp_path):
    url = "sqlite:"
    if request.param == "postgres":
        url = await request.getfixturevalue("postgres").database()
    async with serving(tmp_path, journal=url) as (service, client):
        yield service, client
