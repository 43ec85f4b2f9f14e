"""Very many watches opened at once by our client, on a real server that is killed under them."""

import asyncio
from pathlib import Path

from durachart_client import Client, RetryPolicy
from tests.acceptance.streams.watchers import Watcher, create
from tests.processes import Server

WATCHERS = 500
# The server's is 5 s; a test has not that long.
RETRY = RetryPolicy(maximum_ms=500)


async def test_many_watches_opened_at_once_lose_nothing_when_the_server_is_killed(tmp_path: Path) -> None:
    """Every watch opens, is told of each version once and in order, and goes on by itself."""
    names = [f"o-{number}" for number in range(WATCHERS)]
    server = await Server.start(tmp_path)
    try:
        await server.wait_ready()
        async with Client(server.grpc, retry=RETRY) as client:
            await create(client, "order", names)
            watchers = [Watcher(client.watch("order", name)) for name in names]
            await asyncio.gather(*(watcher.wait_synced() for watcher in watchers))
            data = {"sku": "A-1", "quantity": 1}
            await asyncio.gather(*(client.send("order", name, "ADD_ITEM", data) for name in names))
            await asyncio.gather(*(watcher.wait_version(1) for watcher in watchers))

            server.kill()
            await server.wait()
            server = await Server.start(tmp_path, "--listen", server.grpc)
            await server.wait_ready()
            await asyncio.gather(*(client.send("order", name, "ADD_ITEM", data) for name in names))
            await asyncio.gather(*(watcher.wait_version(2) for watcher in watchers))
            for watcher in watchers:
                await watcher.close()
            assert [watcher.versions for watcher in watchers] == [[0, 1, 2]] * WATCHERS
    finally:
        server.kill()
        await server.wait()
