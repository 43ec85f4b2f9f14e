"""Removing what was kept long enough, as functions on the writer's connection.

Each call is one short transaction. A finished instance goes in two steps, so that one with a million journal
rows stalls nobody: its row is exchanged for a tombstone, as if it had been deleted, and what it leaves behind
is removed a bounded number of rows at a time, the oldest first. However a server ends, what is left is known
by its tombstone and removed by the next one.

A journal that is empty begins at 1 again, and a tombstone that is older would name rows of the new one. So
the last row goes together with the tombstone, and tombstones of one instance go in the order of their rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from durachart.store.interface import Expirable
from durachart.store.keys import InstanceKey, shard

_ROWS: Final = 500
"""Rows of a table that one transaction removes of journals, and of what instances left behind."""
_STRETCH: Final = 1_100
"""Rows of a journal that are looked at to find where to cut it: more than lie between two whole contexts."""
_KEY: Final = ("shard", "namespace", "machine_id", "instance_id")
_IS_IT: Final = " AND ".join(f"{name} = ?" for name in _KEY)
_SAME: Final = " AND ".join(f"o.{name} = i.{name}" for name in _KEY)

# An instance has finished when it is done, nothing it asked for is still to be carried out, and nobody has
# tried anything with it for long enough.
_FINISHED: Final = f"""
SELECT {", ".join(_KEY)}, uid,
    (SELECT max(seq) FROM journal AS o WHERE {_SAME}) AS last_seq
FROM instances AS i
WHERE status != 'active' AND updated_at_ms < :before_ms
    AND NOT EXISTS (SELECT 1 FROM effects AS o WHERE {_SAME} AND o.finalized_at_ms IS NULL)
    AND coalesce((SELECT at_ms FROM journal AS o WHERE {_SAME} ORDER BY seq DESC LIMIT 1), 0) < :before_ms
ORDER BY updated_at_ms LIMIT :limit
"""
_OF_EFFECTS: Final = ("effect_attempts", "effect_steps", "effects")
_RAISE_COMPACTED: Final = """
INSERT INTO store_info (name, value) VALUES ('compacted_revision', ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS INTEGER) > CAST(store_info.value AS INTEGER)
"""

Place = tuple[int, str, str, str]


class Cuttable(NamedTuple):
    """A journal that may be cut.

    Attributes:
        key: Of which instance.
        snapshot_seq: Of its newest whole context.
    """

    key: InstanceKey
    snapshot_seq: int


# The next instances whose journal has a whole context, beside the first row, that is old enough.
_CUTTABLE: Final = f"""
SELECT i.namespace, i.machine_id, i.instance_id, i.snapshot_seq
FROM instances AS i JOIN journal AS f ON {" AND ".join(f"f.{name} = i.{name}" for name in _KEY)}
WHERE (i.shard, i.namespace, i.machine_id, i.instance_id) > (:shard, :namespace, :machine_id, :instance_id)
    AND f.seq = (SELECT min(seq) FROM journal AS o WHERE {_SAME})
    AND f.at_ms < :before_ms AND f.seq < i.snapshot_seq
    AND EXISTS (SELECT 1 FROM journal AS o WHERE {_SAME} AND o.seq = (
            SELECT min(seq) FROM journal AS o WHERE {_SAME} AND o.seq > f.seq AND o.context IS NOT NULL
        ) AND o.at_ms < :before_ms)
