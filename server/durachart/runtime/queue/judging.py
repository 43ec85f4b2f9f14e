"""Judging commands for a transaction: what has to be known of their instances, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from durachart.definitions.definition import Definition
from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.clock import Clock
from durachart.runtime.commands import (
    Command,
    CreateInstance,
    FinishEffect,
    ReviveEffect,
    SendEvent,
)
from durachart.runtime.errors import DurachartError, InstanceCorrupt
from durachart.runtime.instance import Instance, Seat, restored
from durachart.runtime.judge.judge import Judge
from durachart.runtime.queue.batch import Batch, Ticket
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.queue.failing import fail, unexpected
from durachart.runtime.queue.parking import Parking
from durachart.runtime.queue.rounds import Round
from durachart.runtime.queue.tracing import Tracing
from durachart.runtime.registry import Registry
from durachart.store.interface import (
    NO_JOURNAL,
    EffectKey,
    Loaded,
    RequestKey,
    Store,
    StoredInstance,
    Wanted,
)
from durachart.store.keys import InstanceKey

_NOTHING_LOADED: Final = Loaded({}, {}, {}, {})


class Judging:
    """See the module.

    Args:
        judge: Decides.
        store: Has the instances that are not in memory.
        registry: Has the definitions.
        cache: The instances in memory.
        parking: Where commands wait whose definition is not at hand.
        clock: Gives the instant they are judged at.
        tracing: Gets when each was judged; None: nobody does.
    """

    def __init__(
        self,
        judge: Judge,
        store: Store,
        registry: Registry,
        cache: InstanceCache,
        parking: Parking,
        clock: Clock,
        tracing: Tracing | None,
    ) -> None:
        self._judge = judge
        self._store = store
        self._registry = registry
        self._cache = cache
        self._parking = parking
        self._clock = clock
        self._tracing = tracing

    def new_round(self) -> Round:
        """A transaction for which nothing is judged."""
        return Round(Batch(self._judge))

    async def judge_into(
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
            fail((ticket,), error)
            return False
        except Exception as error:  # noqa: BLE001 - logged with an id; it must not take others with it
            fail((ticket,), unexpected(error))
            return False
        return True

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
