"""One read for many who ask at the same time: what many watches that begin together need of the database.

Whoever asks while a read is on its way shares the next one. A cut of the database that shows more instances
is still one cut, so each is given its part of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from durachart.store.interface import InstancesPage, Store
from durachart.store.keys import InstanceKey

_TOGETHER: Final = 400
"""Instances from which on a read takes nobody else along."""


class _Asked(NamedTuple):
    keys: Sequence[InstanceKey]
    answer: asyncio.Future[InstancesPage]


class SharedReads:
    """Reads instances of one store."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self._store = store
        self._waiting: deque[_Asked] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def get_instances(self, keys: Sequence[InstanceKey]) -> InstancesPage:
        """As `Store.get_instances`, and as of an instant after the call."""
        answer: asyncio.Future[InstancesPage] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(keys, answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await answer

    async def _read(self) -> None:
        try:
            while self._waiting:
                together: list[_Asked] = []
                wanted: set[InstanceKey] = set()
                while self._waiting and len(wanted) < _TOGETHER:
                    asked = self._waiting.popleft()
                    if not asked.answer.done():  # else whoever asked has left
                        together.append(asked)
                        wanted.update(asked.keys)
                await self._answer(together, wanted)
        finally:
            self._reading = None
            for asked in self._waiting:
                asked.answer.cancel()
            self._waiting.clear()

    async def _answer(self, together: Sequence[_Asked], wanted: set[InstanceKey]) -> None:
        try:
            page = await self._store.get_instances(sorted(wanted))
        except BaseException as error:
            for asked in together:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        found = {stored.row.key: stored for stored in page.instances}
        for asked in together:
            if not asked.answer.done():
                own = [found[key] for key in asked.keys if key in found]
                ahead = {key: page.ahead[key] for key in asked.keys if key in page.ahead}
                asked.answer.set_result(InstancesPage(own, page.revision, ahead))
