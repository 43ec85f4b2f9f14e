"""A scripted server, a proxy before it, and a client that retries quickly."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from durachart_client import Client, RetryPolicy
from tests.unit.client.scripted import Proxy, Server, proxied, serving

# Waits between attempts must not cost a test its time.
QUICK = RetryPolicy(initial_ms=1, maximum_ms=20)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with serving(server) as (_, port), proxied(port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    async with Client(f"127.0.0.1:{proxy.port}", retry=QUICK, timeout=timedelta(seconds=60)) as client:
        yield client
