"""A server process for the commands of one module."""

from collections.abc import AsyncIterator

import pytest

from tests.processes import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.running("--llm-token-delay-ms", "1") as running:
        yield running
