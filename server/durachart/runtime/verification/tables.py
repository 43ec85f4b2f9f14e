"""Whether the other tables say what the journal of an instance says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from durachart.runtime.instance import dumps
from durachart.runtime.verification.differences import Difference, differences, plain_differences
from durachart.runtime.verification.verification import JournalVerifier, Life, Problem
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow, InstanceRow, RequestRow, TimerRow

_PLAIN: Final = ("uid", "machine_version", "version", "status", "updated_at_ms", "seq", "snapshot_seq")


class Stored(NamedTuple):
    """What is stored of an instance beside its journal, from the same cut.

    Attributes:
        place: The shard its rows are in.
        instance: Its current snapshot; None: there is none.
        timers: Its pending timers.
        unfinished: Its effects that have not ended.
        lost_requests: Its request ids whose journal row is missing or is another request's.
        gone_seq: Retention removes rows up to this one; 0: none.
    """

    place: int
    instance: InstanceRow | None
    timers: Sequence[TimerRow]
    unfinished: Sequence[EffectRow]
    lost_requests: Sequence[RequestRow]
    gone_seq: int


def check_tables(key: InstanceKey, journal: JournalVerifier, stored: Stored) -> list[Problem]:
    """What of ``stored`` is not what the journal, which has been taken to its end, leads to."""
    problems = [
        *_instance(key, journal.life, stored),
        *_timers(key, journal.life, stored.timers),
        *_effects(key, journal, stored.unfinished),
    ]
    for request in stored.lost_requests:
        # What retention has cut off is not missed.
        if request.seq >= journal.first_seq and request.seq > stored.gone_seq:
            said = (
                f"request id {request.request_id!r} names journal row {request.seq}, which is not its answer"
            )
            problems.append(Problem(key, 0, "requests", said))
    return problems


def _instance(key: InstanceKey, life: Life | None, stored: Stored) -> list[Problem]:
    row = stored.instance
    if row is None:
        if life is None:
            return []
        said = f"the journal has it at version {life.row.to_version}, and it is not stored"
        return [Problem(key, 0, "instance", said)]
    if life is None:
        return [
            Problem(key, 0, "instance", f"it is stored at version {row.version}, and no journal row made it")
        ]
    last = life.row
    expected: dict[str, Any] = {
        "uid": last.uid,
        "machine_version": last.machine_version,
        "version": last.to_version,
        "status": last.status,
        "updated_at_ms": last.at_ms,
        "seq": last.seq,
        "snapshot_seq": last.snapshot_seq,
    }
    wrong: list[tuple[str, tuple[Difference, ...]]] = [
        ("shard", plain_differences(row.shard, shard(key))),
        *((name, plain_differences(getattr(row, name), expected[name])) for name in _PLAIN),
        ("value", differences(row.value, last.to_value)),
        ("internals", differences(row.internals, last.internals)),
    ]
    if life.context is not None:
        wrong.append(("context", differences(row.context, dumps(life.context))))
    if life.labels is not None:
        wrong.append(("labels", differences(row.labels, life.labels)))
    if life.created_at_ms is not None:
        wrong.append(("created_at_ms", plain_differences(row.created_at_ms, life.created_at_ms)))
    return [
        Problem(key, 0, "instance", f"its row holds another {name} than journal row {last.seq} made", found)
        for name, found in wrong
        if found
    ]


def _timers(key: InstanceKey, life: Life | None, timers: Sequence[TimerRow]) -> list[Problem]:
    pending: list[tuple[str, str, int, int]] = []
    if life is not None:
        try:
            for timer in orjson.loads(life.row.internals or "{}").get("timers", ()):
                name = timer["id"] if timer["id"] is not None else f"#{timer['sequence']}"
                pending.append((name, life.row.uid, timer["sequence"], timer["due_at_ms"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return []  # reported with its row
    found = plain_differences(
        [
            list(timer)
            for timer in sorted((row.timer_key, row.uid, row.sequence, row.due_at_ms) for row in timers)
        ],
        [list(timer) for timer in sorted(pending)],
    )
    problems = []
    if found:
        said = "its rows in timers are not the pending timers of its snapshot [key, uid, arming, due]"
        problems.append(Problem(key, 0, "timers", said, found))
    for row in timers:
        if row.shard != shard(key):
            said = f"timer {row.timer_key!r} is in shard {row.shard} and belongs into {shard(key)}"
            problems.append(Problem(key, 0, "timers", said))
    return problems


def _effects(key: InstanceKey, journal: JournalVerifier, unfinished: Sequence[EffectRow]) -> list[Problem]:
    life = journal.life
    problems = []
    for row in unfinished:
        what = f"effect {row.effect_id!r} has not ended, and "
        if life is None:
            problems.append(Problem(key, 0, "effects", f"{what}its instance does not exist"))
        elif row.effect_id not in journal.asked and (journal.first_seq <= 1 or row.uid != life.row.uid):
            problems.append(Problem(key, 0, "effects", f"{what}no journal row asked for it"))
        elif row.cancel_on_exit and row.owner is not None and life.row.status != "active":
            problems.append(Problem(key, 0, "effects", f"{what}its instance has left all its states"))
        if row.shard != shard(key):
            said = f"effect {row.effect_id!r} is in shard {row.shard} and belongs into {shard(key)}"
            problems.append(Problem(key, 0, "effects", said))
    return problems
