"""One server and one client for all tests of a module: what they share is a loop as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.rpc.callers import PROTOCOLS, Caller, Driver, WebCaller, grpc_caller, node_driver
from tests.rpc.scripted import Running, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    async with running(beside="grpcio") as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with node_driver() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PROTOCOLS)
async def caller(request: pytest.FixtureRequest, server: Running, driver: Driver) -> AsyncIterator[Caller]:
    """A client of each front in turn."""
    async with AsyncExitStack() as stack:
        if request.param == "grpc":
            yield await stack.enter_async_context(grpc_caller(server.grpc))
        elif request.param == "grpcio":
            assert server.grpcio is not None
            yield await stack.enter_async_context(grpc_caller(server.grpcio))
        else:
            yield WebCaller(driver, server.url, request.param)
