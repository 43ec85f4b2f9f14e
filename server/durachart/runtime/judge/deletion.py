"""The end of an instance: its last journal row, and what is known of it from that row alone.

A deletion is a row like any other, with cause ``delete`` and status ``deleted``; it counts as a version, one
over the last. It holds what its answer showed, so that a repeated call gets the same answer though everything
else is purged.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from durachart import __version__
from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.clock import instant
from durachart.runtime.errors import InstanceCorrupt
from durachart.runtime.instance import Instance, Seat, dumps, read_labels
from durachart.runtime.judge.asked import ended
from durachart.runtime.judge.stepping import Attempt, Recorded, Verdict
from durachart.runtime.present import running_effects_json, running_effects_of
from durachart.runtime.views import InstanceState
from durachart.store.chain import sealed
from durachart.store.interface import Head
from durachart.store.keys import shard
from durachart.store.rows import JournalRow

DELETED: Final = "deleted"
"""Status of a deletion's journal row."""


def delete(head: Head, attempt: Attempt, before: Instance, *, purge: bool) -> Verdict:
    """End an instance; its running effects end with it, and the caller removes its timers.

    Args:
        head: End of the journal.
        attempt: What was asked.
        before: The instance as it is.
        purge: Whether what it leaves behind goes as well.
    """
    status = before.snapshot.status
    details = {
        "purge": purge,
        "status": "active" if status == "active" else "done",
        "tags": before.snapshot.configuration.tags,
        "created_at_ms": before.created_at_ms,
        "updated_at_ms": before.updated_at_ms,
    }
    row = sealed(
        JournalRow(
            shard(attempt.key),
            *attempt.key,
            head.seq + 1,
            before.uid,
            attempt.cause,
            attempt.event_type,
            attempt.data,
            attempt.data_hash,
            attempt.actor,
            attempt.now_ms,
            "accepted",
            "",
            "",
            dumps(details),
            before.version,
            before.version + 1,
            before.value_json,
            "",
            DELETED,
            True,
            None,
            before.machine_version,
            __version__,
            attempt.expected_version,
            attempt.request_id,
            attempt.traceparent,
            None,
            None,
            None,
            0,
            running_effects_json(before.effects),
            before.labels_json or None,
            head.hash,
            b"",
        )
    )
    why = dumps({"reason": "DELETED", "message": f"the instance was deleted by {attempt.actor}"})
    return Verdict(
        Seat(None, Head(row.seq, row.hash, attempt.now_ms)),
        (Recorded(row, None, ()),),
        ends=tuple(ended(effect, "cancelled", attempt.now_ms, error=why) for effect in before.effects),
        deleted=before,
        purge=purge,
    )


def last_state(row: JournalRow) -> InstanceState:
    """The state that a deletion ended, in view BASIC. Raises InstanceCorrupt."""
    try:
        details: dict[str, Any] = orjson.loads(row.details or "")
        return InstanceState(
            row.key,
            row.uid,
            row.from_version,
            row.machine_version,
            row.from_value,
            "",
            (),
            tuple(details["tags"]),
            "",
            read_labels(row.labels or ""),
            details["status"],
            "",
            running_effects_of(row.running_effects),
            instant(details["created_at_ms"]),
            instant(details["updated_at_ms"]),
            None,
        )
    except (SnapshotInvalid, ValueError, KeyError, TypeError) as error:
        raise InstanceCorrupt(row.key, f"journal row {row.seq}: {error}") from error
