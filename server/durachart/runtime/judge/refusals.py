"""Refusals in the journal: what a row keeps of one, and the refusal that a row was.

A retried request gets the answer it got, so a row must hold all of it.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from durachart.runtime.errors import (
    DurachartError,
    EffectNotRetryable,
    EvaluationFailed,
    EventNotAllowed,
    EventRefused,
    GuardRejected,
    InstanceExists,
    InstanceFinished,
    PayloadInvalid,
    Refusal,
    VersionConflict,
)
from durachart.store.rows import JournalRow

_EVENT_REFUSALS: Final[dict[str, type[EventRefused]]] = {
    refused.reason: refused
    for refused in (EventNotAllowed, GuardRejected, EvaluationFailed, InstanceFinished)
}


def details_of(refusal: DurachartError) -> str | None:
    """What of a refusal its row does not say elsewhere, as JSON; None when that is all."""
    details: dict[str, Any] = {}
    if isinstance(refusal, EventRefused):
        if refusal.allowed_events:
            details["allowed_events"] = refusal.allowed_events
        if refusal.guards:
            details["guards"] = refusal.guards
    elif isinstance(refusal, PayloadInvalid):
        details["field"] = refusal.field
        details["violations"] = refusal.violations
    elif isinstance(refusal, EffectNotRetryable):
        details["effect_id"] = refusal.effect_id
    return orjson.dumps(details).decode() if details else None


def refusal_of(row: JournalRow) -> Refusal:
    """The refusal that a refused row recorded."""
    details: dict[str, Any] = orjson.loads(row.details) if row.details else {}
    refused = _EVENT_REFUSALS.get(row.reason)
    if refused is not None:
        return refused(
            row.key,
            row.message,
            event_type=row.event_type,
            value_json=row.from_value,
            version=row.from_version,
            allowed_events=details.get("allowed_events", ()),
            guards=details.get("guards", ()),
        )
    if row.reason == VersionConflict.reason:
        expected = -1 if row.expected_version is None else row.expected_version
        return VersionConflict(row.key, expected, row.from_version, row.from_value, row.message)
    if row.reason == PayloadInvalid.reason:
        violations = [(path, text) for path, text in details.get("violations", ())]
        return PayloadInvalid(row.key, details.get("field", ""), violations, row.message)
    if row.reason == EffectNotRetryable.reason:
        return EffectNotRetryable(row.key, details.get("effect_id", ""), row.message)
    if row.reason == InstanceExists.reason:
        return InstanceExists(row.key, row.message)
    raise ValueError(f"journal row {row.seq} of {row.key} has the unknown reason {row.reason!r}")
