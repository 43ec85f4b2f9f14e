"""What every watch promises, as a check of recorded streams against the journal.

The six guarantees that etcd gives its watchers, in our words. Per stream:

- **ordered**: changes come in the order of their revisions, and tokens never go back.
- **unique**: no change comes twice on one connection, and none comes that the resume token lies after.
- **atomic**: a change is the whole macrostep as journaled; of each instance, snapshot and first change come
  from one cut.
- **reliable**: between two changes of an instance nothing is missing, unless a ``gap`` says what is.
- **resumable**: a connection goes on strictly after the token it was opened with.
- **bookmarkable**: whatever carries a token and is no snapshot was preceded by everything up to that token.

A `Truth` is made of accepted journal entries, and each `Connection` of the frames that one call brought, in
order. Both may come from the runtime or from messages of the contract, the server's or a client's: names are
alike. What is recorded of our own client, which resumes by itself, is one connection without a token.

`violations` tells what is broken; empty is as it should be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from durachart.runtime.opaque import decode

Key = tuple[str, str, str]
Kind = Literal["snapshot", "transition", "deleted", "gap", "synced", "progress", "closing", "tokens"]
Guarantee = Literal["ordered", "unique", "atomic", "reliable", "resumable", "bookmarkable"]


class Happened(NamedTuple):
    """One change of an instance: an accepted row of the journal.

    Attributes:
        revision: Its place in the log.
        key: Namespace, machine id, instance id.
        uid: Which incarnation.
        from_version: Before it.
        version: After it; a deletion counts as one.
        value: State value after it, as JSON; empty for a deletion.
        cause: ``create``, ``event``, ``timer``, ``effect`` or ``delete``.
    """

    revision: int
    key: Key
    uid: str
    from_version: int
    version: int
    value: str
    cause: str

    @property
    def deletes(self) -> bool:
        """Whether the instance is gone after it."""
        return self.cause == "delete"


class Frame(NamedTuple):
    """One frame as a client got it.

    Attributes:
        kind: Which.
        token: Its resume token.
        change: Of transitions and deletions: what it says happened.
        key: Of snapshots and gaps: which instance; else None.
        uid: Of snapshots and gaps.
        version: Of snapshots and gaps.
        value: Of snapshots and gaps: state value as JSON.
        previous_version: Of gaps.
        matches: Of transitions and gaps: whether the state is said to match the filter.
    """

    kind: Kind
    token: str
    change: Happened | None = None
    key: Key | None = None
    uid: str = ""
    version: int = 0
    value: str = ""
    previous_version: int = -1
    matches: bool = True


@dataclass(slots=True)
class Connection:
    """One call of a watch.

    Attributes:
        resume_token: What it was opened with; empty: from the snapshots on.
        frames: What came, in order.
        conflate: Whether it asked for gaps: then a deletion may come without what was before it.
    """

    resume_token: str = ""
    frames: list[Frame] = field(default_factory=list)
    conflate: bool = False


class Violation(NamedTuple):
    """What is broken, and where."""

    guarantee: Guarantee
    sentence: str


Matches = Callable[[Happened], bool]
Watched = Callable[[Key], bool]


def change_of(entry: Any) -> Happened:
    """An accepted journal entry, of the runtime or of the contract, as a change."""
    cause = entry.cause if isinstance(entry.cause, str) else _CAUSES[entry.cause]
    return Happened(
        entry.revision,
        _key_of(entry),
        entry.uid,
        entry.from_version,
        entry.to_version,
        entry.to_value_json if cause != "delete" else "",
        cause,
    )


def is_accepted(entry: Any) -> bool:
    """Whether a journal entry, of the runtime or of the contract, changed anything."""
    return entry.outcome in ("accepted", 1)


_CAUSES = {1: "create", 2: "event", 3: "timer", 4: "effect", 5: "delete"}


def _key_of(named: Any) -> Key:
    ref = named.key if hasattr(named, "key") else named.instance
    return ref.namespace, ref.machine_id, ref.instance_id


def frame_of(frame: Any) -> Frame:
    """A frame of the runtime or of the contract as recorded here."""
    if hasattr(frame, "WhichOneof"):
        return _from_message(frame)
    kind: Any = type(frame).__name__.removeprefix("Watch").lower()
    return _recorded(kind, frame.resume_token, frame)


def _from_message(frame: Any) -> Frame:
    kind = frame.WhichOneof("body")
    return _recorded(kind, frame.resume_token, getattr(frame, kind))


def _recorded(kind: Kind, token: str, body: Any) -> Frame:
    if kind == "transition":
        change = change_of(body.entry)
        # What the state says counts: that it is the entry's is part of what is checked.
        shown = change._replace(version=body.state.version, value=body.state.value_json, uid=body.state.uid)
        return Frame(kind, token, shown, matches=body.matches)
    if kind == "deleted":
        return Frame(kind, token, change_of(body.entry))
    if kind in ("snapshot", "gap"):
        state = body.state if hasattr(body, "state") else body
        frame = Frame(kind, token, None, _key_of(state), state.uid, state.version, state.value_json)
        if kind == "gap":
            return frame._replace(previous_version=body.previous_version, matches=body.matches)
        return frame
    return Frame(kind, token)


class Position(NamedTuple):
    """What a resume token says."""

    revision: int
    snapshot_of: Key | None


def position_of(token: str) -> Position:
    """Where a resume token stands."""
    fields = decode(token)
    assert fields is not None, f"not a resume token: {token!r}"
    _, revision, *names = fields
    return Position(revision, (names[0], names[1], names[2]) if names else None)


class Truth:
    """What really happened, and what of it a watch is about."""

    def __init__(
        self,
        changes: Iterable[Happened],
        *,
        watched: Watched = lambda _key: True,
        matches: Matches = lambda _change: True,
    ) -> None:
        """Take in the journal.

        Args:
            changes: Accepted entries of all watched instances, in any order; others do no harm.
            watched: Which instances the watch names, or its machine.
            matches: Whether the state after a change matches the filter; not asked about deletions.
        """
        self.of: dict[Key, list[Happened]] = defaultdict(list)
        self._of_revision: dict[int, int] = {}
        self._of_version: dict[tuple[Key, str, int], int] = {}
        for change in sorted(changes):
            if watched(change.key):
                index = len(self.of[change.key])
                self.of[change.key].append(change)
                self._of_revision[change.revision] = index
                if not change.deletes:
                    self._of_version[change.key, change.uid, change.version] = index
        self._matches = matches

    def is_shown(self, key: Key, index: int) -> bool:
        """Whether a watcher knows the instance after its change ``index``; -1: before all of them."""
        if index < 0 or self.of[key][index].deletes:
            return False
        return self._matches(self.of[key][index])

    def is_told(self, key: Key, index: int) -> bool:
        """Whether a change is of interest: before it or after it the instance matched."""
        return self.is_shown(key, index - 1) or self.is_shown(key, index)

    def through(self, key: Key, revision: int) -> int:
        """The index of the last change up to ``revision``; -1: there is none."""
        return bisect_right(self.of[key], revision, key=lambda change: change.revision) - 1

    def index(self, change: Happened) -> int | None:
        """Where a change stands among those of its instance; None: it never happened."""
        index = self._of_revision.get(change.revision)
        if index is None or change.key not in self.of:
            return None
        own = self.of[change.key]
        return index if index < len(own) and own[index] == change else None

    def find(self, key: Key, uid: str, version: int) -> int | None:
        """The index of the change that made a version."""
        return self._of_version.get((key, uid, version))


def violations(truth: Truth, connections: Sequence[Connection]) -> list[Violation]:
    """Everything that a watcher's connections break of the guarantees.

    Args:
        truth: The journal, complete for what is watched up to the last token recorded.
        connections: Of one watcher, one after the other.
    """
    found: list[Violation] = []
    for number, connection in enumerate(connections):
        checked = _Checked(truth, connection, f"connection {number}")
        checked.run()
        found += checked.found
    return found


class _Checked:
    """The check of one connection."""

    def __init__(self, truth: Truth, connection: Connection, name: str) -> None:
        self._truth = truth
        self._connection = connection
        self._name = name
        self._start = position_of(connection.resume_token) if connection.resume_token else None
        # Of each instance the last change that was told of, or that a snapshot or gap stands for. Missing:
        # as of some cut that no frame has shown yet.
        self._done: dict[Key, int] = {}
        self._cut = -1 if self._start is None else self._start.revision
        self._newest = self._cut
        self._last_change = self._cut
        self.found: list[Violation] = []

    def run(self) -> None:
        """Go through the frames."""
        for number, frame in enumerate(self._connection.frames):
            at = f"{self._name}, frame {number} ({frame.kind})"
            if frame.kind == "closing" and not frame.token:
                # The server ends what it had not begun with.
                if number or self._start is not None:
                    self._break("bookmarkable", f"{at}: it has no token, though there was one before")
                continue
            position = position_of(frame.token)
            if self._cut < 0:
                self._cut = position.revision
            if position.revision < self._newest:
                self._break(
                    "ordered", f"{at}: its token is at {position.revision}, the one before at {self._newest}"
                )
            self._newest = max(self._newest, position.revision)
            if frame.kind == "snapshot":
                self._snapshot(frame, at)
            elif frame.kind == "gap":
                self._gap(frame, at)
            elif frame.change is not None:
                self._change(frame, frame.change, position, at)
            elif frame.kind in ("synced", "progress", "closing") and position.snapshot_of is None:
                self._bookmark(position.revision, at)
        if self._connection.frames and self._connection.frames[-1].token:
            last = position_of(self._connection.frames[-1].token)
            if last.snapshot_of is None:
                self._bookmark(last.revision, f"{self._name}, its last token")

    def _break(self, guarantee: Guarantee, sentence: str) -> None:
        self.found.append(Violation(guarantee, sentence))

    def _resumed(self, key: Key) -> bool:
        """Whether the connection goes on where the watcher knew the instance already."""
        if self._start is None:
            return False
        return self._start.snapshot_of is None or key <= self._start.snapshot_of

    def _known(self, key: Key) -> int | None:
        """The index of the last change the watcher knows of; None: whichever a snapshot would have shown."""
        if key not in self._done and self._resumed(key):
            self._done[key] = self._truth.through(key, self._cut)
        return self._done.get(key)

    # --- frames ---------------------------------------------------------------------------------------------

    def _snapshot(self, frame: Frame, at: str) -> None:
        key = frame.key
        assert key is not None
        if self._resumed(key):
            self._break("resumable", f"{at}: {key} was shown before the token already")
            return
        if key in self._done:
            self._break("unique", f"{at}: {key} was shown already")
            return
        index = self._shown(frame, at)
        if index is None:
            return
        if index < self._truth.through(key, self._cut):
            self._break("atomic", f"{at}: {key} at version {frame.version} is older than the cut {self._cut}")
        if not self._truth.is_shown(key, index):
            self._break("atomic", f"{at}: {key} at version {frame.version} does not match the filter")
        self._done[key] = index

    def _shown(self, frame: Frame, at: str) -> int | None:
        """The change that made the state that is shown."""
        key = frame.key
        assert key is not None
        index = self._truth.find(key, frame.uid, frame.version)
        if index is None:
            self._break("atomic", f"{at}: {key} was never at version {frame.version} of {frame.uid}")
        elif self._truth.of[key][index].value != frame.value:
            self._break(
                "atomic",
                f"{at}: {key} at version {frame.version} was {self._truth.of[key][index].value}, not "
                f"{frame.value}",
            )
        return index

    def _gap(self, frame: Frame, at: str) -> None:
        key = frame.key
        assert key is not None
        index = self._shown(frame, at)
        if index is None:
            return
        known = self._known(key)
        if known is not None and index <= known:
            self._break("unique", f"{at}: {key} was at version {frame.version} or later already")
        if known is not None and known >= 0 and self._truth.is_shown(key, known):
            before = self._truth.of[key][known]
            if before.uid == frame.uid and before.version != frame.previous_version:
                self._break(
                    "reliable",
                    f"{at}: {key} goes on after version {frame.previous_version}, not {before.version}",
                )
        if frame.matches != self._truth.is_shown(key, index):
            self._break("atomic", f"{at}: {key} is wrongly said to match={frame.matches}")
        self._done[key] = max(index, -1 if known is None else known)

    def _change(self, frame: Frame, change: Happened, position: Position, at: str) -> None:
        key, revision = change.key, change.revision
        index = self._truth.index(change)
        if index is None:
            self._break("atomic", f"{at}: the journal knows nothing of {change}")
            return
        if self._start is not None and revision <= self._start.revision:
            self._break("resumable", f"{at}: revision {revision} is not after the token")
        known = self._known(key)
        if known is not None and index <= known:
            self._break("unique", f"{at}: revision {revision} was told of, or shown, already")
            return
        if not (change.deletes and self._connection.conflate):
            if revision <= self._last_change:
                self._break("ordered", f"{at}: revision {revision} after {self._last_change}")
            self._last_change = max(self._last_change, revision)
            self._require_nothing_between(key, known, index, at)
            if not self._truth.is_told(key, index):
                self._break(
                    "atomic", f"{at}: revision {revision} matches the filter neither before nor after"
                )
        if not change.deletes and frame.matches != self._truth.is_shown(key, index):
            self._break("atomic", f"{at}: revision {revision} is wrongly said to match={frame.matches}")
        self._done[key] = index
        if position.revision > revision:
            self._bookmark(position.revision, at)

    def _require_nothing_between(self, key: Key, known: int | None, index: int, at: str) -> None:
        if known is None or (self._connection.conflate and not self._truth.is_shown(key, known)):
            # It was not shown: then there was nothing to show, just before this change.
            if self._truth.is_shown(key, index - 1):
                before = self._truth.of[key][index - 1]
                self._break("reliable", f"{at}: {key} at version {before.version} was never shown")
            return
        for missed in range(known + 1, index):
            if self._truth.is_told(key, missed):
                gone = self._truth.of[key][missed]
                self._break(
                    "reliable", f"{at}: {key} missed version {gone.version}, revision {gone.revision}"
                )

    def _bookmark(self, revision: int, at: str) -> None:
        """Everything up to ``revision`` must have been told of."""
        for key in self._truth.of:
            last = self._truth.through(key, revision)
            known = self._known(key)
            if known is None or (self._connection.conflate and not self._truth.is_shown(key, known)):
                # What was not known, and was looked at later than that, when it did not match any more, is
                # not mentioned.
                later = range(max(last, 0), len(self._truth.of[key]))
                if last >= 0 and all(self._truth.is_shown(key, index) for index in later):
                    self._break("reliable", f"{at}: {key} was never shown")
                continue
            for missed in range(known + 1, last + 1):
                if self._truth.is_told(key, missed):
                    gone = self._truth.of[key][missed]
                    self._break(
                        "bookmarkable",
                        f"{at}: says all up to {revision}, without version {gone.version} of {key} at "
                        f"{gone.revision}",
                    )
