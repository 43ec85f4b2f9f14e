"""The hash chain of a journal: every row vouches for the row before it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import orjson

from durachart.store.rows import JournalRow

_FIRST_HASHED = JournalRow._fields.index("namespace")
_PREV_HASH = JournalRow._fields.index("prev_hash")


def entry_hash(row: JournalRow) -> bytes:
    """SHA-256 over the hash of the row before and this row.

    Everything the judge decided counts. The shard, which follows from the key, and the revision, which the
    store gives at commit, do not.
    """
    return sha256(row.prev_hash + orjson.dumps(row[_FIRST_HASHED:_PREV_HASH])).digest()


def sealed(row: JournalRow) -> JournalRow:
    """``row`` with its hash."""
    return JournalRow._make((*row[:-1], entry_hash(row)))


def row_after(prev_hash: bytes, fields: tuple[object, ...]) -> JournalRow:
    """The row that follows the one with ``prev_hash``: what `sealed` makes, in half the time.

    Args:
        prev_hash: Empty for the first row.
        fields: All but the two hashes, in order.
    """
    digest = sha256(prev_hash + orjson.dumps(fields[_FIRST_HASHED:])).digest()
    return JournalRow._make((*fields, prev_hash, digest))


def first_broken(rows: Iterable[JournalRow]) -> JournalRow | None:
    """The first row that does not continue the chain, of consecutive rows of one instance; None: all do."""
    before: JournalRow | None = None
    for row in rows:
        follows = before is None or (row.seq == before.seq + 1 and row.prev_hash == before.hash)
        if not follows or row.hash != entry_hash(row):
            return row
        before = row
    return None
