"""A preview says what the event then does, whatever came before it; and later what it did at that version."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from durachart.runtime.commands import CreateInstance, SendEvent
from durachart.runtime.errors import Refusal
from durachart.runtime.preview import Asked
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import Accepted, Preview
from durachart.store.sqlite.store import SqliteStore
from tests.property.runtime.test_random_commands import DATA, EVENTS, LONG_INPUT
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import SimulatedClock, key


async def _send(service: Service, kind: str, data: str) -> Any:
    try:
        return await service.runtime.send_event(SendEvent(key(), kind, data), ADA)
    except Refusal as refusal:
        return refusal


def _agrees(shown: Preview, answer: Any) -> None:
    if isinstance(answer, Refusal):
        assert (shown.accepted, shown.reason, shown.message) == (False, answer.reason, answer.message)
        assert (shown.changed, shown.effects) == (False, ())
        return
    assert isinstance(answer, Accepted)
    assert (shown.accepted, shown.reason, shown.message) == (True, "", "")
    assert shown.changed == answer.changed
    assert shown.effects == tuple(effect._replace(effect_id="") for effect in answer.effects)
    assert _without_ids(shown) == _without_ids(answer)


def _without_ids(answer: Preview | Accepted) -> Any:
    running = [(effect.type, effect.created_at, effect.attempt) for effect in answer.state.running_effects]
    return answer.state._replace(running_effects=()), running


async def _run(path: Path, chance: Random, bounds: RuntimeSettings) -> None:
    clock = SimulatedClock()
    sent: list[tuple[int, str, str, Any]] = []
    async with serving(lambda: SqliteStore(path), bounds, clock=clock) as service:
        given_input = chance.choice([LONG_INPUT, ""])
        await service.runtime.create_instance(CreateInstance(key(), given_input), ADA)
        for _ in range(chance.randint(3, 20)):
            (kind,) = chance.choices(list(EVENTS), list(EVENTS.values()))
            (data,) = chance.choices(list(DATA), list(DATA.values()))
            before = await service.runtime.instances.get(key())
            shown = await service.runtime.instances.preview(Asked(key(), kind, data), ADA)
            assert await service.runtime.instances.get(key()) == before
            if not shown.accepted:
                assert shown.state == before
            answer = await _send(service, kind, data)
            _agrees(shown, answer)
            sent.append((before.version, kind, data, answer))
            clock.now += chance.choice([0, 1_000])
    async with serving(lambda: SqliteStore(path), bounds, clock=clock) as service:
        for version, kind, data, answer in sent:
            shown = await service.runtime.instances.preview(Asked(key(), kind, data, version), ADA)
            if isinstance(answer, Refusal):
                _agrees(shown, answer)
            else:
                assert shown.accepted
                assert (shown.state.version, shown.state.value_json, shown.state.context_json) == (
                    answer.state.version,
                    answer.state.value_json,
                    answer.state.context_json,
                )
                assert len(shown.state.running_effects) == len(answer.state.running_effects)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 2**32), st.booleans())
def test_a_preview_says_what_the_event_then_does(seed: int, sparing: bool) -> None:
    bounds = RuntimeSettings()
    if sparing:
        bounds = RuntimeSettings(whole_context_bytes=0, snapshot_every=4, cached_instances=1)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory) / "store.db", Random(seed), bounds))
