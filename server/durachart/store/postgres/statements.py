"""The one statement that commits a batch, made for the kinds of rows that the batch has.

It says first which of the instances it touches are not as they were judged (``stale``), with the rows of the
others locked in the order of their keys, and then writes what belongs to those that are. Everything is one
statement, so it is one transaction and one round trip.

What it cannot see is what another node commits after it began. For rows that exist the lock settles that: a
locked row is looked at again. For rows that do not exist yet (a new instance, the next row of a journal, a
request id) the primary key does: the whole statement fails, and the batch is judged again.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag, auto
from functools import lru_cache
from typing import Final

from durachart.store.postgres.arrays import KEY, Columns, N, matches_key, parameter_numbers
from durachart.store.postgres.revisions import FIRST_REVISION
from durachart.store.rows import EffectEnd
from durachart.store.schema import effects, instances, journal, requests, timers


class Part(Flag):
    """Kinds of rows, in the order of their parameters."""

    JOURNAL = auto()
    INSERTS = auto()
    UPDATES = auto()
    EFFECTS = auto()
    REVIVALS = auto()
    ENDS = auto()
    LATE_ENDS = auto()
    TIMERS_GONE = auto()
    TIMERS = auto()
    REQUESTS = auto()


TOUCHED: Final = (
    N
    + Columns.of(instances, *KEY)
    # What was judged. uid and version: of the instance; null: it does not matter; version -1: there must be
    # none. instance_seq: the row that made the version, null: it does not matter. head_seq: the last row of
    # the journal, 0 when there must be none, null: it does not matter.
    + Columns(("uid", "text"), ("version", "bigint"), ("instance_seq", "bigint"), ("head_seq", "bigint"))
)
_RESULT: Final = (
    "machine_version",
    "version",
    "status",
    "value",
    "context",
    "internals",
    "updated_at_ms",
    "seq",
    "snapshot_seq",
)
"""What changes when an instance moves; its uid, labels and instant of creation never do."""
_REVIVED: Final = (
    "state",
    "max_attempts",
    "scheduled_at_ms",
    "lease_token",
    "finalized_at_ms",
    "output",
    "error",
)

_O: Final = Columns(("o", "bigint"))
_END_TYPES: Final = Columns(
    ("state", "text"),
    ("finalized_at_ms", "bigint"),
    ("output", "text"),
    ("error", "text"),
    ("lease_token", "text"),
    ("outcome", "text"),
)
COLUMNS: Final = {
    Part.JOURNAL: N + Columns.of(journal) + _O,
    Part.INSERTS: N + Columns.of(instances),
    Part.UPDATES: N + Columns.of(instances, *KEY, *_RESULT),
    Part.EFFECTS: N + Columns.of(effects),
    Part.REVIVALS: N + Columns.of(effects),
    Part.ENDS: N + Columns.of(effects, *KEY, "effect_id") + _END_TYPES,
    Part.LATE_ENDS: N + Columns.of(effects, *KEY, "effect_id") + _END_TYPES,
    Part.TIMERS_GONE: N + Columns.of(timers),
    Part.TIMERS: N + Columns.of(timers),
    Part.REQUESTS: N + Columns.of(requests),
}
"""The parameters of each part, behind those of `TOUCHED`."""
assert COLUMNS[Part.ENDS].names == ("n", *EffectEnd._fields)

_CURRENT: Final = "n <> ALL ((SELECT ns FROM outdated)::integer[])"
"""The row belongs to an instance that is as it was judged."""


@lru_cache(maxsize=512)
def check_statement(parts: Part) -> str:
    """Only the question which instances are not as they were judged, and the locks.

    Its parameters are those of `commit_statement`. It returns one row, the ``n`` of those that are not
    current.
    """
    named = _judged(parts)
    # The last column makes sure that rows are locked even where nothing asks whether they are alike.
    return f"WITH {', '.join(named)} SELECT (SELECT ns FROM outdated), (SELECT present FROM found)"


@lru_cache(maxsize=512)
def commit_statement(parts: Part) -> str:
    """The statement for batches that have these parts.

    Its parameters are those of `TOUCHED`, then those of the parts in their order. It returns one row: the
    ``n`` of the instances that are not current, and the revision of the batch's row 0.
    """
    named = _judged(parts)
    named.append(f"base AS MATERIALIZED (SELECT {FIRST_REVISION} AS revision)")
    named.extend(f"write_{count} AS ({write})" for count, write in enumerate(_writes(parts)))
    # The last column makes sure that rows are locked even where nothing asks whether they are alike.
    return (
        f"WITH {', '.join(named)}"
        " SELECT (SELECT ns FROM outdated), (SELECT revision FROM base), (SELECT present FROM found)"
    )


def _judged(parts: Part) -> list[str]:
    """The rows as they are given, and which instances among them are outdated."""
    numbers = parameter_numbers()
    named = [
        f"touched AS MATERIALIZED (SELECT * FROM {TOUCHED.unnested('t', numbers)})",
        # In the order of the keys, so that two nodes never wait for each other.
        "locked AS MATERIALIZED (SELECT t.n, coalesce(r.uid = t.uid, true)"
        " AND coalesce(r.version = t.version, true) AND coalesce(r.seq = t.instance_seq, true) AS alike"
        f" FROM touched t JOIN instances r ON {matches_key('r', 't')} ORDER BY t.n FOR UPDATE OF r)",
        # As arrays, because joining rows of unknown number compares each with each.
        "found AS MATERIALIZED (SELECT coalesce(array_agg(n), '{}') AS present,"
        " coalesce(array_agg(n) FILTER (WHERE alike), '{}') AS current FROM locked)",
    ]
    for part in Part:
        if part in parts:
            unnested = COLUMNS[part].unnested("a", numbers)
            named.append(f"{_name(part)} AS MATERIALIZED (SELECT a.* FROM {unnested})")
    named.extend(_locks(parts))
    named.append(f"stale AS MATERIALIZED ({' UNION ALL '.join(_stale(parts))})")
    named.append("outdated AS MATERIALIZED (SELECT coalesce(array_agg(DISTINCT n), '{}') AS ns FROM stale)")
    return named


def _name(part: Part) -> str:
    assert part.name is not None
    return f"new_{part.name.lower()}"


def _locks(parts: Part) -> Iterator[str]:
    same = matches_key("e", "a", "effect_id")
    if Part.ENDS in parts:
        yield (
            "ending AS MATERIALIZED (SELECT a.*, e.attempt, e.state AS was, e.attempted_at_ms,"
            f" e.lease_holder FROM new_ends a JOIN effects e ON {same} AND e.finalized_at_ms IS NULL"
            " AND (a.lease_token IS NULL OR e.lease_token = a.lease_token)"
            " ORDER BY a.n, a.effect_id FOR UPDATE OF e)"
        )
    if Part.LATE_ENDS in parts:
        yield (
            "keeping AS MATERIALIZED (SELECT a.n, a.effect_id FROM new_late_ends a"
            f" JOIN effects e ON {same} AND e.state = 'cancelled' AND e.lease_token = a.lease_token"
            " ORDER BY a.n, a.effect_id FOR UPDATE OF e)"
        )
    if Part.REVIVALS in parts:
        yield (
            "reviving AS MATERIALIZED (SELECT a.n, a.effect_id FROM new_revivals a"
            f" JOIN effects e ON {same} AND e.state = 'discarded'"
            " ORDER BY a.n, a.effect_id FOR UPDATE OF e)"
        )


def _stale(parts: Part) -> Iterator[str]:
    head = (
        f"(SELECT j.seq FROM journal j WHERE {matches_key('j', 't')} AND j.seq >= t.head_seq"
        " ORDER BY j.seq DESC LIMIT 1)"
    )
    yield (
        "SELECT t.n FROM touched t WHERE CASE"
        " WHEN t.version < 0 THEN t.n = ANY ((SELECT present FROM found)::integer[])"
        " WHEN t.version IS NULL AND t.uid IS NULL AND t.instance_seq IS NULL THEN false"
        " ELSE t.n <> ALL ((SELECT current FROM found)::integer[]) END"
        f" OR (t.head_seq IS NOT NULL AND coalesce({head}, 0) <> t.head_seq)"
    )
    if Part.REQUESTS in parts:
        yield f"SELECT a.n FROM new_requests a JOIN requests q ON {matches_key('q', 'a', 'request_id')}"
    for part, found in ((Part.ENDS, "ending"), (Part.LATE_ENDS, "keeping"), (Part.REVIVALS, "reviving")):
        if part in parts:
            yield (
                f"SELECT a.n FROM {_name(part)} a WHERE NOT EXISTS"
                f" (SELECT FROM {found} f WHERE f.n = a.n AND f.effect_id = a.effect_id)"
            )


def _writes(parts: Part) -> Iterator[str]:
    if Part.JOURNAL in parts:
        names = Columns.of(journal).listed()
        yield (
            f"INSERT INTO journal (revision, {names})"
            f" SELECT (SELECT revision FROM base) + o, {names} FROM new_journal"
            f" WHERE {_CURRENT} ORDER BY n, o"
        )
    inserted = (
        (Part.INSERTS, instances),
        (Part.EFFECTS, effects),
        (Part.TIMERS, timers),
        (Part.REQUESTS, requests),
    )
    for part, table in inserted:
        if part in parts:
            names = Columns.of(table).listed()
            yield (
                f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_name(part)}"
                f" WHERE {_CURRENT} ORDER BY n"
            )
    if Part.UPDATES in parts:
        values = ", ".join(f"{name} = a.{name}" for name in _RESULT)
        yield (
            f"UPDATE instances r SET {values} FROM new_updates a"
            f" WHERE {matches_key('r', 'a')} AND a.{_CURRENT}"
        )
    same = matches_key("e", "a", "effect_id")
    if Part.ENDS in parts:
        values = ", ".join(f"{name} = a.{name}" for name in ("state", "finalized_at_ms", "output", "error"))
        yield f"UPDATE effects e SET {values} FROM new_ends a WHERE {same} AND a.{_CURRENT}"
        yield _END_ATTEMPTS
    if Part.LATE_ENDS in parts:
        # Kept once: then its lease is worth nothing any more.
        yield (
            "UPDATE effects e SET output = a.output, error = a.error, lease_token = ''"
            f" FROM new_late_ends a WHERE {same} AND a.{_CURRENT}"
        )
    if Part.REVIVALS in parts:
        values = ", ".join(f"{name} = a.{name}" for name in _REVIVED)
        yield f"UPDATE effects e SET {values} FROM new_revivals a WHERE {same} AND a.{_CURRENT}"
    if Part.TIMERS_GONE in parts:
        yield (
            "DELETE FROM timers t USING new_timers_gone a"
            f" WHERE {matches_key('t', 'a', 'timer_key', 'uid', 'sequence')} AND a.{_CURRENT}"
        )


# An attempt that is being made ends with its effect, whoever ended that. The row of an attempt that another
# node began a moment ago may not be seen by this statement yet; then the conflict finds it.
_END_ATTEMPTS: Final = (
    f"INSERT INTO effect_attempts AS t ({', '.join(KEY)}, effect_id, attempt, lease_holder, started_at_ms,"
    " ended_at_ms, outcome, error)"
    f" SELECT {', '.join(KEY)}, effect_id, attempt, lease_holder, coalesce(attempted_at_ms, finalized_at_ms),"
    " finalized_at_ms, coalesce(nullif(outcome, ''), 'cancelled'), error"
    f" FROM ending WHERE was = 'running' AND attempt > 0 AND {_CURRENT}"
    f" ON CONFLICT ({', '.join(KEY)}, effect_id, attempt) DO UPDATE SET ended_at_ms = excluded.ended_at_ms,"
    " outcome = excluded.outcome, error = excluded.error WHERE t.ended_at_ms IS NULL"
)
