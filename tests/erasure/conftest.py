"""A service with each journal for what is known of a person."""

import pytest

from tests.web_client import serving


@pytest.fixture
async def web(journal_url, tmp_path):
    async with serving(tmp_path, journal=journal_url) as (service, client):
        yield service, client
