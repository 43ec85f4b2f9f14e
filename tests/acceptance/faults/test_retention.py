"""A server killed while it removes what was kept long enough: the next one goes on, and nothing else goes."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from durachart.store.schema import effects, instances, journal, requests, tombstones
from durachart_client import Client
from tests.acceptance.faults.evidence import sqlite_engine, unsettled, verification
from tests.acceptance.faults.servers import Nursery, Server, free_port
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The worker removes 200 at a time.
FINISHED, LIVING = 450, 20
KEPT_S = 1
TICKET: Mapping[str, Any] = {
    "machine": {
        "id": "ticket",
        "initial": "open",
        "states": {
            "open": {"on": {"CLOSE": {"target": "closed", "actions": "say"}}},
            "closed": {"type": "final"},
        },
    },
    "implementations": {"actions": {"say": {"params": {}}}},
    "effects": {"say": {"handler": "log"}},
}
TABLES = (instances, journal, effects, requests, tombstones)


async def rows(path: Path) -> dict[str, int]:
    """How many rows of finished and of living tickets there are, by table and kind."""
    engine = sqlite_engine(path)
    found = {}
    async with engine.connect() as connection:
        for table in TABLES:
            for kind in ("finished", "living"):
                count = select(func.count()).where(table.c.instance_id.startswith(kind))
                found[f"{table.name} {kind}"] = int((await connection.execute(count)).scalar() or 0)
    await engine.dispose()
    return {name: count for name, count in found.items() if count}


async def test_retention_killed_between_batches_is_finished_by_the_next_server(
    nursery: Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "durachart.db"
    port = free_port()

    async def start(crash_at: str, *retention: str) -> Server:
        options = ("--data-dir", str(path.parent), *retention)
        return await nursery.start(*options, port=port, crash_at=crash_at)

    server = await start("")
    await server.wait_ready()
    async with Client(server.address) as client, asyncio.timeout(PATIENCE_S):
        await client.publish(json.dumps(TICKET))
        names = [f"finished-{n}" for n in range(FINISHED)] + [f"living-{n}" for n in range(LIVING)]
        await asyncio.gather(*(client.create("ticket", name) for name in names))
        await asyncio.gather(*(client.send("ticket", name, "CLOSE") for name in names[:FINISHED]))
        engine = sqlite_engine(path)
        while await unsettled(engine):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await engine.dispose()
    assert await server.stop() == 0
    before = await rows(path)
    ended_at = time.time()
    while time.time() <= ended_at + KEPT_S:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    short = ("--retain-finished", f"{KEPT_S}s", "--retain-requests", f"{KEPT_S}s")
    for times in (1, 2, 1, 2):
        server = await start(f"retention.batch:{times}", *short)
        assert await server.wait() == -signal.SIGKILL
        engine = sqlite_engine(path)
        assert await verification(engine) == []
        await engine.dispose()
    between = await rows(path)
    assert 0 < sum(between.values()) < sum(before.values())
    server = await start("", *short)
    async with asyncio.timeout(PATIENCE_S):
        while await rows(path) != {"instances living": LIVING, "journal living": LIVING}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await server.stop() == 0
    engine = sqlite_engine(path)
    assert await verification(engine) == []
    await engine.dispose()
