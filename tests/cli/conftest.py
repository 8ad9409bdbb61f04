"""A server for commands."""

import pytest

from tests.process import Server


@pytest.fixture
async def server(tmp_path):
    async with Server(tmp_path) as server:
        yield server
