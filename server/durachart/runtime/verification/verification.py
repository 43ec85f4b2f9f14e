"""Whether an instance's journal explains itself: chained, without gaps, and the engine comes to the same.

Pure: rows come in, problems go out. A row is executed again on the state that the rows before it led to, and
what comes of it is compared with what the row says came of it. After a row that is wrong, or that cannot be
executed here, verification goes on from what is stored, so that each wrong row is reported once.

What is not executed is counted with its reason: rows judged by another release (the chain still vouches for
them), by a definition that cannot be run here, and where retention has cut the journal, those before the
first whole context.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from durachart import __version__
from durachart.definitions.definition import Definition
from durachart.engine.errors import EngineError, SnapshotInvalid
from durachart.engine.macrostep import Macrostep, macrostep
from durachart.engine.snapshot import Snapshot
from durachart.runtime.arguments import RESERVED_PREFIX
from durachart.runtime.commands import NO_LABELS
from durachart.runtime.instance import Instance, Unstorable, dumps, read_snapshot, write_internals
from durachart.runtime.judge.asked import asked_by
from durachart.runtime.judge.stepping import patched
from durachart.runtime.verification.differences import Difference, differences
from durachart.runtime.verification.replay import NotRepeatable, event_of, fired_timer, repeat
from durachart.store.chain import entry_hash
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow, JournalRow

_KNOWN_CAUSES: Final = ("create", "event", "timer", "effect")
_ASKED_FIELDS: Final = (
    "uid",
    "version",
    "ordinal",
    "type",
    "handler",
    "params",
    "owner",
    "cancel_on_exit",
    "machine_version",
    "traceparent",
    "created_at_ms",
)
"""What of an effect's row is as it was asked for, whatever has become of it."""

Lookup = Callable[[str, int], Definition | str]
"""A definition by machine id and version, or why it cannot be run here."""


class Problem(NamedTuple):
    """Something stored that is not what it should be.

    Attributes:
        key: Of which instance.
        seq: Of the journal row; 0: it is not about a journal row.
        check: Which check failed, a stable word: ``chain``, ``position``, ``result``, ``refusal``,
            ``instance``, ``timers``, ``effects``, ``requests``, ``definition``.
        message: One sentence for people.
        differences: What is stored and what was computed, where that is what it is about.
    """

    key: InstanceKey
    seq: int
    check: str
    message: str
    differences: tuple[Difference, ...] = ()


@dataclass(slots=True)
class Life:
    """One incarnation of an instance, as its journal has it so far.

    Attributes:
        row: The row that made its current version.
        context: The stored context; None: it cannot be read.
        snapshot: The engine's state; None: it is not known.
        labels: As given at its creation; None: the journal does not reach back to it.
        created_at_ms: When it was made; None: the same.
    """

    row: JournalRow
    context: dict[str, Any] | None
    snapshot: Snapshot | None
    labels: str | None
    created_at_ms: int | None


