"""Writing a batch, as functions on the writer's connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from durachart.crash_points import reach
from durachart.store.interface import (
    CommitResult,
    Writes,
)
from durachart.store.keys import InstanceKey, shard
from durachart.store.sqlite import statements as sql
from durachart.store.sqlite.deletion import delete, purge

_NOTHING_WRITTEN = CommitResult((), frozenset())


class _NotCurrentError(Exception):
    """What was judged is not what is stored."""


def commit(connection: sqlite3.Connection, writes: Writes, newest_revision: int) -> CommitResult:
    """See ``Store.commit``. Whatever is not current makes the whole batch stale, which is rare."""
    if not (writes.journal or writes.requests or writes.ends):
        return _NOTHING_WRITTEN
    reach("commit.before")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _write(connection, writes, newest_revision)
    except (sqlite3.IntegrityError, _NotCurrentError):
        connection.execute("ROLLBACK")
        return CommitResult([0] * len(writes.journal), _touched(writes))
    reach("commit.written")
    connection.execute("COMMIT")
    reach("commit.after")
    first = newest_revision + 1
    return CommitResult(range(first, first + len(writes.journal)), frozenset())


def _write(connection: sqlite3.Connection, writes: Writes, newest_revision: int) -> None:
    _require_living(connection, writes)
    if writes.requests:
        # First, because this is what fails when a request was retried.
        sql.WRITE_REQUESTS.write(connection, writes.requests)
    if writes.updates:
        arrange = sql.arrange_instance_update
        rows = [arrange((*update.row, update.from_version)) for update in writes.updates]
        _require(sql.UPDATE_INSTANCES.write(connection, rows), writes.updates)
    if writes.deletes:
        _require(delete(connection, writes.deletes), writes.deletes)
    if writes.inserts:
        sql.WRITE_INSTANCES.write(connection, writes.inserts)
    if writes.journal:
        numbered = [(revision, *row) for revision, row in enumerate(writes.journal, newest_revision + 1)]
        sql.WRITE_JOURNAL.write(connection, numbered)
    reach("commit.inside")
    if writes.ends or writes.revivals or writes.late_ends:
        _end_effects(connection, writes)
    if writes.effects:
        sql.WRITE_EFFECTS.write(connection, writes.effects)
    if writes.timers_gone:
        connection.executemany(
            sql.DELETE_TIMER.sql, [sql.arrange_timer_gone(timer) for timer in writes.timers_gone]
        )
    if writes.timers:
        sql.WRITE_TIMERS.write(connection, writes.timers)
    if writes.deletes:
        # Last, because what the batch itself wrote of the instance goes as well.
        purge(connection, writes.deletes)


def _require_living(connection: sqlite3.Connection, writes: Writes) -> None:
    """Require the instances that were asked and stay as they are: retention may have removed one by now."""
    asked = {(row.key, row.uid) for row in writes.journal if row.outcome == "refused" and row.uid}
    asked.update(writes.occupied)
    answered = {request.key for request in writes.requests if request.answer is not None}
    if not (asked or answered):
        return
    checked = {update.row.key for update in writes.updates}
    checked.update(row.key for row in writes.inserts)
    checked.update(deletion.tombstone.key for deletion in writes.deletes)
    for key, uid in asked:
        if key not in checked:
            _require_row(connection, sql.SELECT_UID, (shard(key), *key, uid))
    for key in answered - checked:
        _require_row(connection, sql.SELECT_HEAD, (shard(key), *key))


def _require_row(connection: sqlite3.Connection, statement: sql.Statement, where: tuple[object, ...]) -> None:
    if connection.execute(statement.sql, where).fetchone() is None:
        raise _NotCurrentError


def _end_effects(connection: sqlite3.Connection, writes: Writes) -> None:
    for end in writes.ends:
        if end.lease_token is None:
            ended = connection.execute(sql.END_EFFECT.sql, sql.arrange_end(end))
        else:
            ended = connection.execute(sql.END_EFFECT_LEASED.sql, sql.arrange_end_leased(end))
        _require(ended.rowcount, (end,))
        if end.outcome:
            connection.execute(sql.END_ATTEMPT.sql, sql.arrange_attempt_end(end))
    for revival in writes.revivals:
        revived = connection.execute(sql.REVIVE_EFFECT.sql, sql.arrange_revival(revival.row))
        _require(revived.rowcount, (revival,))
    for end in writes.late_ends:
        kept = connection.execute(sql.KEEP_LATE_END.sql, sql.arrange_late_end(end))
        _require(kept.rowcount, (end,))


def _require(rows_changed: int, rows: Sequence[object]) -> None:
    if rows_changed != len(rows):
        raise _NotCurrentError


def _touched(writes: Writes) -> frozenset[InstanceKey]:
    return frozenset(
        [row.key for row in writes.journal]
        + [row.key for row in writes.requests]
        + [
            InstanceKey(end.namespace, end.machine_id, end.instance_id)
            for end in (*writes.ends, *writes.late_ends)
        ]
    )
