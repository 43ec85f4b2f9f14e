"""Effects of the outbox, seen as generations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durachart.runtime.effect_views import EffectRecord
from durachart.runtime.generation.frames import Generation, GenerationOutcome, TokenEnd, TokenUsage
from durachart.runtime.generation.source import EffectGenerations
from durachart.store.keys import InstanceKey
from tests.virtual_time import START

KEY = InstanceKey("", "canvas", "c-1")


class Effects:
    def __init__(self, **fields: Any) -> None:
        values = {
            "key": KEY,
            "uid": "u" * 32,
            "effect_id": "e-1",
            "type": "generate",
            "handler": "llm.generate",
            "state": "running",
            "priority": 2,
            "attempt": 2,
            "max_attempts": 3,
            "scheduled_at": START,
            "worker_id": "server/1",
            "params_json": '{"model": "gpt-x", "prompt": "hello"}',
            "output_json": "",
            "error_reason": "",
            "error_message": "",
            "machine_version": 1,
            "traceparent": "",
            "created_at": START,
            "finalized_at": None,
        }
        self.record = EffectRecord(**(values | fields))

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        return self.record if effect_id == self.record.effect_id else None

    async def latest_effect(self, key: InstanceKey, handler: str = "") -> EffectRecord | None:
        return self.record if handler in ("", self.record.handler) else None


async def found(effect_id: str = "e-1", **fields: Any) -> Generation | None:
    return await EffectGenerations(Effects(**fields)).find_generation(KEY, effect_id)


@pytest.mark.parametrize("state", ["available", "running", "retryable"])
async def test_what_has_not_ended_has_no_end(state: str) -> None:
    assert await found(state=state) == Generation("e-1", 2, "gpt-x", None, "")


async def test_a_completed_generation_has_its_text_and_what_the_provider_said() -> None:
    output = {
        "text": "漢字",
        "finish_reason": "stop",
        "model": "gpt-x-1",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    end = TokenEnd(GenerationOutcome.COMPLETED, "stop", "gpt-x-1", TokenUsage(1, 2))
    assert await found(state="completed", output_json=json.dumps(output)) == Generation(
        "e-1", 2, "gpt-x", end, "漢字"
    )


@pytest.mark.parametrize(
    "output", ["", "null", "[]", "{}", '{"text": 1, "usage": null}', '{"usage": {"input_tokens": -1}}']
)
async def test_an_output_of_another_form_is_an_empty_text_of_unknown_usage(output: str) -> None:
    generation = await found(state="completed", output_json=output)
    assert generation is not None
    assert generation.end == TokenEnd(GenerationOutcome.COMPLETED)
    assert generation.text == ""


async def test_a_failure_carries_its_reason() -> None:
    generation = await found(state="discarded", error_reason="PROVIDER_TIMEOUT", error_message="Too slow.")
    assert generation is not None
    assert generation.end == TokenEnd(
        GenerationOutcome.FAILED, error_message="Too slow.", error_reason="PROVIDER_TIMEOUT"
    )


@pytest.mark.parametrize(
    ("reason", "outcome"), [("STOPPED", GenerationOutcome.STOPPED), ("", GenerationOutcome.CANCELLED)]
)
async def test_a_stop_is_told_from_a_state_that_was_left(reason: str, outcome: GenerationOutcome) -> None:
    generation = await found(
        state="cancelled", error_reason=reason, error_message="x", output_json='{"text": "y"}'
    )
    assert generation is not None
    assert generation.end == TokenEnd(outcome)
    assert generation.text == ""


async def test_without_an_id_the_latest_generation_is_meant_and_other_effects_are_none() -> None:
    assert (await found("")) == Generation("e-1", 2, "gpt-x", None, "")
    assert await found("e-2") is None
    assert await found("", handler="log") is None
    assert await found("e-1", handler="log") is None


@pytest.mark.parametrize("params", ["", "{}", '{"model": null}', '{"model": ""}'])
async def test_a_generation_that_names_no_model_has_none(params: str) -> None:
    generation = await found(params_json=params)
    assert generation is not None
    assert generation.model == ""
