"""A journal executed anew: what a row says happened, done again by the engine alone.

Pure. What is needed beside the row and the state before it is the definition; everything else that a step
depended on (the instant, the input, which timer) is in the row.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from durachart.definitions.definition import Definition
from durachart.engine.errors import EngineError
from durachart.engine.macrostep import Macrostep, fire_timer, initial_macrostep, macrostep
from durachart.engine.snapshot import Snapshot, Timer
from durachart.store.rows import JournalRow

_MAX_MICROSTEPS: Final = 1_000_000
"""Over whatever an operator sets: what was accepted came to rest within the bound of its day."""


class NotRepeatable(Exception):
    """The row does not say what would have to be done, or nothing can be done on the state before it."""


def repeat(definition: Definition, before: Snapshot | None, row: JournalRow) -> Macrostep:
    """What the cause of an accepted row makes of the state before it.

    Args:
        definition: What the row was judged with.
        before: The state before; None: there is no instance yet.
        row: An accepted row that made a version.

    Raises:
        NotRepeatable: Its data is no JSON, its timer is not pending, its cause is unknown, the engine fails…
    """
    try:
        if row.cause == "create":
            value = orjson.loads(row.data) if row.data else None
            return initial_macrostep(
                definition.machine,
                input=definition.start_input(value),
                now_ms=row.at_ms,
                max_microsteps=_MAX_MICROSTEPS,
            )
        if before is None:
            raise NotRepeatable("there is no state before it")
        if row.cause in ("event", "effect"):
            return _event(definition, before, row)
        if row.cause == "timer":
            return _timer(definition, before, row)
    except (EngineError, ValueError, TypeError, KeyError) as error:
        raise NotRepeatable(f"{type(error).__name__}: {error}") from error
    raise NotRepeatable(f"nothing is known of the cause {row.cause!r}")


def event_of(row: JournalRow) -> dict[str, Any]:
    """The event of a row. Raises NotRepeatable when its data is no JSON object."""
    try:
        data = orjson.loads(row.data) if row.data else {}
    except orjson.JSONDecodeError as error:
        raise NotRepeatable(f"its data is no JSON: {error}") from error
    if type(data) is not dict:
        raise NotRepeatable("its data is no JSON object")
    return {"type": row.event_type, **data}


def fired_timer(before: Snapshot, row: JournalRow) -> Timer:
    """The timer that a row fired. Raises NotRepeatable: it was not pending."""
    details = _details(row)
    for timer in before.timers:
        if timer.key == details.get("timer") and timer.sequence == details.get("sequence"):
            return timer
    raise NotRepeatable(f"timer {details.get('timer')!r}, arming {details.get('sequence')!r}, is not pending")


def _event(definition: Definition, before: Snapshot, row: JournalRow) -> Macrostep:
    if _details(row).get("consumed") or not row.event_type:
        # The event of an effect's end failed, or there is none: the machine has heard nothing.
        return _unmoved(before)
    return macrostep(
        definition.machine, before, event_of(row), now_ms=row.at_ms, max_microsteps=_MAX_MICROSTEPS
    )


def _timer(definition: Definition, before: Snapshot, row: JournalRow) -> Macrostep:
    timer = fired_timer(before, row)
    if _details(row).get("consumed"):
        remaining = tuple(other for other in before.timers if other is not timer)
        return _unmoved(before._replace(timers=remaining))
    if timer.event != event_of(row):
        raise NotRepeatable(f"timer {timer.key!r} delivers another event than the row's")
    return fire_timer(definition.machine, before, timer.key, now_ms=row.at_ms, max_microsteps=_MAX_MICROSTEPS)


def _unmoved(snapshot: Snapshot) -> Macrostep:
    return Macrostep(snapshot, (), False, False, ())


def _details(row: JournalRow) -> dict[str, Any]:
    details = orjson.loads(row.details) if row.details else {}
    if type(details) is not dict:
        raise NotRepeatable("its details are no JSON object")
    return details
