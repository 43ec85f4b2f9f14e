"""This server among those that share its database: how the others find it, and how it finds them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from durachart.store.errors import StoreFailed
from durachart.store.keys import InstanceKey
from durachart.store.nodes import SERVER_HOLDER, NodeTable, RelayRow

__all__ = ["Nodes", "RelayRow"]

_log = logging.getLogger(__name__)

_REFRESHES_PER_LEASE: Final = 3


def _this_process() -> str:
    return f"{socket.gethostname().replace('/', '_')}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Nodes:
    """This node and its neighbours.

    Attributes:
        node_id: Who this node is, unique for each start.
    """

    def __init__(self, table: NodeTable, *, node_id: str | None = None, lease_ms: int = 10_000) -> None:
        """Prepare; nobody can find this node before `registered` is entered.

        Args:
            table: Where nodes are registered.
            node_id: None makes one of host and process.
            lease_ms: For so long a node that is gone is still looked for.
        """
        self.node_id: Final = _this_process() if node_id is None else node_id
        self._table = table
        self._lease_ms = lease_ms

    @property
    def holder(self) -> str:
        """What this node's own worker calls itself in leases, which leads others here."""
        return f"{SERVER_HOLDER}{self.node_id}"

    @asynccontextmanager
    async def registered(self, address: str) -> AsyncIterator[None]:
        """Be found by the others while the block runs; a database that fails meanwhile is tried again.

        Args:
            address: Where they can call this node.
        """
        keeping = asyncio.create_task(self._keep(address), name="durachart-node")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            try:
                await self._table.remove_node(self.node_id)
            except StoreFailed as error:  # then its lease runs out
                _log.warning("node not removed error=%s", error)

    async def _keep(self, address: str) -> None:
        while True:
            try:
                await self._table.register_node(self.node_id, address, lease_ms=self._lease_ms)
            except StoreFailed as error:
                _log.warning("node not registered error=%s", error)
            except Exception:  # noqa: BLE001 - logged; a node that is not registered any more is not found
                _log.exception("node not registered")
            await asyncio.sleep(self._lease_ms / 1000 / _REFRESHES_PER_LEASE)

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        """Which other node has the text of the attempt that is being made; None: none. Raises StoreFailed."""
        found = await self._table.find_relay(key, effect_id)
        return None if found is None or found.node_id == self.node_id else found

    async def claim_feed(self, key: InstanceKey, effect_id: str, attempt: int) -> bool:
        """Have the text of an attempt here; False: another node has it. Raises StoreFailed."""
        owner = await self._table.claim_feed(key, effect_id, attempt, self.node_id)
        return owner == self.node_id

    async def release_feed(self, key: InstanceKey, effect_id: str, attempt: int) -> None:
        """Have it no more. Raises StoreFailed."""
        await self._table.release_feed(key, effect_id, attempt, self.node_id)
