"""Very many watches of one client: opened at once, fed, cut, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from durachart_client import Client, Snapshot, Synced, Transition, Watch


class Watcher:
    """Follows one instance and remembers what it was told.

    Attributes:
        versions: Of its snapshot and every transition since, in order.
        synced: How often it was told that it is up to date.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._changed = asyncio.Condition()
        self.versions: list[int] = []
        self.synced = 0
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for event in self._watch:
            async with self._changed:
                if isinstance(event, Snapshot | Transition):
                    self.versions.append(event.state.version)
                elif isinstance(event, Synced):
                    self.synced += 1
                self._changed.notify_all()

    async def wait_synced(self, times: int = 1) -> None:
        """Wait until it was told so often that it is up to date; a watch that fails raises here."""
        await self._wait(lambda: self.synced >= times)

    async def wait_version(self, version: int) -> None:
        """Wait until it was told of this version; a watch that fails raises here."""
        await self._wait(lambda: bool(self.versions) and self.versions[-1] >= version)

    async def close(self) -> None:
        """Leave."""
        await self._watch.aclose()
        await self.running

    async def _wait(self, reached: object) -> None:
        assert callable(reached)

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(reached)

        waiting = asyncio.create_task(wait())
        await asyncio.wait([waiting, self.running], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await self.running
            raise AssertionError("the watch ended")


async def create(client: Client, machine_id: str, instance_ids: Iterable[str]) -> None:
    """Create instances, a hundred at a time."""
    turn = asyncio.Semaphore(100)

    async def one(instance_id: str) -> None:
        async with turn:
            await client.create(machine_id, instance_id, view="basic")

    await asyncio.gather(*(one(instance_id) for instance_id in instance_ids))
