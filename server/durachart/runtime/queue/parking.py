"""Commands that wait for a definition, while others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import attrgetter

from durachart.runtime.errors import DurachartError
from durachart.runtime.queue.batch import Ticket
from durachart.runtime.queue.failing import unexpected
from durachart.runtime.registry import DefinitionId, Registry
from durachart.store.keys import InstanceKey


class Parking:
    """Sets commands aside until a definition is at hand; those of one instance stay in order.

    Args:
        registry: What loads definitions.
        on_ready: Called when there are commands to `take`.

    Attributes:
        size_bytes: What the data of the commands amounts to.
    """

    def __init__(self, registry: Registry, on_ready: Callable[[], None]) -> None:
        self._registry = registry
        self._on_ready = on_ready
        self._parked: dict[DefinitionId, list[Ticket]] = {}
        self._wanted: dict[InstanceKey, DefinitionId] = {}
        self._ready: dict[DefinitionId, Exception | None] = {}
        self._loads: set[asyncio.Task[None]] = set()
        self.size_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._parked.values())) if self._parked else 0

    def wanted(self, key: InstanceKey) -> DefinitionId | None:
        """What commands of an instance wait for; None: none does."""
        return self._wanted.get(key) if self._parked else None

    def park(self, ticket: Ticket, wanted: DefinitionId) -> None:
        """Set a command aside."""
        self._wanted[ticket.key] = wanted
        self.size_bytes += ticket.size_bytes
        parked = self._parked.get(wanted)
        if parked is not None:
            parked.append(ticket)
            return
        self._parked[wanted] = [ticket]
        task = asyncio.create_task(self._fetch(wanted))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)

    async def _fetch(self, wanted: DefinitionId) -> None:
        machine_id, version = wanted
        failure: Exception | None = None
        try:
            if version:
                await self._registry.load(machine_id, version)
            else:
                await self._registry.load_latest(machine_id)
        except DurachartError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - logged with an id; those who wait must hear of it
            failure = unexpected(error)
        self._ready[wanted] = failure
        self._on_ready()

    def take(self) -> list[tuple[list[Ticket], Exception | None]]:
        """The commands that can go on, in the order offered; and why their definition did not come, if so.

        Until they are taken, later commands of their instances are to be set aside as well.
        """
        taken = []
        while self._ready:
            wanted, failure = self._ready.popitem()
            # One that is judged again may have come behind those that were offered after it.
            tickets = sorted(self._parked.pop(wanted), key=attrgetter("number"))
            for ticket in tickets:
                self._wanted.pop(ticket.key, None)
                self.size_bytes -= ticket.size_bytes
            taken.append((tickets, failure))
        return taken
