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
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from opentelemetry.trace import Tracer

from durachart.crash_points import reach
from durachart.definitions.definition import Definition
from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.batch import Batch, Reply, Ticket
from durachart.runtime.cache import InstanceCache
from durachart.runtime.clock import Clock
from durachart.runtime.commands import (
    Caller,
    Command,
    CreateInstance,
    FinishEffect,
    ReviveEffect,
    SendEvent,
)
from durachart.runtime.doubt import Doubt, Patience, only_of
from durachart.runtime.errors import (
    DeadlineExceeded,
    DurachartError,
    InstanceCorrupt,
    Overloaded,
    ShuttingDown,
    StoreUnavailable,
)
from durachart.runtime.instance import Instance, Seat, restored
from durachart.runtime.judge import Judge
from durachart.runtime.log import Change
from durachart.runtime.parking import Parking
from durachart.runtime.registry import Registry
from durachart.runtime.rounds import Round
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.tracing import Tracing
from durachart.store.errors import StoreFailed
from durachart.store.interface import (
    NO_JOURNAL,
    CommitResult,
    EffectKey,
    Loaded,
    RequestKey,
    Store,
    StoredInstance,
    Wanted,
    Writes,
)
from durachart.store.keys import InstanceKey

_log = logging.getLogger(__name__)

_ROUNDS: Final = 16
"""How often a batch is judged again because something was not current, before its callers are told to come
back."""
_LITTLE: Final = 16
"""So many commands are written together, however few are in the transaction before."""
_NOTHING_LOADED: Final = Loaded({}, {}, {}, {})