ORDER BY i.shard, i.namespace, i.machine_id, i.instance_id LIMIT :limit
"""


def expire(connection: sqlite3.Connection, what: Expirable, before_ms: int, limit: int) -> int:
    """See ``Store.expire``; of all but journals."""
    connection.execute("BEGIN IMMEDIATE")
    removed = _REMOVE[what](connection, before_ms, limit)
    connection.execute("COMMIT")
    return removed


def _finished(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    found = connection.execute(_FINISHED, {"before_ms": before_ms, "limit": limit}).fetchall()
    for *place, uid, last_seq in found:
        connection.execute(f"DELETE FROM instances WHERE {_IS_IT}", place)
        connection.execute(f"DELETE FROM timers WHERE {_IS_IT}", place)
        connection.execute(
            f"INSERT INTO tombstones ({', '.join(_KEY)}, uid, seq, deleted_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place, uid, last_seq or 0, before_ms - 1),
        )
    return len(found)


def _deleted(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    found = connection.execute(
        f"SELECT {', '.join(_KEY)}, uid, seq FROM tombstones WHERE deleted_at_ms < ?"
        " ORDER BY deleted_at_ms, seq LIMIT ?",
        (before_ms, limit),
    ).fetchall()
    room = _ROWS
    for done, (*place, uid, seq) in enumerate(found):
        room -= _left_behind(connection, place, uid, seq, room)
        if room <= 0:
            return max(done, 1)
        connection.execute(f"DELETE FROM tombstones WHERE {_IS_IT} AND uid = ?", (*place, uid))
    return len(found)


def _left_behind(connection: sqlite3.Connection, place: Sequence[Any], uid: str, seq: int, room: int) -> int:
    """Remove at most ``room`` rows of each table; returns the most that were removed of any."""
    rows = connection.execute(
        f"SELECT seq, revision FROM journal WHERE {_IS_IT} AND seq <= ? ORDER BY seq LIMIT ?",
        (*place, seq, room),
    ).fetchall()
    requests = connection.execute(
        f"DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE {_IS_IT}"
        " AND seq BETWEEN 1 AND ? LIMIT ?)",
        (*place, seq, room),
    ).rowcount
    effects = connection.execute(
        f"SELECT {', '.join(_KEY)}, effect_id FROM effects WHERE {_IS_IT} AND uid = ? LIMIT ?",
        (*place, uid, room),
    ).fetchall()
    _remove_effects(connection, effects)
    removed = max(len(rows), requests, len(effects))
    if removed >= room:
        rows = [row for row in rows if row[0] < seq]  # the tombstone stays
    if rows:
        _remove_journal(connection, place, rows[-1][0], max(revision for _, revision in rows))
    return removed


def _ended_effects(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    found = connection.execute(
        f"SELECT {', '.join(_KEY)}, effect_id FROM effects"
        " WHERE finalized_at_ms IS NOT NULL AND finalized_at_ms < ? ORDER BY finalized_at_ms LIMIT ?",
        (before_ms, limit),
    ).fetchall()
    _remove_effects(connection, found)
    return len(found)


def _requests(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    return connection.execute(
        "DELETE FROM requests WHERE rowid IN"
        " (SELECT rowid FROM requests WHERE created_at_ms < ? ORDER BY created_at_ms LIMIT ?)",
        (before_ms, limit),
    ).rowcount


_REMOVE: Final = {
    "instances": _finished,
    "deleted": _deleted,
    "effects": _ended_effects,
    "requests": _requests,
}


def find_cuttable(
    connection: sqlite3.Connection, before_ms: int, after: InstanceKey | None, limit: int
) -> list[Cuttable]:
    """The next instances, in key order after ``after``, whose journals may be cut. Writes nothing."""
    shard_after, place = (-1, InstanceKey("", "", "")) if after is None else (shard(after), after)
    found = connection.execute(
        _CUTTABLE, {"shard": shard_after, **place._asdict(), "before_ms": before_ms, "limit": limit}
    )
    return [Cuttable(InstanceKey(*key), snapshot_seq) for *key, snapshot_seq in found]


def cut(connection: sqlite3.Connection, journals: Sequence[Cuttable], before_ms: int) -> tuple[int, int]:
    """Remove old rows before whole contexts, some thousand at most.

    A row that a request id still names is kept, and all after it.

    Returns:
        How many of the journals were cut as far as they can be, and how many rows were removed.
    """
    connection.execute("BEGIN IMMEDIATE")
    removed = 0
    done = 0
    for key, snapshot_seq in journals:
        while removed < _ROWS and (rows := _cut(connection, key, snapshot_seq, before_ms)):
            removed += rows
        if removed >= _ROWS:
            break
        done += 1
    connection.execute("COMMIT")
    return done, removed


def _cut(connection: sqlite3.Connection, key: InstanceKey, snapshot_seq: int, before_ms: int) -> int:
    place = (shard(key), *key)
    (named,) = connection.execute(
        f"SELECT min(seq) FROM requests WHERE {_IS_IT} AND seq > 0", place
    ).fetchone()
    newest = snapshot_seq if named is None else min(snapshot_seq, named)
    rows = connection.execute(
        f"SELECT seq, revision, at_ms, context IS NOT NULL FROM journal WHERE {_IS_IT} AND seq <= ?"
        " ORDER BY seq LIMIT ?",
        (*place, newest, _STRETCH),
    ).fetchall()
    whole = [index for index, (_, _, at_ms, is_whole) in enumerate(rows) if is_whole and at_ms < before_ms]
    if not whole or not whole[-1]:
        return 0
    gone = rows[: whole[-1]]
    _remove_journal(connection, place, gone[-1][0], max(row[1] for row in gone))
    return len(gone)


def _remove_journal(
    connection: sqlite3.Connection, place: Sequence[Any], through_seq: int, newest_revision: int
) -> None:
    connection.execute(f"DELETE FROM journal WHERE {_IS_IT} AND seq <= ?", (*place, through_seq))
    connection.execute(_RAISE_COMPACTED, (str(newest_revision),))


def _remove_effects(connection: sqlite3.Connection, effects: Sequence[Sequence[Any]]) -> None:
    for table in _OF_EFFECTS:
        connection.executemany(f"DELETE FROM {table} WHERE {_IS_IT} AND effect_id = ?", effects)
