"""Other effects and timers, on the real runtime."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.workers.service import running_service

CLOCK: dict[str, Any] = {
    "machine": {
        "id": "clock",
        "initial": "idle",
        "context": {"ticks": 0},
        "states": {
            "idle": {"on": {"START": "running"}},
            "running": {
                "entry": {"type": "note", "params": {"message": "running", "by": "clock"}},
                "after": {"60": {"target": "late", "actions": "count"}, "20": {"actions": "count"}},
                "on": {"STOP": "idle"},
            },
            "late": {"type": "final"},
        },
    },
    "implementations": {"actions": {"count": {"assign": {"ticks": "context.ticks + 1"}}}},
    "effects": {"note": {"handler": "log"}},
}


async def test_timers_fire_in_order_and_never_early(tmp_path: Path) -> None:
    async with running_service(tmp_path, None, CLOCK) as service:
        keys = [await service.create(str(number), "clock") for number in range(20)]
        await asyncio.gather(*(service.send(key, "START") for key in keys))
        for key in keys:
            await service.wait_value(key, "late")
            entries = [entry for entry in await service.journal(key) if entry.event_type]
            start, *fired = [entry for entry in entries if entry.cause != "effect"]
            assert [entry.cause for entry in fired] == ["timer", "timer"]
            waits_ms = [(entry.created_at - start.created_at).total_seconds() * 1000 for entry in fired]
            assert waits_ms[0] >= 20
            assert waits_ms[1] >= 60
            assert (await service.context(key))["ticks"] == 2


async def test_timers_that_came_due_while_nothing_ran_fire_at_the_start(tmp_path: Path) -> None:
    async with running_service(tmp_path, None, CLOCK, workers=False) as service:
        key = await service.create("1", "clock")
        await service.send(key, "START")
    async with running_service(tmp_path, None, CLOCK) as service:
        await service.wait_value(key, "late")
        assert (await service.context(key))["ticks"] == 2


async def test_a_cancelled_timer_does_not_fire(tmp_path: Path) -> None:
    async with running_service(tmp_path, None, CLOCK) as service:
        stopped, other = await service.create("1", "clock"), await service.create("2", "clock")
        await service.send(stopped, "START")
        await service.send(stopped, "STOP")
        await service.send(other, "START")
        await service.wait_value(other, "late")
        assert [entry.cause for entry in await service.journal(stopped)].count("timer") == 0


async def test_the_log_handler_writes_to_the_server_s_log_and_ends_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "durachart.effects.log"):
        async with running_service(tmp_path, None, CLOCK) as service:
            key = await service.create("1", "clock")
            await service.send(key, "START")
            await service.wait_value(key, "late")
            state = await service.runtime.instances.get(key)
            assert state.running_effects == ()
    [line] = [record.message for record in caplog.records if record.name == "durachart.effects.log"]
    assert line.startswith("running instance=clock/1 effect_id=")
    assert line.endswith('params={"by": "clock"}')
