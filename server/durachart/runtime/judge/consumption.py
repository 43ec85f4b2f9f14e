"""Timers and effects whose event failed: the failure is journaled, and so is that they are gone.

Kept instead, they would come again and fail again for ever.
"""

from __future__ import annotations

from typing import Any

import orjson

from durachart.engine.macrostep import Macrostep
from durachart.runtime.errors import EvaluationFailed
from durachart.runtime.instance import Seat, dumps
from durachart.runtime.judge.stepping import Attempt, Stepping, Verdict
from durachart.store.rows import EffectEnd


def consume(
    stepping: Stepping,
    seat: Seat,
    attempt: Attempt,
    failure: EvaluationFailed,
    step: Macrostep,
    end: EffectEnd | None,
) -> Verdict:
    """Journal that a timer's or effect's event failed, and that it is gone nevertheless.

    Args:
        stepping: Makes the rows.
        seat: The instance it is of.
        attempt: What failed.
        failure: Why.
        step: What is left of the instance without it.
        end: The effect's end; None: it is a timer.
    """
    refused = stepping.refuse(seat, attempt, failure)
    instance, head = refused.seat
    assert instance is not None
    consumption = attempt._replace(data="", details=dumps({"consumed": True, **_details(attempt)}))
    verdict = stepping.advance(head, consumption, instance, step, end)
    return verdict._replace(recorded=(*refused.recorded, *verdict.recorded))


def _details(attempt: Attempt) -> dict[str, Any]:
    details: dict[str, Any] = orjson.loads(attempt.details) if attempt.details else {}
    return details
