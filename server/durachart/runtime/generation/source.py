"""Generations as the outbox knows them: effects of the handler ``llm.generate``.

The output of such an effect is ``{"text", "finish_reason", "model", "usage"}``, where ``usage`` is null or
``{"input_tokens", "output_tokens"}``. Whoever serves the handler keeps to this form; what is missing counts
as unknown.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from durachart.runtime.effect_views import EffectRecord
from durachart.runtime.generation.frames import Generation, GenerationOutcome, TokenEnd, TokenUsage
from durachart.store.keys import InstanceKey

GENERATE: Final = "llm.generate"
# The error's reason by which an effect that was stopped is told from one whose state was left.
_STOPPED: Final = "STOPPED"


class EffectReader(Protocol):
    """Reads the outbox; `Runtime` does."""

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        """One effect; None when there is no such effect."""

    async def latest_effect(self, key: InstanceKey, handler: str = "") -> EffectRecord | None:
        """The running effect asked for last, or else the latest; None when there is none."""


class EffectGenerations:
    """A `GenerationSource` over the outbox."""

    def __init__(self, effects: EffectReader) -> None:
        """Read from ``effects``."""
        self._effects = effects

    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation | None:
        """See `GenerationSource.find_generation`."""
        if effect_id:
            effect = await self._effects.get_effect(key, effect_id)
        else:
            effect = await self._effects.latest_effect(key, GENERATE)
        if effect is None or effect.handler != GENERATE:
            return None
        output = _object(effect.output_json) if effect.state == "completed" else {}
        return Generation(
            effect_id=effect.effect_id,
            attempt=effect.attempt,
            model=_text(_object(effect.params_json), "model"),
            end=_end(effect, output),
            text=_text(output, "text"),
        )


def _end(effect: EffectRecord, output: dict[str, Any]) -> TokenEnd | None:
    match effect.state:
        case "completed":
            return TokenEnd(
                GenerationOutcome.COMPLETED,
                finish_reason=_text(output, "finish_reason"),
                model=_text(output, "model"),
                usage=_usage(output.get("usage")),
            )
        case "discarded":
            return TokenEnd(
                GenerationOutcome.FAILED,
                error_message=effect.error_message,
                error_reason=effect.error_reason,
            )
        case "cancelled":
            stopped = effect.error_reason == _STOPPED
            return TokenEnd(GenerationOutcome.STOPPED if stopped else GenerationOutcome.CANCELLED)
        case _:
            return None


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text) if text else None
    return value if isinstance(value, dict) else {}


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""


def _usage(value: object) -> TokenUsage | None:
    if not isinstance(value, dict):
        return None
    asked, answered = value.get("input_tokens"), value.get("output_tokens")
    if not (isinstance(asked, int) and isinstance(answered, int) and asked >= 0 and answered >= 0):
        return None
    return TokenUsage(asked, answered)
