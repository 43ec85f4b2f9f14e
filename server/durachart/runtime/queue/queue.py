"""The command queue: whatever waits is judged together and committed in one transaction.

While a transaction is on its way to the disk, the commands that come are judged for the next one, on what the
first will have written: the busier it gets, the more each fsync carries, and neither the disk nor the judge
waits for the other. The next one is sent when the first is on disk; when that fails, or something of it was
not current, what was judged on it is judged again. A command is either executed and answered after the
commit, or refused before it is sent to the disk (overload, deadline, shutdown); one that was sent is carried
through whatever becomes of its caller.

Failures and what they do:

- A command that makes the judge fail unexpectedly fails alone; it is logged with an id.
- A load or commit that fails is tried again while the callers' deadlines allow; then they are told
  (``StoreUnavailable``). Whether a failed commit is on disk is looked up before anything is judged again; see
  ``doubt``. Nothing is answered that is not on disk. Other commands wait meanwhile, as many as may.
- A commit that finds something not current (a request id used before, an expired lease, with several nodes a
  version) writes nothing of those instances; their commands are loaded and judged again. So are, with several
  nodes, commands that were judged on what this one remembers and that write nothing which would prove it.
- An instance whose definition is not at hand waits beside the queue while it is loaded; others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

from opentelemetry.trace import Tracer

from durachart.runtime.clock import Clock
from durachart.runtime.commands import Caller, Command
from durachart.runtime.errors import DeadlineExceeded, Overloaded, ShuttingDown
from durachart.runtime.judge.judge import Judge
from durachart.runtime.queue.batch import Reply, Ticket
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.queue.commits import CommitListener, Commits
from durachart.runtime.queue.failing import fail, unexpected
from durachart.runtime.queue.judging import Judging
from durachart.runtime.queue.parking import Parking
from durachart.runtime.queue.recovery import Recovery
from durachart.runtime.queue.rounds import Round
from durachart.runtime.queue.tracing import Tracing
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.store.errors import StoreFailed
from durachart.store.interface import CommitResult, Store

_LITTLE: Final = 16
"""So many commands are written together, however few are in the transaction before."""


class CommandQueue:
    """See the module."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        cache: InstanceCache,
        clock: Clock,
        settings: RuntimeSettings,
        on_commit: CommitListener,
        tracer: Tracer | None,
    ) -> None:
        """Judge and commit commands; call ``on_commit`` before their callers are answered."""
        self._settings = settings
        self._tracing = None if tracer is None else Tracing(tracer, store.system)
        self._waiting: deque[Ticket] = deque()
        self._waiting_bytes = 0
        self._offered = 0
        self._parking = Parking(registry, self._wake)
        judge = Judge(settings, clock.new_uid)
        self._judging = Judging(judge, store, registry, cache, self._parking, clock, self._tracing)
        self._commits = Commits(store, cache, on_commit, self._tracing)
        self._recovery = Recovery(
            store,
            self._judging,
            self._commits,
            settings,
            closing=lambda: self._closing,
            retry_after=self._retry_after,
        )
        self._running: set[asyncio.Task[None]] = set()
        # What is judged while a transaction is under way.
        self._ahead: Round | None = None
        self._idle: asyncio.Future[None] | None = None
        self._closing = False
        self._worker: asyncio.Task[None] | None = None
        # Commands per second lately, from which callers are told when to come back.
        self._rate = 1_000.0

    @property
    def depth(self) -> int:
        """Commands that wait for their turn: to be judged, or to be written once they are."""
        judged = len(self._ahead.tickets) if self._ahead is not None else 0
        return len(self._waiting) + judged + len(self._parking)

    def start(self) -> None:
        """Begin to take commands."""
        self._worker = asyncio.create_task(self._work(), name="durachart-commands")

    def refuse_new(self) -> None:
        """Take no more commands; what waits is carried out."""
        self._closing = True
        self._wake()

    async def stop(self) -> None:
        """Carry out what waits, then end."""
        self.refuse_new()
        if self._worker is not None:
            await self._worker
            self._worker = None

    async def submit(self, command: Command, caller: Caller) -> Reply:
        """Have a command judged and committed; `offer`, awaited."""
        return await self.offer(command, caller)

    def offer(self, command: Command, caller: Caller) -> asyncio.Future[Reply]:
        """Have a command judged and committed. Commands of one instance are judged in the order offered.

        Returns:
            Gets the reply after the commit; a refusal is in its verdict. Cancelled before its turn, the
            command is not executed; once judged it is carried through. Otherwise it gets one of these:
            DeadlineExceeded: Not executed.
            StoreUnavailable: Not known whether it was executed.
            InstanceCorrupt: Not executed.
            MachineNotFound: Not executed; the machine to make an instance of was never published.
            ImplementationMissing: Not executed.

        Raises:
            ShuttingDown: Not executed.
            Overloaded: Not executed.
        """
        if self._closing:
            raise ShuttingDown
        ticket = Ticket(command, caller, asyncio.get_running_loop().create_future())
        self._offered += 1
        ticket.number = self._offered
        settings = self._settings
        if (
            self.depth >= settings.max_waiting
            or self._bytes() + ticket.size_bytes > settings.max_waiting_bytes
        ):
            raise Overloaded(self._retry_after())
        if self._tracing is not None:
            ticket.queued_ns = self._tracing.now_ns()
        self._waiting.append(ticket)
        self._waiting_bytes += ticket.size_bytes
        self._wake()
        return ticket.waiter

    def _bytes(self) -> int:
        """What the data of waiting commands amounts to."""
        judged = self._ahead.size_bytes if self._ahead is not None else 0
        return self._waiting_bytes + judged + self._parking.size_bytes

    def _retry_after(self) -> timedelta:
        seconds = self.depth / max(self._rate, 1.0)
        return timedelta(seconds=round(min(max(seconds, 0.05), 5.0), 2))

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # --- the loop -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        under_way: Round | None = None
        while True:
            self._take_parked()
            if under_way is None and not self._waiting:
                if self._closing and not len(self._parking):
                    return
                await self._woken(loop)
                continue
            began = loop.time()
            judged, unjudged, failure = await self._judge_waiting(under_way)
            self._ahead = None
            left, judged = self._left_over(under_way, judged)
            if left or unjudged:
                await self._recovery.carry_out([*left, *unjudged], under_way, failure)
            if under_way is not None and judged is not None and self._lapsed(judged, loop.time()):
                # What nobody waits for any more is not done: the others are judged again without it.
                self._waiting.extendleft(reversed(judged.tickets))
                self._waiting_bytes += judged.size_bytes
                judged = None
            under_way = self._begin_commit(judged) if judged is not None and judged.tickets else None
            if under_way is not None:
                took = max(loop.time() - began, 1e-6)
                self._rate += 0.1 * (len(under_way.tickets) / took - self._rate)

    @staticmethod
    def _lapsed(judged: Round, now: float) -> bool:
        """Whether the caller of any of these went away, or is out of time, before it was sent to the disk."""
        for ticket in judged.tickets:
            deadline = ticket.caller.deadline
            if ticket.waiter.done() or (deadline is not None and deadline <= now):
                return True
        return False

    async def _woken(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until there is something to do."""
        self._idle = loop.create_future()
        await self._idle
        self._idle = None

    async def _judge_waiting(
        self, ahead: Round | None
    ) -> tuple[Round | None, list[Ticket], StoreFailed | None]:
        """Judge what waits, and while a transaction is under way, what comes.

        Returns:
            What was judged, if anything; commands that could not be; and why the store failed, if it did.
        """
        loop = asyncio.get_running_loop()
        judged: Round | None = None
        while True:
            if judged is not None and ahead is not None and ahead.done:
                return judged, [], None
            self._take_parked()
            room = self._room(judged, ahead)
            if self._waiting and room > 0:
                tickets = self._take_waiting(loop.time(), room)
                if judged is None:
                    judged = self._ahead = self._judging.new_round()
                try:
                    await self._judging.judge_into(judged, tickets, ahead)
                except StoreFailed as error:
                    while ahead is not None and not ahead.done:
                        await self._woken(loop)
                    return None, [*judged.tickets, *tickets], error
                except Exception as error:  # noqa: BLE001 - logged with an id; the queue must go on
                    fail((*judged.tickets, *tickets), unexpected(error))
                    judged = self._ahead = None
            if ahead is None or ahead.done:
                return judged, [], None
            if not self._waiting or room <= 0:
                await self._woken(loop)

    def _room(self, judged: Round | None, ahead: Round | None) -> int:
        """How many more of what waits go into the next transaction.

        At most half of all that is under way, unless it is little: two transactions of the same size keep
        the judge and the disk busy at once. Callers that wait for their answers would else stay in a small
        one and a large one for ever, and while the large one is written there is little to judge.
        """
        have = 0 if judged is None else len(judged.tickets)
        room = self._settings.max_batch - have
        if ahead is None or ahead.done:
            return room
        half = (len(ahead.tickets) + have + len(self._waiting) + 1) // 2
        return min(room, max(half, _LITTLE) - have)

    def _left_over(self, ahead: Round | None, judged: Round | None) -> tuple[list[Ticket], Round | None]:
        """What is to be judged again after a transaction, and what was judged meanwhile and still holds."""
        if ahead is None or not (ahead.failed or ahead.again):
            return [], judged
        left = ahead.again if ahead.failure is None else ahead.tickets
        if judged is None:
            return left, None
        if not ahead.failed and not judged.rests_on(ahead.stale):
            return left, judged
        return [*left, *judged.tickets], None

    def _take_waiting(self, now: float, room: int) -> list[Ticket]:
        """At most ``room`` of what waits, without those nobody waits for any more."""
        tickets: list[Ticket] = []
        while self._waiting and len(tickets) < room:
            ticket = self._waiting.popleft()
            self._waiting_bytes -= ticket.size_bytes
            if ticket.waiter.done():  # its caller went away
                continue
            deadline = ticket.caller.deadline
            if deadline is not None and deadline <= now:
                ticket.waiter.set_exception(DeadlineExceeded())
                continue
            tickets.append(ticket)
        return tickets

    def _begin_commit(self, judged: Round) -> Round:
        task = asyncio.create_task(self._commit(judged, self._commits.send(judged)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return judged

    async def _commit(self, judged: Round, sent: Awaitable[CommitResult]) -> None:
        try:
            await self._commits.commit(judged, sent)
        finally:
            self._wake()

    def _take_parked(self) -> None:
        """Commands whose definition came go on, in front of those that came later; or are told why not.

        Only between two judgings: one of the same instance that is being judged would overtake them.
        """
        for tickets, failure in self._parking.take():
            if failure is not None:
                fail(tickets, failure)
            else:
                self._waiting.extendleft(reversed(tickets))
                self._waiting_bytes += sum(ticket.size_bytes for ticket in tickets)
