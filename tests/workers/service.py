"""A runtime on a SQLite file with its workers and the canvas machine, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.trace import NoOpTracer

from durachart.definitions.document import parse_data
from durachart.runtime.commands import Caller, CreateInstance, SendEvent, StopEffect
from durachart.runtime.generation.frames import TokenAttemptStarted, TokenEnd, TokenFrame
from durachart.runtime.generation.source import EffectGenerations
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import Accepted, InstanceState, JournalEntry, Stopped, WatchSpec, WatchTransition
from durachart.store.keys import InstanceKey
from durachart.store.sqlite.store import SqliteStore
from durachart.workers.built_in import HANDLER_NAMES, built_in_handlers
from durachart.workers.effect_worker import EffectWorker
from durachart.workers.http_handler import HttpHandler
from durachart.workers.http_targets import HttpTargets
from durachart.workers.providers.selection import Providers
from durachart.workers.providers.settings import ProviderSettings
from durachart.workers.timer_worker import TimerWorker

USER = Caller("user")
_MACHINES = Path(__file__).parents[2] / "machines"
_LIMIT_S = 30


def canvas(**effect: Any) -> dict[str, Any]:
    """The canvas machine with almost no wait between attempts, and ``effect`` changed in its effect."""
    document = parse_data((_MACHINES / "canvas" / "machine.yaml").read_bytes(), "yaml")
    document["effects"]["generate"]["retry"] = {
        "max_attempts": 3,
        "initial_backoff_ms": 1,
        "max_backoff_ms": 5,
    }
    document["effects"]["generate"] |= effect
    return dict(document)


@dataclass
class Viewing:
    """Everything a viewer was shown."""

    frames: list[TokenFrame] = field(default_factory=list)
    text: str = ""
    end: TokenEnd | None = None

    @property
    def attempts(self) -> list[int]:
        """Attempts that were begun, as shown."""
        return [frame.attempt for frame in self.frames if isinstance(frame.body, TokenAttemptStarted)]

    def take(self, frame: TokenFrame) -> None:
        self.frames.append(frame)
        if isinstance(frame.body, TokenAttemptStarted):
            self.text = ""
        assert frame.offset == len(self.text), "a gap or a duplicate"
        if isinstance(frame.body, str):
            self.text += frame.body
        elif isinstance(frame.body, TokenEnd):
            self.end = frame.body


@dataclass
class Service:
    """What the tests speak to."""

    runtime: Runtime
    tokens: TokenRelay

    async def create(self, instance: str, machine: str = "canvas", **given: Any) -> InstanceKey:
        key = InstanceKey("", machine, instance)
        await self.runtime.create_instance(CreateInstance(key, json.dumps(given)), USER)
        return key

    async def send(self, key: InstanceKey, event: str, **data: Any) -> Accepted:
        return await self.runtime.send_event(SendEvent(key, event, json.dumps(data)), USER)

    async def submit(self, key: InstanceKey, prompt: str) -> str:
        """Begin a generation; its effect's id."""
        accepted = await self.send(key, "SUBMIT", prompt=prompt)
        return accepted.effects[0].effect_id

    async def stop(self, key: InstanceKey, effect_id: str = "", request_id: str = "") -> Stopped:
        command = StopEffect(key, effect_id, request_id=request_id)
        return await self.runtime.stop_generation(command, USER)

    async def view(
        self, key: InstanceKey, effect_id: str = "", begun: asyncio.Event | None = None
    ) -> Viewing:
        """Watch a generation to its end; ``begun`` is set with the first text."""
        viewing = Viewing()
        async with asyncio.timeout(_LIMIT_S), aclosing(self.tokens.watch(key, effect_id)) as watch:
            async for frames in watch:
                for frame in frames:
                    viewing.take(frame)
                if begun is not None and viewing.text:
                    begun.set()
        assert viewing.end is not None
        return viewing

    async def context(self, key: InstanceKey) -> Any:
        return json.loads((await self.runtime.instances.get(key)).context_json)

    async def journal(self, key: InstanceKey) -> list[JournalEntry]:
        return list((await self.runtime.instances.journal(key)).items)

    async def wait_value(self, key: InstanceKey, value: str) -> InstanceState:
        """The instance once it is in a state."""
        async with asyncio.timeout(_LIMIT_S), aclosing(self.runtime.watch(WatchSpec((key,)), USER)) as watch:
            async for frames in watch:
                for frame in frames:
                    state = getattr(frame, "state", None)
                    if state is not None and json.loads(state.value_json) == value:
                        return state
        raise AssertionError("the watch ended")

    async def wait_transitions(self, key: InstanceKey, count: int) -> list[WatchTransition]:
        """The next so many transitions."""
        seen: list[WatchTransition] = []
        async with asyncio.timeout(_LIMIT_S), aclosing(self.runtime.watch(WatchSpec((key,)), USER)) as watch:
            async for frames in watch:
                seen += [frame for frame in frames if isinstance(frame, WatchTransition)]
                if len(seen) >= count:
                    break
        return seen


@asynccontextmanager
async def running_service(
    directory: Path,
    providers: ProviderSettings | None = None,
    *machines: dict[str, Any],
    workers: bool = True,
) -> AsyncIterator[Service]:
    """Run a service on ``directory``'s database, which it may have from a service before."""
    runtime = Runtime(SqliteStore(directory / "durachart.db"), handlers=HANDLER_NAMES)
    chosen = Providers(providers or ProviderSettings(local_token_delay_ms=0))
    async with runtime.running():
        for machine in machines or (canvas(),):
            await runtime.publish(json.dumps(machine), USER)
        tokens = TokenRelay(EffectGenerations(runtime))
        unsubscribe = runtime.on_effect_end(tokens.effect_ended)
        service = Service(runtime, tokens)
        if workers:
            http = HttpHandler(HttpTargets())
            handlers = built_in_handlers(chosen, tokens, http, NoOpTracer())
            async with (
                EffectWorker(runtime, handlers, NoOpTracer()).running(),
                TimerWorker(runtime.timers).running(),
            ):
                yield service
        else:
            yield service
        unsubscribe()
        await chosen.close()
