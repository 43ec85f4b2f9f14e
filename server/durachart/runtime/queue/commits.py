"""Committing what was judged: to the store, then to memory, watchers and callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from durachart.crash_points import reach
from durachart.runtime.log import Change
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.queue.doubt import Doubt, only_of
from durachart.runtime.queue.failing import fail, unexpected
from durachart.runtime.queue.rounds import Round
from durachart.runtime.queue.tracing import Tracing
from durachart.store.errors import StoreFailed
from durachart.store.interface import CommitResult, Store, Writes

_log = logging.getLogger(__name__)

CommitListener = Callable[[list[Change], int, Writes], None]
"""Called after a commit with its changes, the revision of its last row (0: it has no row) and what was
written."""


class Commits:
    """See the module.

    Args:
        store: Where to.
        cache: Gets the instances as they are on disk.
        on_commit: Told of each commit before its callers are answered.
        tracing: Gets when each commit began and ended; None: nobody does.
    """

    def __init__(
        self, store: Store, cache: InstanceCache, on_commit: CommitListener, tracing: Tracing | None
    ) -> None:
        self._store = store
        self._cache = cache
        self._on_commit = on_commit
        self._tracing = tracing

    def send(self, judged: Round) -> Awaitable[CommitResult]:
        """Hand what was judged to the store; a store with a thread of its own begins at once."""
        batch = judged.batch
        try:
            writes = batch.writes()
            if not self._store.exclusive and (unproven := batch.unproven()):
                # Another node may have moved them: no answer follows from what this one remembers.
                writes = only_of(writes, lambda key: key not in unproven)
                judged.stale = unproven
            judged.writes = writes
            if self._tracing is not None:
                judged.began_ns = self._tracing.now_ns()
            if writes.journal or writes.requests:
                return self._store.commit(writes)
            return _told(CommitResult((), frozenset()))
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            return _told(error)

    async def commit(self, judged: Round, sent: Awaitable[CommitResult]) -> None:
        """Wait until what was judged is on disk, answer the commands, and say in the round how it went."""
        try:
            await self._conclude(judged, sent)
        except Exception as error:  # noqa: BLE001 - logged with an id; its callers must hear of it
            for key in judged.batch.moved():
                self._cache.evict(key)
            fail(judged.tickets, unexpected(error))
            judged.failed = True
        finally:
            judged.done = True

    async def _conclude(self, judged: Round, sent: Awaitable[CommitResult]) -> None:
        batch, tickets, writes = judged.batch, judged.tickets, judged.writes
        try:
            revisions, outdated = await sent
        except StoreFailed as error:
            for key in batch.moved():
                self._cache.evict(key)
            judged.failed = True
            judged.failure = error
            judged.doubt = Doubt(batch, writes, tickets)
            return
        stale = judged.stale = judged.stale | outdated
        if self._tracing is not None:
            self._tracing.committed(tickets, judged.began_ns, len(writes.journal))
        for key, seat in batch.moved().items():
            if key in stale:
                self._cache.evict(key)
            else:
                self._cache.put(key, seat)
        if revisions and (newest := max(revisions)):
            told = only_of(writes, lambda key: key not in stale) if stale else writes
            self.tell(batch.changes(revisions), newest, told)
        for ticket in tickets:
            if ticket.key in stale:
                judged.again.append(ticket)
            elif not ticket.waiter.done() and ticket.reply is not None:
                ticket.waiter.set_result(ticket.reply)
        reach("reply.set")

    def tell(self, changes: list[Change], newest: int, writes: Writes) -> None:
        """Make known what is on disk; arguments as of `CommitListener`."""
        try:
            self._on_commit(changes, newest, writes)
        except Exception as error:  # noqa: BLE001 - what is on disk must be answered whatever follows from it
            _log.error("commit not made known revision=%d", newest, exc_info=error)


def _told(result: CommitResult | Exception) -> asyncio.Future[CommitResult]:
    """What is known already, to be awaited."""
    future: asyncio.Future[CommitResult] = asyncio.get_running_loop().create_future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future
