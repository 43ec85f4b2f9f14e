"""Commands of one instance are carried out in the order offered, whatever fails and has to be judged again.

Two machines of which one is in memory at a time, so that commands wait for their definitions; a store that
fails and dawdles by chance. The seed is part of a test's name.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from durachart.runtime.commands import Command, DeleteInstance, SendEvent
from durachart.runtime.errors import InstanceNotFound
from durachart.runtime.settings import RuntimeSettings
from durachart.store.errors import StoreFailed
from durachart.store.interface import CommitResult, Loaded, Store, Wanted, Writes
from durachart.store.sqlite.store import SqliteStore
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import JOB, key

OTHER = {**JOB, "machine": {**JOB["machine"], "id": "job2"}}
KEYS = [key("a"), key("b"), key("a")._replace(machine_id="job2")]


class UnreliableStore:
    """Once it may, fails one load in twenty, and two commits in ten: before or after it was done."""

    def __init__(self, store: Store, chance: Random) -> None:
        self._store = store
        self._chance = chance
        self.may_fail = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, wanted: Wanted) -> Loaded:
        if self.may_fail and self._chance.random() < 0.05:
            raise StoreFailed("it did not load")
        loaded = await self._store.load(wanted)
        await self._dawdle()
        return loaded

    async def commit(self, writes: Writes) -> CommitResult:
        await self._dawdle()
        drawn = self._chance.random() if self.may_fail else 1.0
        if drawn < 0.1:
            raise StoreFailed("it did not begin")
        done = await self._store.commit(writes)
        if drawn < 0.2:
            raise StoreFailed("it did not say")
        return done

    async def _dawdle(self) -> None:
        for _ in range(self._chance.choice((0, 0, 1, 8))):
            await asyncio.sleep(0)


async def accepted_notes(service: Service, of: Any) -> list[int]:
    try:
        entries = await service.journal(of)
    except InstanceNotFound:
        return []
    return [
        json.loads(entry.data_json)["who"]
        for entry in entries
        if entry.event_type == "NOTE" and entry.outcome == "accepted"
    ]


@pytest.mark.parametrize("seed", range(40))
async def test_commands_of_one_instance_are_carried_out_in_the_order_offered(
    tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    store: Any = UnreliableStore(SqliteStore(tmp_path / "d.db"), chance)
    settings = RuntimeSettings(
        max_batch=chance.choice((1, 5, 16, 40)),
        cached_instances=chance.choice((1, 2, 50)),
        cached_definitions=1,
        store_retry_first=timedelta(),
        store_retry_longest=timedelta(),
    )
    async with serving(lambda: store, settings) as service:
        await service.runtime.publish(json.dumps(OTHER), ADA)
        queue = service.runtime._queue
        store.may_fail = True
        asked = []
        for number in range(150):
            of = chance.choice(KEYS)
            note = SendEvent(of, "NOTE", json.dumps({"who": number}), create_if_missing=True)
            command: Command = DeleteInstance(of) if chance.random() < 0.1 else note
            asked.append(queue.offer(command, ADA))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
            if chance.random() < 0.1:
                service.runtime._cache.evict(chance.choice(KEYS))
        await asyncio.gather(*asked, return_exceptions=True)
        store.may_fail = False
        notes = [await accepted_notes(service, of) for of in KEYS]
        assert sum(map(len, notes)) > 50
        assert notes == [sorted(some) for some in notes]