CommitListener = Callable[[list[Change], int, Writes], None]
"""Called after a commit with its changes, the revision of its last row (0: it has no row) and what was
written."""


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
        self._store = store
        self._registry = registry
        self._cache = cache
        self._clock = clock
        self._settings = settings
        self._on_commit = on_commit
        self._judge = Judge(settings, clock.new_uid)
        self._tracing = None if tracer is None else Tracing(tracer, store.system)
        self._waiting: deque[Ticket] = deque()
        self._waiting_bytes = 0
        self._parking = Parking(registry, self._unpark, _unexpected)
        self._commits: set[asyncio.Task[None]] = set()
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
                await self._carry_out([*left, *unjudged], under_way, failure)
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
            room = self._room(judged, ahead)
            if self._waiting and room > 0:
                tickets = self._take_waiting(loop.time(), room)
                if judged is None:
                    judged = self._ahead = self._new_round()
                try:
                    await self._judge_into(judged, tickets, ahead)
                except StoreFailed as error:
                    while ahead is not None and not ahead.done:
                        await self._woken(loop)
                    return None, [*judged.tickets, *tickets], error
                except Exception as error:  # noqa: BLE001 - logged with an id; the queue must go on
                    self._fail((*judged.tickets, *tickets), _unexpected(error))
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

    async def _carry_out(
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
            self._fail(tickets, _unexpected(error))

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
        self._fail(tickets, Overloaded(self._retry_after()))

    async def _wait_for_store(
        self, tickets: Sequence[Ticket], patience: Patience, error: StoreFailed
    ) -> list[Ticket]:
        """Wait a while; returns the commands whose callers still do, the others have been told."""
        wait = patience.next_wait()
        until = asyncio.get_running_loop().time() + wait
        waiting = [ticket for ticket in tickets if not self._closing and patience.waits(ticket, until)]
        patient = set(waiting)
        self._fail((ticket for ticket in tickets if ticket not in patient), StoreUnavailable(str(error)))
        if waiting:
            _log.warning("store failed, trying again commands=%d error=%s", len(waiting), error)
            await asyncio.sleep(wait)
        return waiting

    async def _settle(self, doubt: Doubt, tickets: list[Ticket]) -> list[Ticket]:
        """Answer what a failed commit did all the same; returns the other commands."""
        landed, unknown = await doubt.look(self._store, dict.fromkeys(ticket.key for ticket in tickets))
        if landed:
            changes, newest = doubt.changes(landed)
            self._tell(changes, newest, only_of(doubt.writes, landed.__contains__))
        left = []
        for ticket in tickets:
            reply = doubt.reply_of(ticket)
            if reply is None or ticket.key not in (landed.keys() | unknown):
                left.append(ticket)
            elif ticket.key in unknown:
                self._fail((ticket,), StoreUnavailable("whether it was done is not known any more"))
            elif not ticket.waiter.done():
                ticket.waiter.set_result(reply)
        return left

    async def _round(self, tickets: list[Ticket], doubts: list[Doubt], *, anew: bool) -> list[Ticket]:
        """Judge and commit once; returns the commands to judge anew, because what was known is not current.

        Raises:
            StoreFailed: Nothing was answered. When it was the commit, ``doubts`` has one more.
        """
        judged = self._new_round()
        await self._judge_into(judged, tickets, None, anew=anew)
        tickets[:] = judged.tickets
        await self._commit(judged, self._send(judged))
        if judged.doubt is not None:
            doubts.append(judged.doubt)
        if judged.failure is not None:
            raise judged.failure
        return judged.again

    def _new_round(self) -> Round:
        return Round(Batch(self._judge))

    async def _judge_into(
        self, judged: Round, tickets: Sequence[Ticket], ahead: Round | None, *, anew: bool = False
    ) -> None:
        """Judge commands for a transaction, on what one that is under way will have written.

        Raises:
            StoreFailed: None of them was judged.
        """
        at_hand: dict[InstanceKey, Seat] = {}
        loaded = await self._load(tickets, judged, ahead, at_hand, anew=anew)
        judged.batch.learn(loaded, self._clock.now_ms(), None if ahead is None else ahead.batch)
        for ticket in tickets:
            if self._decide(judged.batch, ticket, loaded, at_hand, ahead):
                judged.tickets.append(ticket)
                judged.size_bytes += ticket.size_bytes

    def _begin_commit(self, judged: Round) -> Round:
        task = asyncio.create_task(self._commit(judged, self._send(judged)))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return judged

    def _send(self, judged: Round) -> Awaitable[CommitResult]:
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

    async def _commit(self, judged: Round, sent: Awaitable[CommitResult]) -> None:
        """Wait until what was judged is on disk, answer the commands, and say in the round how it went."""
        try:
            await self._conclude(judged, sent)
        except Exception as error:  # noqa: BLE001 - logged with an id; its callers must hear of it
            for key in judged.batch.moved():
                self._cache.evict(key)
            self._fail(judged.tickets, _unexpected(error))
            judged.failed = True
        finally:
            judged.done = True
            self._wake()

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
            self._tell(batch.changes(revisions), newest, told)
        for ticket in tickets:
            if ticket.key in stale:
                judged.again.append(ticket)
            elif not ticket.waiter.done() and ticket.reply is not None:
                ticket.waiter.set_result(ticket.reply)
        reach("reply.set")

    def _decide(
        self,
        batch: Batch,
        ticket: Ticket,
        loaded: Loaded,
        at_hand: Mapping[InstanceKey, Seat],
        ahead: Round | None,
    ) -> bool:
        """Have one command judged; False: it was answered already, or set aside."""
        if (wanted := self._parking.wanted(ticket.key)) is not None:
            self._parking.park(ticket, wanted)  # those of one instance stay in order
            return False
        try:
            seat = batch.seat(ticket.key)
            if seat is None:
                seat = self._known(ticket.key, ahead) or at_hand.get(ticket.key)
                remembered = seat is not None
                if seat is None:
                    seat = self._stored(ticket, loaded)
                if seat is None:
                    return False
                batch.sit(ticket.key, seat, remembered=remembered)
            pinned = None
            if seat.instance is None and _may_create(ticket.command):
                pinned = self._registry.latest(ticket.key.machine_id)
                if pinned is None:
                    self._parking.park(ticket, (ticket.key.machine_id, 0))
                    return False
            if self._tracing is None:
                batch.decide(ticket, pinned)
            else:
                began_ns = self._tracing.now_ns()
                batch.decide(ticket, pinned)
                ticket.judged_ns = (began_ns, self._tracing.now_ns())
        except DurachartError as error:
            self._fail((ticket,), error)
            return False
        except Exception as error:  # noqa: BLE001 - logged with an id; it must not take others with it
            self._fail((ticket,), _unexpected(error))
            return False
        return True

    def _tell(self, changes: list[Change], newest: int, writes: Writes) -> None:
        try:
            self._on_commit(changes, newest, writes)
        except Exception as error:  # noqa: BLE001 - what is on disk must be answered whatever follows from it
            _log.error("commit not made known revision=%d", newest, exc_info=error)

    def _fail(self, tickets: Iterable[Ticket], error: Exception) -> None:
        for ticket in tickets:
            if not ticket.waiter.done():
                ticket.waiter.set_exception(error)

    # --- what a batch needs to know -------------------------------------------------------------------------

    def _known(self, key: InstanceKey, ahead: Round | None) -> Seat | None:
        """The instance as the transaction under way leaves it, or as the last one did; None: not here."""
        seat = ahead.seat(key) if ahead is not None else None
        return self._cache.get(key) if seat is None else seat

    async def _load(
        self,
        tickets: Sequence[Ticket],
        judged: Round,
        ahead: Round | None,
        at_hand: dict[InstanceKey, Seat],
        *,
        anew: bool,
    ) -> Loaded:
        """Rows of instances that are not in memory, and what only the store knows.

        Those in memory are put ``at_hand``: they may be there no more when the rows have come.

        Whether a request id was used is not asked in advance for instances in memory: nearly none was, and
        the commit finds those that were.
        """
        keys: dict[InstanceKey, None] = {}
        requests: dict[RequestKey, None] = {}
        effects: dict[EffectKey, None] = {}
        for ticket in tickets:
            seat = judged.batch.seat(ticket.key) or self._known(ticket.key, ahead)
            if seat is None:
                keys[ticket.key] = None
            else:
                at_hand[ticket.key] = seat
            # What is asked of an instance that is not there leaves no row that would find it out.
            if ticket.request_id and (anew or seat is None or seat.instance is None):
                requests[ticket.key, ticket.request_id] = None
            command = ticket.command
            if isinstance(command, ReviveEffect | FinishEffect) and (anew or not _holds_lease(seat, command)):
                effects[ticket.key, command.effect_id] = None
        if not (keys or requests or effects):
            return _NOTHING_LOADED
        return await self._store.load(Wanted(tuple(keys), tuple(requests), tuple(effects)))

    def _stored(self, ticket: Ticket, loaded: Loaded) -> Seat | None:
        """The instance as loaded; None: its definition has to be loaded, and the command waits for it."""
        head = loaded.heads.get(ticket.key, NO_JOURNAL)
        stored = loaded.instances.get(ticket.key)
        if stored is None:
            return Seat(None, head)
        definition = self._registry.get(stored.row.machine_id, stored.row.machine_version)
        if definition is None:
            self._parking.park(ticket, (stored.row.machine_id, stored.row.machine_version))
            return None
        return Seat(_restored(stored, definition), head)

    def _unpark(self, tickets: Sequence[Ticket], failure: Exception | None) -> None:
        """Commands go on, in front of those that came later; or are told why they cannot."""
        if failure is not None:
            self._fail(tickets, failure)
        else:
            self._waiting.extendleft(reversed(tickets))
            self._waiting_bytes += sum(ticket.size_bytes for ticket in tickets)
        self._wake()


def _told(result: CommitResult | Exception) -> asyncio.Future[CommitResult]:
    """What is known already, to be awaited."""
    future: asyncio.Future[CommitResult] = asyncio.get_running_loop().create_future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


def _may_create(command: Command) -> bool:
    if isinstance(command, SendEvent):
        return command.create_if_missing
    return isinstance(command, CreateInstance)


def _holds_lease(seat: Seat | None, command: FinishEffect | ReviveEffect) -> bool:
    if seat is None or seat.instance is None or isinstance(command, ReviveEffect):
        return False
    return any(
        effect.effect_id == command.effect_id and effect.lease_token == command.lease_token
        for effect in seat.instance.effects
    )


def _restored(stored: StoredInstance, definition: Definition) -> Instance:
    try:
        return restored(stored, definition)
    except SnapshotInvalid as error:
        raise InstanceCorrupt(stored.row.key, str(error)) from error


def _unexpected(error: Exception) -> DurachartError:
    error_id = uuid.uuid4().hex
    _log.error("command failed error_id=%s", error_id, exc_info=error)
    return DurachartError(
        f"the command failed unexpectedly; the server's log has the cause under id {error_id}"
    )
