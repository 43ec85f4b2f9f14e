"""Instances in memory, bounded by number and size; the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict

from durachart.runtime.instance import Instance, Seat
from durachart.store.keys import InstanceKey
from durachart.store.rows import EffectRow


class InstanceCache:
    """Seats of instances as last committed by this process."""

    def __init__(self, max_instances: int, max_bytes: int) -> None:
        """Keep at most ``max_instances`` of together at most about ``max_bytes``."""
        self._max_instances = max_instances
        self._max_bytes = max_bytes
        self._bytes = 0
        self._seats: OrderedDict[InstanceKey, tuple[Seat, int]] = OrderedDict()
        self._finished_before_ms = 0

    def __len__(self) -> int:
        return len(self._seats)

    def get(self, key: InstanceKey) -> Seat | None:
        """The instance's seat; None: it is not here."""
        found = self._seats.get(key)
        if found is None:
            return None
        self._seats.move_to_end(key)
        return found[0]

    def put(self, key: InstanceKey, seat: Seat) -> None:
        """Keep what was committed, unless it finished so long ago that retention may have removed it.

        A seat without an instance is not worth keeping.
        """
        known = self._seats.pop(key, None)
        if known is not None:
            self._bytes -= known[1]
        instance = seat.instance
        if instance is None or self._may_be_gone(instance):
            return
        if known is not None and instance.effects:
            before = known[0].instance
            if before is not None:
                seat = seat._replace(
                    instance=instance._replace(effects=_with_newer_leases(instance.effects, before.effects))
                )
        size = instance.size_bytes
        self._seats[key] = (seat, size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._seats) > self._max_instances:
            _, (_, freed) = self._seats.popitem(last=False)
            self._bytes -= freed

    def evict(self, key: InstanceKey) -> None:
        """Forget an instance; it is loaded again when it is needed."""
        known = self._seats.pop(key, None)
        if known is not None:
            self._bytes -= known[1]

    def evict_finished(self, before_ms: int) -> None:
        """Forget instances that finished before ``before_ms``, for ever: retention may have removed them.

        Whoever had read one before that may still come to put it back.
        """
        self._finished_before_ms = max(before_ms, self._finished_before_ms)
        finished = [
            key
            for key, (seat, _) in self._seats.items()
            if seat.instance is not None and self._may_be_gone(seat.instance)
        ]
        for key in finished:
            self.evict(key)

    def _may_be_gone(self, instance: Instance) -> bool:
        return instance.snapshot.status != "active" and instance.updated_at_ms < self._finished_before_ms

    def note_lease(self, row: EffectRow) -> None:
        """Keep up with an effect that began or ended an attempt, if its instance is here."""
        found = self._seats.get(row.key)
        if found is None or found[0].instance is None:
            return
        seat, size = found
        instance = found[0].instance
        effects = tuple(row if effect.effect_id == row.effect_id else effect for effect in instance.effects)
        self._seats[row.key] = (seat._replace(instance=instance._replace(effects=effects)), size)


def _with_newer_leases(effects: tuple[EffectRow, ...], known: tuple[EffectRow, ...]) -> tuple[EffectRow, ...]:
    """``effects``, each as of the newest lease: one may have begun while the instance was being judged."""
    leases = {effect.effect_id: effect for effect in known}
    return tuple(
        newer
        if (newer := leases.get(effect.effect_id)) is not None and newer.lease_epoch >= effect.lease_epoch
        else effect
        for effect in effects
    )
