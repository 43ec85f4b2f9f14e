"""Retention in a real server that is killed between its batches: nothing is left half removed."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from durachart.runtime.commands import Caller, CreateInstance, SendEvent
from durachart.runtime.runtime import Runtime
from durachart.store.keys import InstanceKey
from durachart.store.sqlite.store import SqliteStore
from tests.cli.in_process import run_here
from tests.processes import Server
from tests.unit.runtime.samples import SimulatedClock

LAMP = {
    "machine": {
        "id": "lamp",
        "initial": "off",
        "states": {"off": {"on": {"BREAK": "broken"}}, "broken": {"type": "final"}},
    }
}
INSTANCES = 500
LONG_AGO_MS = 1_600_000_000_000
_TABLES = ("journal", "requests", "tombstones", "instances")


async def _fill(path: Path) -> None:
    """Instances that finished years ago, and one that lives."""
    ada = Caller("ada")
    runtime = Runtime(SqliteStore(path), clock=SimulatedClock(LONG_AGO_MS))
    async with runtime.running():
        await runtime.publish(json.dumps(LAMP), ada)

        async def live(name: str, *events: str) -> None:
            key = InstanceKey("", "lamp", name)
            await runtime.create_instance(CreateInstance(key, request_id="r"), ada)
            for event in events:
                await runtime.send_event(SendEvent(key, event), ada)

        await asyncio.gather(live("living"), *(live(f"l-{number}", "BREAK") for number in range(INSTANCES)))


def _rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES}


def _orphans(path: Path) -> int:
    """Journal rows and request ids of which nothing knows whose they are."""
    key = ("shard", "namespace", "machine_id", "instance_id")
    same = " AND ".join(f"o.{name} = r.{name}" for name in key)
    with closing(sqlite3.connect(path)) as connection:
        return sum(
            connection.execute(
                f"SELECT count(*) FROM {table} AS r"
                f" WHERE NOT EXISTS (SELECT 1 FROM instances AS o WHERE {same})"
                f" AND NOT EXISTS (SELECT 1 FROM tombstones AS o WHERE {same})"
            ).fetchone()[0]
            for table in ("journal", "requests")
        )


def _verified(path: Path) -> dict[str, Any]:
    done = run_here(None, "verify", "--db", f"sqlite:///{path}", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


async def _wait_removed(path: Path) -> None:
    async with asyncio.timeout(60):
        while _rows(path)["tombstones"]:  # noqa: ASYNC110 - another process removes; nothing tells when
            await asyncio.sleep(0.05)


async def test_a_server_killed_while_it_removes_leaves_nothing_half_removed(tmp_path: Path) -> None:
    """D6: a finished execution goes with all its rows, however often the server is killed meanwhile."""
    path = tmp_path / "durachart.db"
    await _fill(path)
    assert _rows(path)["instances"] == INSTANCES + 1
    arguments = ("--data-dir", str(tmp_path))
    for at in ("retention.batch:4", "retention.batch:2"):
        server = await Server.start(tmp_path, *arguments, env={"DURACHART_CRASH_AT": at})
        assert await server.wait() == -signal.SIGKILL
        assert _orphans(path) == 0
        await asyncio.to_thread(_verified, path)
    before = _rows(path)
    assert 0 < before["tombstones"] <= INSTANCES
    async with Server.running(*arguments) as server:
        await _wait_removed(path)
        assert await server.stop() == 0
    assert _rows(path) == {"journal": 1, "requests": 0, "tombstones": 0, "instances": 1}
    assert await asyncio.to_thread(_verified, path)
