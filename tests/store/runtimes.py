"""A runtime on a store, with a clock that stands still and callers that ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.trace import Tracer

from durachart.runtime.commands import Caller, CreateInstance, SendEvent
from durachart.runtime.runtime import Runtime
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import Accepted, Created, JournalEntry, View
from durachart.store.interface import Store
from durachart.store.keys import InstanceKey
from tests.unit.runtime.samples import SimulatedClock, job_json, key

ADA = Caller("ada")


class Service:
    """A running runtime."""

    def __init__(self, runtime: Runtime, store: Store, clock: SimulatedClock) -> None:
        self.runtime = runtime
        self.store = store
        self.clock = clock

    async def create(self, of: InstanceKey | None = None, input_json: str = "", **given: Any) -> Created:
        return await self.runtime.create_instance(CreateInstance(of or key(), input_json, **given), ADA)

    async def send(
        self,
        event_type: str,
        data: Any = None,
        of: InstanceKey | None = None,
        caller: Caller = ADA,
        **given: Any,
    ) -> Accepted:
        text = "" if data is None else data if isinstance(data, str) else json.dumps(data)
        return await self.runtime.send_event(SendEvent(of or key(), event_type, text, **given), caller)

    async def context(self, of: InstanceKey | None = None) -> Any:
        state = await self.runtime.instances.get(of or key(), View.FULL)
        return json.loads(state.context_json)

    async def journal(self, of: InstanceKey | None = None) -> list[JournalEntry]:
        entries: list[JournalEntry] = []
        token = ""
        while True:
            page = await self.runtime.instances.journal(of or key(), page_size=1_000, page_token=token)
            entries.extend(page.items)
            token = page.next_page_token
            if not token:
                return entries


@asynccontextmanager
async def serving(
    make_store: Callable[[], Store],
    settings: RuntimeSettings | None = None,
    *,
    clock: SimulatedClock | None = None,
    published: bool = True,
    tracer: Tracer | None = None,
) -> AsyncIterator[Service]:
    """Serve a store, the sample machine published."""
    store = make_store()
    clock = clock or SimulatedClock()
    runtime = Runtime(store, settings, clock=clock, tracer=tracer)
    async with runtime.running():
        if published:
            await runtime.publish(job_json(), ADA)
        yield Service(runtime, store, clock)
