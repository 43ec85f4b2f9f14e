"""One transaction from the first command that is judged for it to the last that is answered."""

from __future__ import annotations

from durachart.runtime.instance import Seat
from durachart.runtime.queue.batch import Batch, Ticket
from durachart.runtime.queue.doubt import Doubt
from durachart.store.errors import StoreFailed
from durachart.store.interface import Writes
from durachart.store.keys import InstanceKey


class Round:
    """See the module.

    Attributes:
        batch: What is decided.
        tickets: The commands that were judged, in order.
        writes: What was sent to the store; nothing before.
        began_ns: When that was, for traces.
        size_bytes: What their data amounts to.
        done: Whether its commit has ended, one way or the other.
        failed: Whether what was judged on it does not hold.
        failure: Why the store failed; None: it did not.
        doubt: What a commit that failed may have done all the same; None: nothing is in doubt.
        stale: Instances that were not at what was judged; nothing of them was written.
        again: The commands of those, in order.
    """

    __slots__ = (
        "again",
        "batch",
        "began_ns",
        "done",
        "doubt",
        "failed",
        "failure",
        "size_bytes",
        "stale",
        "tickets",
        "writes",
    )

    def __init__(self, batch: Batch) -> None:
        """Begin with a batch in which nothing is decided."""
        self.batch = batch
        self.tickets: list[Ticket] = []
        self.size_bytes = 0
        self.writes = Writes()
        self.began_ns = 0
        self.done = False
        self.failed = False
        self.failure: StoreFailed | None = None
        self.doubt: Doubt | None = None
        self.stale: frozenset[InstanceKey] = frozenset()
        self.again: list[Ticket] = []

    def seat(self, key: InstanceKey) -> Seat | None:
        """The instance as this leaves it, while that is not on disk; None: it has nothing to do with it."""
        return None if self.done else self.batch.seat(key)

    def rests_on(self, keys: frozenset[InstanceKey]) -> bool:
        """Whether any of these instances was looked at."""
        moved = self.batch.moved()
        return any(key in moved for key in keys)
