"""What a watch has told of each instance lately: drops repetitions, finds gaps.

A watch that goes on after a gap, or after a snapshot, may be told again of what led to what it was shown.
Versions say so within one incarnation of an instance; across them it is the journal's ``seq``, which goes on
when an instance is deleted and created anew. A state that was shown has no ``seq``; then instants tell.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from durachart_client import errors
from durachart_client.models import Gap, InstanceDeleted, InstanceRef, InstanceState, Transition

# A watch over a machine may see instances without end; what is checked are the most recent ones.
_REMEMBERED_INSTANCES = 100_000


class _Last(NamedTuple):
    """What was told last of an instance.

    Attributes:
        uid: Of which incarnation.
        version: The version; of one that was deleted the last.
        at: When it was committed.
        seq: Of its journal entry; 0: it was shown without one.
        left: Whether it left what is watched, so that any later version may be next.
        deleted: Whether the incarnation is gone.
    """

    uid: str
    version: int
    at: datetime
    seq: int = 0
    left: bool = False
    deleted: bool = False


class SeenVersions:
    """See the module."""

    def __init__(self) -> None:
        self._last: OrderedDict[InstanceRef, _Last] = OrderedDict()

    def restart(self, state: InstanceState) -> bool:
        """Take a snapshot, which may skip versions; False when it tells nothing new."""
        last = self._last.get(state.instance)
        if last is not None and (last.uid, last.version) == (state.uid, state.version) and not last.left:
            return False
        self._remember(state.instance, _Last(state.uid, state.version, state.updated_at))
        return True

    def skip(self, gap: Gap) -> Gap | None:
        """Take a gap; returns it as it is told, or None when it tells nothing new.

        A stream that broke among gaps tells all of them anew, from where it stood before the first. Whoever
        took some of them has been told more than that since, so the version before is the one told last.

        Raises:
            StreamGap: It goes on after a version that was not told.
        """
        state = gap.state
        last = self._last.get(state.instance)
        if last is not None:
            previous = None
            if last.uid == state.uid:
                if last.deleted or state.version <= last.version:
                    return None
                if not last.left:
                    previous = last.version
                    if gap.previous_version is not None and gap.previous_version > previous:
                        raise errors.StreamGap(
                            instance=state.instance, expected=previous + 1, received=gap.previous_version + 1
                        )
            gap = replace(gap, previous_version=previous)
        self._remember(
            state.instance, _Last(state.uid, state.version, state.updated_at, left=not gap.matches)
        )
        return gap

    def advance(self, transition: Transition) -> bool:
        """Take a transition; False when it was delivered before.

        Raises:
            StreamGap: A version is missing before it.
        """
        state, entry = transition.state, transition.entry
        last = self._last.get(state.instance)
        if last is not None and last.uid == state.uid:
            expected = last.version + 1
            if last.deleted or state.version < expected:
                return False
            if state.version > expected and not last.left:
                raise errors.StreamGap(instance=state.instance, expected=expected, received=state.version)
        elif last is not None and _is_older(entry.seq, entry.created_at, last):
            return False
        told = _Last(state.uid, state.version, entry.created_at, entry.seq, left=not transition.matches)
        self._remember(state.instance, told)
        return True

    def delete(self, deleted: InstanceDeleted) -> bool:
        """Take a deletion; False when it was delivered before, or is of an earlier incarnation."""
        entry = deleted.entry
        last = self._last.get(deleted.instance)
        if last is not None:
            if last.uid == deleted.uid:
                if last.deleted:
                    return False
            elif _is_older(entry.seq, entry.created_at, last):
                return False
        version = entry.to_version
        self._remember(
            deleted.instance, _Last(deleted.uid, version, entry.created_at, entry.seq, deleted=True)
        )
        return True

    def _remember(self, instance: InstanceRef, last: _Last) -> None:
        self._last[instance] = last
        self._last.move_to_end(instance)
        if len(self._last) > _REMEMBERED_INSTANCES:
            self._last.popitem(last=False)


def _is_older(seq: int, at: datetime, last: _Last) -> bool:
    """Whether an entry of another incarnation comes before what was told last."""
    if last.seq:
        return seq <= last.seq
    # In the same millisecond it may be the next as well: rather twice than never.
    return at < last.at
