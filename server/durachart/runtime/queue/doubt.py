"""When the database fails: how long to go on, and what became of a commit that did not say.

A commit that failed may be on disk all the same. What it would have written says so: the journal rows of an
instance are in one transaction with everything else of it, and a row's hash covers what was judged and all
that was before. So if the row is there, with this hash, the instance's part of the batch is on disk, and its
callers are answered; if it is not, nothing of it is, and the commands are judged again.

On a database across the network a transaction may still be on its way when one looks. It is then in the way
of what is judged again, whose commit finds that it is not current. So everything in doubt is looked at again
before each attempt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from durachart.runtime.log import Change
from durachart.runtime.queue.batch import Batch, Reply, Ticket
from durachart.runtime.settings import RuntimeSettings
from durachart.store.interface import Store, Writes
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow

_LAST_WORD_S: Final = 0.1
"""What is left of a caller's time for a last attempt and its answer. Without it the caller's own deadline
comes first, and the caller learns that time is up, but not why."""


class Patience:
    """How long a batch waits for a database that fails: a growing, jittered wait after each failure.

    The wait is drawn evenly from nothing to a bound that doubles, so that nodes do not come back together.
    """

    def __init__(
        self, settings: RuntimeSettings, now: float, chance: Callable[[], float] = random.random
    ) -> None:
        """Begin at ``now``, on the event loop's clock; ``chance`` draws from [0, 1)."""
        self._bound_s = settings.store_retry_first.total_seconds()
        self._longest_s = settings.store_retry_longest.total_seconds()
        self._until = now + settings.store_patience.total_seconds()
        self._chance = chance

    def next_wait(self) -> float:
        """Seconds to wait now."""
        wait = self._bound_s * self._chance()
        self._bound_s = min(2 * self._bound_s, self._longest_s)
        return wait

    def waits(self, ticket: Ticket, until: float) -> bool:
        """Whether a command's caller still waits at ``until``, and for an answer after that."""
        deadline = ticket.caller.deadline
        if deadline is None:
            return not ticket.waiter.done() and until < self._until
        return not ticket.waiter.done() and until + _LAST_WORD_S < deadline


class Landed(NamedTuple):
    """What became of a commit that failed.

    Attributes:
        revisions: Of the instances whose part is on disk, those of their rows; 0: that row is gone again.
        unknown: Instances whose rows have been removed since, so that nobody can tell.
    """

    revisions: Mapping[InstanceKey, Sequence[int]]
    unknown: AbstractSet[InstanceKey]


class Doubt:
    """A commit that failed, and may be on disk.

    Attributes:
        writes: What it would have written.
    """

    def __init__(self, batch: Batch, writes: Writes, tickets: Iterable[Ticket]) -> None:
        """Remember what was judged; the tickets' replies are overwritten when they are judged again."""
        self.writes = writes
        self._batch = batch
        self._replies = {ticket: ticket.reply for ticket in tickets}
        self._rows: dict[InstanceKey, list[JournalRow]] = {}
        for row in writes.journal:
            self._rows.setdefault(row.key, []).append(row)

    def reply_of(self, ticket: Ticket) -> Reply | None:
        """What the command's reply was; None: it was not among them."""
        return self._replies.get(ticket)

    async def look(self, store: Store, keys: Iterable[InstanceKey]) -> Landed:
        """Which of these instances' parts are on disk. Raises StoreFailed: the store does not say."""
        landed: dict[InstanceKey, Sequence[int]] = {}
        unknown: set[InstanceKey] = set()
        for key in keys:
            rows = self._rows.get(key)
            if rows is None:
                continue
            last = rows[-1]
            found = await store.list_journal(key, from_seq=rows[0].seq, limit=len(rows))
            stored = {entry.row.seq: entry for entry in found}
            if last.seq in stored:
                if stored[last.seq].row.hash == last.hash:
                    landed[key] = [stored[row.seq].revision if row.seq in stored else 0 for row in rows]
            elif found and found[-1].row.seq > last.seq:
                unknown.add(key)
        return Landed(landed, unknown)

    def changes(self, landed: Mapping[InstanceKey, Sequence[int]]) -> tuple[list[Change], int]:
        """What of it watchers must hear of, and the newest revision."""
        left = {key: iter(revisions) for key, revisions in landed.items()}
        revisions = [next(left[row.key]) if row.key in left else 0 for row in self.writes.journal]
        return self._batch.changes(revisions), max(revisions, default=0)


def only_of(writes: Writes, keep: Callable[[InstanceKey], bool]) -> Writes:
    """What of ``writes`` belongs to the instances that ``keep`` says."""
    return Writes(
        journal=[row for row in writes.journal if keep(row.key)],
        deletes=[delete for delete in writes.deletes if keep(delete.tombstone.key)],
        inserts=[row for row in writes.inserts if keep(row.key)],
        updates=[update for update in writes.updates if keep(update.row.key)],
        effects=[row for row in writes.effects if keep(row.key)],
        revivals=[revival for revival in writes.revivals if keep(revival.row.key)],
        ends=[end for end in writes.ends if keep(InstanceKey(*end[1:4]))],
        late_ends=[end for end in writes.late_ends if keep(InstanceKey(*end[1:4]))],
        timers_gone=[row for row in writes.timers_gone if keep(row.key)],
        timers=[row for row in writes.timers if keep(row.key)],
        requests=[row for row in writes.requests if keep(row.key)],
        occupied=[place for place in writes.occupied if keep(place[0])],
    )