class JournalVerifier:
    """Takes the rows of one journal in order; what it finds gathers in ``problems``.

    Attributes:
        problems: To be taken away by whoever feeds rows, so that they need not all be kept.
        rows: How many rows were taken.
        executed: How many of them were executed again.
        skipped: How many accepted rows were not, by reason.
        refused: How many rows were refused, and have no result to compare with.
        deletions: How many rows ended their instance, which executes nothing.
        life: The instance as the rows so far leave it; None: there is none.
        asked: Unfinished effects that a row asked for.
        first_seq: Of the first row; 0: there was none.
    """

    def __init__(
        self,
        key: InstanceKey,
        lookup: Lookup,
        unfinished: Mapping[str, EffectRow],
        gone: Mapping[str, int],
        *,
        engine_version: str = __version__,
    ) -> None:
        """Verify one journal.

        Args:
            key: Of which instance.
            lookup: Finds definitions.
            unfinished: The outbox rows of its effects that have not ended, by id.
            gone: Incarnations whose rows retention removes, with the last row of each: these may begin
                anywhere, and end without a deletion.
            engine_version: Rows of other versions are not executed.
        """
        self.problems: list[Problem] = []
        self.rows = 0
        self.executed = 0
        self.skipped: Counter[str] = Counter()
        self.refused = 0
        self.deletions = 0
        self.life: Life | None = None
        self.asked: set[str] = set()
        self.first_seq = 0
        self._key = key
        self._lookup = lookup
        self._unfinished = unfinished
        self._gone = gone
        self._engine_version = engine_version
        self._before: JournalRow | None = None
        self._revision = 0
        # Whether it is known what there was before the next row: not at the beginning of a cut journal.
        self._begun = False

    def take(self, revision: int, row: JournalRow) -> None:
        """Verify the next row."""
        self.rows += 1
        if self._before is None:
            self.first_seq = row.seq
            self._begun = row.seq == 1
        self._chain(revision, row)
        self._let_go(row.seq)
        if row.outcome == "refused":
            self.refused += 1
            self._refused(row)
        elif row.outcome != "accepted":
            self._problem(row, "position", f"has the outcome {row.outcome!r}")
        elif row.cause == "delete":
            self.deletions += 1
            self._position(row, row.from_version + 1)
            self.life, self._begun = None, True
        else:
            self._accepted(row)
        self._before, self._revision = row, revision

    def finish(self) -> None:
        """There are no more rows."""
        self._let_go(self.first_seq + self.rows)

    def _let_go(self, next_seq: int) -> None:
        """An instance whose time was over has no row that says so."""
        if self.life is not None and self._gone.get(self.life.row.uid, next_seq) < next_seq:
            self.life = None

    def _problem(self, row: JournalRow, check: str, message: str, found: tuple[Difference, ...] = ()) -> None:
        self.problems.append(Problem(self._key, row.seq, check, message, found))

    # --- the chain ------------------------------------------------------------------------------------------

    def _chain(self, revision: int, row: JournalRow) -> None:
        before = self._before
        if row.shard != shard(self._key):
            self._problem(row, "chain", f"is in shard {row.shard} and belongs into {shard(self._key)}")
        if row.hash != entry_hash(row):
            self._problem(row, "chain", "is not what its hash was made of")
        if before is None:
            if row.seq == 1 and row.prev_hash != b"":
                self._problem(row, "chain", "is the first and names a row before it")
            return
        if row.seq != before.seq + 1:
            self._problem(row, "chain", f"comes after row {before.seq}; what is between them is missing")
        elif row.prev_hash != before.hash:
            self._problem(row, "chain", f"does not continue row {before.seq}: its prev_hash is another")
        if revision <= self._revision:
            self._problem(row, "chain", f"has revision {revision}, the row before it {self._revision}")
        if row.at_ms < before.at_ms:
            self._problem(row, "chain", "was judged at an instant before that of the row before it")

    def _position(self, row: JournalRow, to_version: int) -> None:
        """Check that a row follows what the instance was."""
        life = self.life
        if life is None:
            if self._begun:
                self._problem(row, "position", "changes an instance that does not exist")
            return
        last = life.row
        if row.uid != last.uid:
            self._problem(row, "position", f"is of incarnation {row.uid}; the instance is {last.uid}")
        if (row.from_version, row.to_version) != (last.to_version, to_version):
            self._problem(
                row,
                "position",
                f"goes from version {row.from_version} to {row.to_version}; "
                f"the instance is at version {last.to_version}",
            )
        if row.from_value != last.to_value:
            found = differences(row.from_value, last.to_value)
            self._problem(row, "position", "begins in another state than the row before it ended in", found)
        if row.machine_version != last.machine_version and row.cause in _KNOWN_CAUSES:
            self._problem(
                row,
                "position",
                f"was judged by machine version {row.machine_version}; "
                f"the instance is pinned to {last.machine_version}",
            )

    # --- accepted rows --------------------------------------------------------------------------------------

    def _accepted(self, row: JournalRow) -> None:
        before = self.life
        labels, created_at_ms = (row.labels or "", row.at_ms) if row.cause == "create" else (None, None)
        if row.cause == "create":
            if before is not None:
                self._problem(row, "position", "creates an instance that exists")
            if (row.from_version, row.to_version, row.from_value) != (0, 0, ""):
                self._problem(row, "position", "is a creation and does not make version 0 of nothing")
            before = None
        else:
            whole = row.context is not None or row.uid in self._gone
            if before is None and not self._begun and not whole:
                self._problem(row, "position", "is the first of its instance and holds no whole context")
            self._position(row, row.from_version + 1)
            if before is not None:
                labels, created_at_ms = before.labels, before.created_at_ms
        nearest = row.seq if row.context is not None else None if before is None else before.row.snapshot_seq
        if nearest is not None and row.snapshot_seq != nearest:
            self._problem(
                row, "position", f"names row {row.snapshot_seq} as its whole context; it is row {nearest}"
            )
        context = self._stored_context(row, None if before is None else before.context)
        snapshot = self._executed(row, before, context)
        self.life = Life(row, context, snapshot, labels, created_at_ms)
        self._begun = True

    def _stored_context(self, row: JournalRow, before: dict[str, Any] | None) -> dict[str, Any] | None:
        """The context that a row says it left; None: it cannot be told."""
        try:
            if row.context is not None:
                context: Any = orjson.loads(row.context)
            elif row.context_patch is not None and before is not None:
                context = patched(before, orjson.loads(row.context_patch))
            else:
                return before
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._problem(row, "result", f"holds no readable context: {error}")
            return None
        if type(context) is not dict:
            self._problem(row, "result", "holds a context that is no JSON object")
            return None
        return context

    def _executed(
        self, row: JournalRow, before: Life | None, context: dict[str, Any] | None
    ) -> Snapshot | None:
        """The state after an accepted row; None: it is not known."""
        definition = self._lookup(row.machine_id, row.machine_version)
        if isinstance(definition, str):
            self._skip(row, definition)
            return None
        why = self._why_not(row, before)
        if why:
            self._skip(row, why)
            return self._restored(row, definition, context)
        known = None if before is None else before.snapshot
        try:
            step = repeat(definition, known, row)
            wrong = self._compare(row, definition, before, step, context)
        except (NotRepeatable, Unstorable) as error:
            self._problem(row, "result", f"cannot be executed again: {error}")
            return self._restored(row, definition, context)
        self.executed += 1
        if known is not None and row.cause == "timer":
            self._timer(row, known)
        return self._restored(row, definition, context) if wrong else step.snapshot

    def _why_not(self, row: JournalRow, before: Life | None) -> str:
        """Why a row is not executed; empty: it is."""
        if row.engine_version != self._engine_version:
            return f"judged by release {row.engine_version}"
        if row.cause not in _KNOWN_CAUSES:
            return f"caused by {row.cause!r}, of which this release knows nothing"
        if row.cause != "create" and (before is None or before.snapshot is None):
            return "the state before it is not known"
        return ""

    def _skip(self, row: JournalRow, why: str) -> None:
        self.skipped[why] += 1
        if row.effects and self._unfinished:
            # The chain vouches for what it asked for; that this follows from its cause is not known.
            try:
                self.asked.update(effect["id"] for effect in orjson.loads(row.effects))
            except (ValueError, TypeError, KeyError) as error:
                self._problem(row, "result", f"holds no readable effects: {error}")

    def _restored(
        self, row: JournalRow, definition: Definition, context: dict[str, Any] | None
    ) -> Snapshot | None:
        if context is None:
            return None
        try:
            snapshot = read_snapshot(definition, "{}", row.internals or "")._replace(context=context)
        except SnapshotInvalid as error:
            self._problem(row, "result", f"holds no state of its machine: {error}")
            return None
        return snapshot

    def _compare(
        self,
        row: JournalRow,
        definition: Definition,
        before: Life | None,
        step: Macrostep,
        context: dict[str, Any] | None,
    ) -> bool:
        """Report what of the row's result is not what the engine computes; True: something is."""
        known = len(self.problems)
        snapshot = step.snapshot
        if row.cause == "event" and row.event_type.startswith(RESERVED_PREFIX):
            self._problem(row, "result", f"is {row.event_type!r}, which no caller may send")
        if row.cause == "event" and not step.accepted:
            self._problem(row, "result", f"accepts {row.event_type!r}, which the engine refuses")
        computed = {
            "value": (row.to_value, dumps(snapshot.configuration.value)),
            "status": (dumps(row.status), dumps(snapshot.status)),
            "changed": (dumps(bool(row.changed)), dumps(step.changed)),
            "internals": (row.internals, write_internals(definition, snapshot)),
            "effects": (row.effects, self._asked(row, definition, step)),
        }
        same = (
            row.context is row.context_patch is None
            and before is not None
            and before.snapshot is not None
            and snapshot.context is before.snapshot.context
        )
        if not same and context is not None:
            stored = dumps(context) if row.context is None else row.context
            computed["context"] = (stored, dumps(snapshot.context))
        for name, (stored_text, computed_text) in computed.items():
            found = differences(stored_text, computed_text)
            if found:
                self._problem(row, "result", f"holds another {name} than the engine computes", found)
        return len(self.problems) > known

    def _asked(self, row: JournalRow, definition: Definition, step: Macrostep) -> str | None:
        """What the step asks for as the journal keeps it; compares the outbox with it. Raises Unstorable."""
        if not step.effects:
            return None
        instance = Instance(
            self._key,
            row.uid,
            definition,
            row.machine_version,
            row.to_version,
            step.snapshot,
            row.to_value,
            "",
            "",
            NO_LABELS,
            "",
            row.at_ms,
            row.at_ms,
            row.seq,
            row.snapshot_seq,
            (),
        )
        asked = asked_by(step, instance, row.at_ms, row.traceparent)
        for effect in asked.outbox:
            stored = self._unfinished.get(effect.effect_id)
            if stored is None:
                continue
            self.asked.add(effect.effect_id)
            wrong = [name for name in _ASKED_FIELDS if getattr(stored, name) != getattr(effect, name)]
            for name in wrong:
                found = differences(dumps(getattr(stored, name)), dumps(getattr(effect, name)))
                self._problem(row, "effects", f"asked for another {name} of {effect.effect_id!r}", found)
        return asked.text

    def _timer(self, row: JournalRow, before: Snapshot) -> None:
        """Check that a timer fired neither early nor out of turn."""
        fired = fired_timer(before, row)
        if row.at_ms < fired.due_at_ms:
            self._problem(
                row, "result", f"fired timer {fired.key!r} {fired.due_at_ms - row.at_ms} ms before it was due"
            )
        for timer in before.timers:
            if (timer.due_at_ms, timer.sequence) < (fired.due_at_ms, fired.sequence):
                self._problem(row, "result", f"fired timer {fired.key!r} before {timer.key!r}, due earlier")

    # --- refused rows ---------------------------------------------------------------------------------------

    def _refused(self, row: JournalRow) -> None:
        if not row.reason:
            self._problem(row, "refusal", "is refused and says no reason")
        if not (row.context is row.context_patch is row.internals is row.effects is None):
            self._problem(row, "refusal", "is refused and holds a result")
        life = self.life
        if row.cause == "create" or life is None:
            if (row.from_version, row.to_version) != (0, 0) and self._begun:
                self._problem(row, "position", "refuses a creation and names a version")
            return
        self._position(row, life.row.to_version)
        if row.cause == "event":
            self._judged_again(row, life)

    def _judged_again(self, row: JournalRow, life: Life) -> None:
        """Check the reasons that follow from the row and the state; limits and schemas are not looked at."""
        if row.reason == "VERSION_CONFLICT" and row.expected_version == life.row.to_version:
            self._problem(row, "refusal", "conflicts with the version it expected")
        if row.reason == "INSTANCE_FINISHED" and life.row.status == "active":
            self._problem(row, "refusal", "says that the instance has finished; it is active")
        if row.reason not in ("EVENT_NOT_ALLOWED", "GUARD_REJECTED") or life.snapshot is None:
            return
        definition = self._lookup(row.machine_id, row.machine_version)
        if isinstance(definition, str) or row.engine_version != self._engine_version:
            return
        try:
            step = macrostep(definition.machine, life.snapshot, event_of(row), now_ms=row.at_ms)
        except (EngineError, NotRepeatable) as error:
            self._problem(row, "refusal", f"says {row.reason}; the engine says: {error}")
            return
        if step.accepted and step.snapshot.status != "error":
            self._problem(row, "refusal", f"refuses {row.event_type!r}, which the engine accepts")
