"""Commands whose transaction did not go well: carried through one transaction at a time, to an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from durachart.runtime.errors import Overloaded, StoreUnavailable
from durachart.runtime.queue.batch import Ticket
from durachart.runtime.queue.commits import Commits
from durachart.runtime.queue.doubt import Doubt, Patience, only_of
from durachart.runtime.queue.failing import fail, unexpected
from durachart.runtime.queue.judging import Judging
from durachart.runtime.queue.rounds import Round
from durachart.runtime.settings import RuntimeSettings
from durachart.store.errors import StoreFailed
from durachart.store.interface import Store

_log = logging.getLogger(__name__)

_ROUNDS: Final = 16
"""How often a batch is judged again because something was not current, before its callers are told to come
back."""


class Recovery:
    """See the module.

    Args:
        store: Says what became of a commit that failed.
        judging: Judges the commands again.
        commits: Commits what was judged.
        settings: How patient to be.
        closing: Whether the server ends, and waits for nothing any more.
        retry_after: When callers that are sent away are to come back.
    """

    def __init__(
        self,
        store: Store,
        judging: Judging,
        commits: Commits,
        settings: RuntimeSettings,
        *,
        closing: Callable[[], bool],
        retry_after: Callable[[], timedelta],
    ) -> None:
        self._store = store
        self._judging = judging
        self._commits = commits
        self._settings = settings
        self._closing = closing
        self._retry_after = retry_after

    async def carry_out(
        self, tickets: list[Ticket], before: Round | None, failure: StoreFailed | None
    ) -> None:
        """Judge and commit, one transaction after the other, until every command is answered.

        Args:
            tickets: The commands, in order.
            before: A transaction that some of them were part of and that did not go well; None: there is
                none.
            failure: Why the store failed to load what they need; None: it did not.
        """
        try:
            await self._carry_through(tickets, before, failure)
        except Exception as error:  # noqa: BLE001 - logged with an id; the queue must go on
            fail(tickets, unexpected(error))

    async def _carry_through(
        self, tickets: list[Ticket], before: Round | None, failure: StoreFailed | None
    ) -> None:
        patience = Patience(self._settings, asyncio.get_running_loop().time())
        doubts: list[Doubt] = []
        anew = before is not None
        rounds = 0
        if before is not None and before.doubt is not None:
            doubts.append(before.doubt)
            failure = before.failure
        if failure is not None:
            tickets = await self._wait_for_store(tickets, patience, failure)
        while tickets and rounds < _ROUNDS:
            try:
                for doubt in doubts:
                    tickets = await self._settle(doubt, tickets)
                tickets = await self._round(tickets, doubts, anew=anew)
                rounds += 1
            except StoreFailed as error:
                tickets = await self._wait_for_store(tickets, patience, error)
            anew = True
        fail(tickets, Overloaded(self._retry_after()))

    async def _wait_for_store(
        self, tickets: Sequence[Ticket], patience: Patience, error: StoreFailed
    ) -> list[Ticket]:
        """Wait a while; returns the commands whose callers still do, the others have been told."""
        wait = patience.next_wait()
        until = asyncio.get_running_loop().time() + wait
        waiting = [ticket for ticket in tickets if not self._closing() and patience.waits(ticket, until)]
        patient = set(waiting)
        fail((ticket for ticket in tickets if ticket not in patient), StoreUnavailable(str(error)))
        if waiting:
            _log.warning("store failed, trying again commands=%d error=%s", len(waiting), error)
            await asyncio.sleep(wait)
        return waiting

    async def _settle(self, doubt: Doubt, tickets: list[Ticket]) -> list[Ticket]:
        """Answer what a failed commit did all the same; returns the other commands."""
        landed, unknown = await doubt.look(self._store, dict.fromkeys(ticket.key for ticket in tickets))
        if landed:
            changes, newest = doubt.changes(landed)
            self._commits.tell(changes, newest, only_of(doubt.writes, landed.__contains__))
        left = []
        for ticket in tickets:
            reply = doubt.reply_of(ticket)
            if reply is None or ticket.key not in (landed.keys() | unknown):
                left.append(ticket)
            elif ticket.key in unknown:
                fail((ticket,), StoreUnavailable("whether it was done is not known any more"))
            elif not ticket.waiter.done():
                ticket.waiter.set_result(reply)
        return left

    async def _round(self, tickets: list[Ticket], doubts: list[Doubt], *, anew: bool) -> list[Ticket]:
        """Judge and commit once; returns the commands to judge anew, because what was known is not current.

        Raises:
            StoreFailed: Nothing was answered. When it was the commit, ``doubts`` has one more.
        """
        judged = self._judging.new_round()
        await self._judging.judge_into(judged, tickets, None, anew=anew)
        tickets[:] = judged.tickets
        await self._commits.commit(judged, self._commits.send(judged))
        if judged.doubt is not None:
            doubts.append(judged.doubt)
        if judged.failure is not None:
            raise judged.failure
        return judged.again
