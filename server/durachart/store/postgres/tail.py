"""Reading the end of the log, as a function on a connection: the way every node goes many times a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from durachart.store.interface import LogEntry, LogPage
from durachart.store.postgres.arrays import Columns
from durachart.store.postgres.revisions import COMPACTED_REVISION, FINAL_REVISION
from durachart.store.rows import JournalRow
from durachart.store.schema import journal

# One statement, that is one cut: the rows, how far they are all there, and which of them retention removed.
_TAIL: Final = (
    f"WITH final AS MATERIALIZED (SELECT {FINAL_REVISION} AS revision,"
    f" coalesce({COMPACTED_REVISION}, 0) AS compacted)"
    f" SELECT f.revision AS final_revision, f.compacted, j.* FROM final f LEFT JOIN LATERAL"
    f" (SELECT revision, {Columns.of(journal).listed()} FROM journal"
    " WHERE revision > $1 AND revision <= f.revision AND outcome = 'accepted'"
    " AND revision <> ALL ($2::bigint[]) ORDER BY revision LIMIT $3) j ON true"
)


async def read_tail(connection: asyncpg.Connection, after: int, limit: int, known: Sequence[int]) -> LogPage:
    """See ``Store.read_log``; of all instances."""
    rows = await connection.fetch(_TAIL, after, known, limit)
    final, compacted = rows[0][:2]
    entries = [LogEntry(row[2], JournalRow(*row[3:])) for row in map(tuple, rows) if row[2] is not None]
    through = entries[-1].revision if len(entries) == limit else max(after, final)
    return LogPage(entries, through, compacted)
