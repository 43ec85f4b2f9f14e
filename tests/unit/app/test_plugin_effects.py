"""Handlers of plug-ins: recorded steps, with the plug-in's own exceptions."""

from __future__ import annotations

import pytest

from durachart.app.plugin_effects import PluginEffectHandler
from durachart.plugins import EffectCall, EffectFailed
from durachart.workers.errors import EffectFailure
from durachart.workers.handlers import Attempt
from durachart.workers.steps import Steps
from tests.unit.workers.outbox import KEY, Outbox, Row
from tests.virtual_time import in_virtual_time


def attempt(outbox: Outbox, row: Row) -> Attempt:
    row.attempt += 1
    row.token = f"token-{row.attempt}"
    return Attempt(KEY, row.effect_id, "ring", row.attempt, {"times": [1, 2]}, Steps(outbox, row.leased()))


@in_virtual_time
async def test_a_step_fails_with_the_plug_ins_exception_and_is_skipped_once_it_is_done() -> None:
    """D3: a completed operation is skipped on retry."""
    outbox, did = Outbox(), list[int]()

    async def ring(call: EffectCall) -> object:
        async def work() -> object:
            did.append(call.attempt)
            if call.attempt == 1:
                raise EffectFailed("BUSY", "The bell is busy.")
            return {"rang": call.params["times"]}

        return await call.step("ring", work)

    handler = PluginEffectHandler("bell.ring", ring, 1)
    row = outbox.add()
    with pytest.raises(EffectFailure) as failed:
        await handler.run(attempt(outbox, row))
    assert (failed.value.reason, failed.value.retryable) == ("BUSY", True)
    assert (row.steps["ring"].state, row.steps["ring"].error_reason) == ("failed", "BUSY")
    assert await handler.run(attempt(outbox, row)) == {"rang": [1, 2]}
    assert await handler.run(attempt(outbox, row)) == {"rang": [1, 2]}
    assert did == [1, 2]
