"""The newest changes in memory, in log order, so that watchers need not read them back from disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from durachart.runtime.instance import Instance
from durachart.runtime.present import instance_state, journal_entry
from durachart.runtime.views import (
    InstanceState,
    JournalEffect,
    JournalEntry,
    RunningEffect,
    View,
    WatchTransition,
)
from durachart.store.interface import LogEntry, LogMatch
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow


class Transition:
    """One accepted row with the state it made; what watchers are shown of it is made once for all of them.

    Attributes:
        size_bytes: About what its texts hold in memory.
    """

    __slots__ = (
        "_frames",
        "_states",
        "entry",
        "instance",
        "key",
        "revision",
        "running",
        "shown",
        "size_bytes",
    )

    def __init__(
        self,
        revision: int,
        row: JournalRow,
        instance: Instance,
        effects: tuple[JournalEffect, ...],
        running: tuple[RunningEffect, ...] | None = None,
    ) -> None:
        """Keep a row.

        Args:
            revision: Its place in the log.
            row: The row.
            instance: The instance it made.
            effects: What it asked for.
            running: What ran then, when the instance does not say.
        """
        self.revision = revision
        self.key: InstanceKey = instance.key
        self.instance = instance
        self.entry: LogEntry = LogEntry(revision, row)
        self.shown = effects
        self.running = running
        self.size_bytes = len(instance.context_json) + len(row.data) + len(row.effects or "")
        # Most are never shown.
        self._states: dict[View, InstanceState] | None = None
        self._frames: dict[tuple[View, bool], WatchTransition] | None = None

    @property
    def finishes(self) -> bool:
        """Whether the instance is done after it."""
        return self.instance.snapshot.status != "active"

    def state(self, view: View) -> InstanceState:
        """The state after it, its allowed events as of its own instant."""
        if self._states is None:
            self._states = {}
        made = self._states.get(view)
        if made is None:
            made = instance_state(self.instance, view, self.entry.row.at_ms, self.running)
            self._states[view] = made
        return made

    def journal_entry(self, view: View) -> JournalEntry:
        """Its journal entry; without the event's data in BASIC."""
        made = journal_entry(self.entry, self.shown)
        return made if view is View.FULL else made._replace(data_json="")

    def frame(self, view: View, matches: bool, token: Callable[[], str]) -> WatchTransition:
        """What watchers of one view are told of it: one object for all of them, so that it is encoded once.

        Args:
            view: How much.
            matches: Whether the state after it is one that is watched.
            token: Makes the resume token, which is the same for all; called for the first of them.
        """
        if self._frames is None:
            self._frames = {}
        made = self._frames.get((view, matches))
        if made is None:
            made = WatchTransition(
                token(), self.state(view), self.journal_entry(view), self.entry.row.changed, matches
            )
            self._frames[view, matches] = made
        return made


class Deletion:
    """The last row of an instance that was deleted."""

    __slots__ = ("entry", "key", "revision")

    def __init__(self, revision: int, row: JournalRow) -> None:
        """Keep a row with its place in the log."""
        self.revision = revision
        self.key: InstanceKey = row.key
        self.entry: LogEntry = LogEntry(revision, row)

    @property
    def size_bytes(self) -> int:
        """About what its texts hold in memory."""
        return len(self.entry.row.details or "")

    def journal_entry(self) -> JournalEntry:
        """Its journal entry."""
        return journal_entry(self.entry, ())


Change = Transition | Deletion
"""What watchers hear of."""


class Stretch(NamedTuple):
    """A stretch of the log.

    Attributes:
        changes: Those wanted, by revision.
        through: All of those wanted up to this revision are there.
    """

    changes: list[Change]
    through: int


class RecentLog:
    """A bounded stretch of the newest changes, and a call to those who wait for more."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        """Keep at most ``max_entries``, with contexts and payloads of at most about ``max_bytes``."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._changes: deque[Change] = deque()
        self._floor = 0
        self._newest = 0
        self._listeners: list[Callable[[list[Change], int], None]] = []

    @property
    def newest(self) -> int:
        """The newest revision there is, as far as is known here, of whatever kind of row."""
        return self._newest

    def begin(self, revision: int) -> None:
        """Start empty after ``revision``; what is here goes."""
        self._changes.clear()
        self._bytes = 0
        self._floor = self._newest = revision

    def listen(self, listener: Callable[[list[Change], int], None]) -> None:
        """Call ``listener(changes, newest)`` after each commit."""
        self._listeners.append(listener)

    def append(self, changes: list[Change], newest: int) -> None:
        """Take in a commit: its changes by revision, and the revision of its last row."""
        self._newest = newest
        for change in changes:
            self._changes.append(change)
            self._bytes += change.size_bytes
        while len(self._changes) > self._max_entries or self._bytes > self._max_bytes:
            gone = self._changes.popleft()
            self._bytes -= gone.size_bytes
            self._floor = gone.revision
        for listener in self._listeners:
            listener(changes, newest)

    def covers(self, after: int) -> bool:
        """Whether every change with a revision over ``after`` is still here."""
        return after >= self._floor

    @property
    def max_entries(self) -> int:
        """How many changes it holds at most."""
        return self._max_entries

    def read(
        self, after: int, limit: int, match: LogMatch, wants: Callable[[Change], bool] | None = None
    ) -> Stretch:
        """Changes with a revision over ``after`` that match, at most ``limit``. Only if `covers` them.

        Args:
            after: Strictly after this revision.
            limit: >= 1.
            match: Of which instances.
            wants: Which of those; None: all.
        """
        found: list[Change] = []
        for change in _after(self._changes, after):
            if matches(match, change.key) and (wants is None or wants(change)):
                found.append(change)
                if len(found) == limit:
                    return Stretch(found, change.revision)
        return Stretch(found, self._newest)


def matches(match: LogMatch, key: InstanceKey) -> bool:
    """Whether a row of this instance is wanted."""
    if match.keys is not None:
        return key in match.keys
    return match.machine is None or match.machine == (key.namespace, key.machine_id)


def _after(changes: deque[Change], after: int) -> Iterable[Change]:
    """Those with a revision over ``after``; whoever asks has usually missed little."""
    newer: list[Change] = []
    for change in reversed(changes):
        if change.revision <= after:
            break
        newer.append(change)
    return reversed(newer)
