"""One server process for the commands of a module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.processes import Server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with Server.running("--llm-token-delay-ms", "1") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slow_server() -> AsyncIterator[Server]:
    """Its model takes a minute and more for an answer."""
    async with Server.running("--llm-token-delay-ms", "400") as running:
        yield running
