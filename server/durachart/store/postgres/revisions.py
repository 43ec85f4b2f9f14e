"""The order of the log, from transaction ids.

A revision is ``(transaction id << 16 | place in the transaction) + offset``. Neither sequence nor lock is
needed:

- Rows of one instance. Whoever wrote row ``seq + 1`` had read row ``seq``, so the transaction that wrote it
  had ended before, and has the lower id. Revisions of an instance rise with ``seq``.
- Rows of the whole store. A transaction that is still running, or has not begun, has an id of at least
  ``pg_snapshot_xmin(pg_current_snapshot())``. So rows below the revision that this id would begin with, the
  horizon, are all there and stay what they are: what was read up to the horizon never has to be read again.
- A crash of the database. Ids of transactions of which nothing reached the disk (they rolled back, or rang a
  bell) are given out anew, so the horizon itself may go back. A row that is seen is on disk, and its id with
  it: what readers remember is the newest row below the horizon, never the horizon.

A copy made with ``pg_dump`` may be restored where transaction ids are lower. The offset, kept in
``store_info``, is raised then, when a connection finds rows that could not be there yet.
"""

from __future__ import annotations

from typing import Final

PLACE_BITS: Final = 16
MAX_ROWS: Final = (1 << PLACE_BITS) - 1
"""Journal rows of one transaction."""

_OFFSET: Final = "(SELECT value::bigint FROM store_info WHERE name = 'revision_offset')"

FIRST_REVISION: Final = f"((pg_current_xact_id()::text::bigint << {PLACE_BITS}) + {_OFFSET})"
"""SQL: the revision of the first row of this transaction."""

COMPACTED_REVISION: Final = "(SELECT value::bigint FROM store_info WHERE name = 'compacted_revision')"
"""SQL: the newest row that retention removed; null when it removed none."""

FINAL_REVISION: Final = (
    "(SELECT greatest(max(revision), "
    f"{COMPACTED_REVISION}, 0) FROM journal WHERE revision"
    f" < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {PLACE_BITS}) + {_OFFSET})"
)
"""SQL: rows up to this revision, inclusive, are all there (or were, before retention), as this transaction
sees the database."""

IS_AHEAD: Final = (
    "SELECT coalesce(max(revision), 0)"
    f" >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << {PLACE_BITS}) + {_OFFSET} FROM journal"
)
"""SQL: whether there are rows that no transaction so far can have written."""

RAISE_OFFSET: Final = f"""
UPDATE store_info SET value = (
    (SELECT coalesce(max(revision), 0) + 1 FROM journal)
    - (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {PLACE_BITS})
)::text
WHERE name = 'revision_offset' AND ({IS_AHEAD})
"""
"""SQL: raise the offset so that all there is lies below the horizon; does nothing when nothing is ahead."""
