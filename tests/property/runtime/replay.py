"""A journal executed anew: what the rows say happened, done again by the engine alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from durachart.definitions.definition import Definition
from durachart.engine.codec import snapshot_to_json
from durachart.engine.macrostep import fire_timer, initial_macrostep, macrostep
from durachart.engine.snapshot import Snapshot
from durachart.store.rows import JournalRow


def replay(definition: Definition, rows: Sequence[JournalRow]) -> dict[int, Any]:
    """The snapshot at every version as JSON data, from the causes in an instance's rows."""
    snapshot: Snapshot | None = None
    versions: dict[int, Any] = {}
    for row in rows:
        if row.outcome == "refused":
            continue
        snapshot = _again(definition, snapshot, row)
        versions[row.to_version] = json.loads(json.dumps(snapshot_to_json(definition.machine, snapshot)))
    return versions


def _again(definition: Definition, snapshot: Snapshot | None, row: JournalRow) -> Snapshot:
    machine = definition.machine
    data = json.loads(row.data) if row.data else None
    details = json.loads(row.details) if row.details else {}
    if row.cause == "create":
        return initial_macrostep(machine, input=definition.start_input(data), now_ms=row.at_ms).snapshot
    assert snapshot is not None
    if details.get("consumed"):
        remaining = tuple(timer for timer in snapshot.timers if timer.key != details.get("timer"))
        return snapshot._replace(timers=remaining)
    if row.cause == "timer":
        return fire_timer(machine, snapshot, details["timer"], now_ms=row.at_ms).snapshot
    if not row.event_type:
        return snapshot
    event = {"type": row.event_type, **(data or {})}
    return macrostep(machine, snapshot, event, now_ms=row.at_ms).snapshot
