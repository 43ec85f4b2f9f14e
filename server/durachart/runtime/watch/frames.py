"""What a watcher is told of changes, and which of the instances it watches have not ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from durachart.runtime.instance_filter import InstanceFilter
from durachart.runtime.log import Change, Deletion, Transition
from durachart.runtime.opaque import ResumePoint, ResumeTokens
from durachart.runtime.views import WatchDeleted, WatchFrame, WatchGap, WatchSpec
from durachart.runtime.watch.cursor import Seen
from durachart.runtime.watch.gaps import Gap, Latest
from durachart.store.interface import InstancesPage


class Frames:
    """See the module.

    Args:
        spec: What is watched.
        matching: Which states are watched.
        seen: What was shown otherwise.
        tokens: Makes resume tokens.

    Attributes:
        unfinished: Of the instances that the spec names, those that have not ended as far as was told.
    """

    def __init__(self, spec: WatchSpec, matching: InstanceFilter, seen: Seen, tokens: ResumeTokens) -> None:
        self.unfinished = set(spec.instances)
        self._spec = spec
        self._matching = matching
        self._seen = seen
        self._tokens = tokens

    def note_page(self, cut: InstancesPage) -> None:
        """Take note of what has ended as of a page of snapshots."""
        for stored in cut.instances:
            if stored.row.status != "active":
                self.unfinished.discard(stored.row.key)

    def of(self, changes: Sequence[Change | Latest]) -> list[WatchFrame]:
        """What a watcher is told of ``changes``, in their order; nothing of what was shown before."""
        view = self._spec.view
        matches = self._matching.after
        frames: list[WatchFrame] = []
        for change in changes:
            token = partial(self._tokens.make, ResumePoint(change.revision))
            if isinstance(change, Latest):
                frames.append(self._latest(change.told, token()))
            elif self._seen.shows(change.key, change.revision):
                continue
            elif isinstance(change, Deletion):
                frames.append(self._latest(change, token()))
            else:
                if self._spec.end_on_final:
                    self._note_end(change)
                frames.append(change.frame(view, matches(change), token))
        return frames

    def _note_end(self, change: Transition) -> None:
        if change.finishes:
            self.unfinished.discard(change.key)
        elif change.entry.row.cause == "create":
            self.unfinished.add(change.key)  # anew, after a deletion

    def _latest(self, told: Gap | Deletion, token: str) -> WatchFrame:
        key = told.key
        if isinstance(told, Deletion):
            self.unfinished.discard(key)
            return WatchDeleted(token, key, told.entry.row.uid, told.journal_entry())
        if told.state.status != "active":
            self.unfinished.discard(key)
        elif self._spec.instances:
            self.unfinished.add(key)
        return WatchGap(token, told.state, told.previous_version, told.matches)
