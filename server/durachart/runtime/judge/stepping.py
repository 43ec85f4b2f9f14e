"""From what the engine says to what is stored: the next instance, its journal row, its effects.

A journal row of an accepted step holds its result: the state value and the engine's internals whole, the
context as a patch on the one before. A whole context is written instead when it is small (then a patch costs
more than it saves), at least every ``snapshot_every`` versions, and whenever a patch would not be much
shorter: so the state at any version is read from a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from durachart import __version__
from durachart.definitions.definition import Definition
from durachart.engine.macrostep import Macrostep
from durachart.engine.snapshot import Snapshot
from durachart.runtime.errors import DurachartError
from durachart.runtime.instance import Instance, Seat, Unstorable, dumps, write_internals, write_value
from durachart.runtime.judge.asked import NOTHING_ASKED, asked_by, cancelled_by
from durachart.runtime.judge.refusals import details_of
from durachart.runtime.present import running_effects_json
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import Cause, JournalEffect
from durachart.store.chain import row_after, sealed
from durachart.store.interface import Head
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectEnd, EffectRow, JournalRow

_ROWS_BETWEEN_SNAPSHOTS: Final = 1_000
"""Refused rows count as well: a reader passes over them."""


_new = tuple.__new__
"""The cheaper way to make a named tuple of many fields, where every event makes one."""


class Attempt(NamedTuple):
    """One attempt to change an instance, as the journal records it.

    Attributes:
        key: Which instance.
        cause: What kind of thing asked.
        now_ms: The recorded instant.
        actor: Who asked.
        event_type: Empty for a creation and for the silent end of an effect.
        data: The event's own keys or the creation's input, as text.
        data_hash: Hex SHA-256 of what was sent, when ``data`` does not hold it.
        details: JSON; None: nothing to add.
        expected_version: None: none was expected.
        request_id: Empty: none.
        traceparent: Empty: not traced.
    """

    key: InstanceKey
    cause: Cause
    now_ms: int
    actor: str
    event_type: str = ""
    data: str = ""
    data_hash: str = ""
    details: str | None = None
    expected_version: int | None = None
    request_id: str = ""
    traceparent: str = ""


class Recorded(NamedTuple):
    """A new journal row.

    Attributes:
        row: The row.
        after: The instance it made; None when it is a refusal.
        effects: What it asked for, as callers are shown it.
    """

    row: JournalRow
    after: Instance | None
    effects: tuple[JournalEffect, ...]


class Verdict(NamedTuple):
    """What becomes of a command.

    Attributes:
        seat: The instance after it, and the end of its journal.
        recorded: New journal rows, in order; the last one holds the answer.
        error: Why it was not done; None when it was.
        outbox: New effects that workers run.
        ends: Effects that end.
        late: An effect that had been cancelled when its end was reported.
        done: False when there was nothing to do: a timer that is not pending, an effect that does not run.
        effect_id: Which effect a stop ended.
        deleted: The instance as it was, when it was deleted; the seat is empty then.
        purge: Whether what a deleted instance left behind goes with it.
        revived: An effect that was discarded, as it is given back.
    """

    seat: Seat
    recorded: tuple[Recorded, ...] = ()
    error: DurachartError | None = None
    outbox: tuple[EffectRow, ...] = ()
    ends: tuple[EffectEnd, ...] = ()
    late: EffectEnd | None = None
    done: bool = True
    effect_id: str = ""
    deleted: Instance | None = None
    purge: bool = False
    revived: EffectRow | None = None


class Birth(NamedTuple):
    """What an instance has from its creation on."""

    uid: str
    machine_version: int
    labels: Mapping[str, str]
    labels_json: str


class TooLarge(Unstorable):
    """The context would exceed the limit."""


class Stepping:
    """Makes instances and rows; holds nothing but settings."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings

    def refuse(self, seat: Seat, attempt: Attempt, refusal: DurachartError) -> Verdict:
        """Journal that nothing was done, and why."""
        instance, head = seat
        creation = attempt.cause == "create"
        known = instance is not None and not creation
        value = instance.value_json if known and instance is not None else ""
        version = instance.version if known and instance is not None else 0
        row = sealed(
            JournalRow(
                shard(attempt.key),
                *attempt.key,
                head.seq + 1,
                instance.uid if known and instance is not None else "",
                attempt.cause,
                attempt.event_type,
                attempt.data,
                attempt.data_hash,
                attempt.actor,
                attempt.now_ms,
                "refused",
                refusal.reason,
                refusal.message,
                details_of(refusal),
                version,
                version,
                value,
                value,
                instance.snapshot.status if instance is not None else "",
                False,
                None,
                instance.machine_version if instance is not None else 0,
                __version__,
                attempt.expected_version,
                attempt.request_id,
                attempt.traceparent,
                None,
                None,
                None,
                instance.snapshot_seq if instance is not None else 0,
                None,
                None,
                head.hash,
                b"",
            )
        )
        seat = Seat(instance, Head(row.seq, row.hash, attempt.now_ms))
        return Verdict(seat, (Recorded(row, None, ()),), refusal)

    def start(
        self, head: Head, attempt: Attempt, definition: Definition, birth: Birth, step: Macrostep
    ) -> Verdict:
        """Version 0. Raises Unstorable."""
        snapshot = step.snapshot
        seq = head.seq + 1
        context_json = self._context_json(snapshot.context)
        instance = Instance(
            attempt.key,
            birth.uid,
            definition,
            birth.machine_version,
            0,
            snapshot,
            write_value(definition, snapshot.configuration),
            context_json,
            write_internals(definition, snapshot),
            birth.labels,
            birth.labels_json,
            attempt.now_ms,
            attempt.now_ms,
            seq,
            seq,
            (),
        )
        return self._accept(head, attempt, None, instance, step, (), (context_json, None))

    def advance(
        self,
        head: Head,
        attempt: Attempt,
        before: Instance,
        step: Macrostep,
        end: EffectEnd | None = None,
    ) -> Verdict:
        """The next version. Raises Unstorable.

        Args:
            head: End of the journal.
            attempt: What was asked.
            before: The instance it was asked of.
            step: What the engine made of it.
            end: Of the effect that asked; it runs no more.
        """
        snapshot = step.snapshot
        old = before.snapshot
        same_context = snapshot.context is old.context
        context_json = before.context_json
        changes: dict[str, Any] = {}
        if not same_context:
            changes = changes_between(old.context, snapshot.context)
            context_json = self._context_json(snapshot.context, changes)
        version = before.version + 1
        seq = head.seq + 1
        context, patch = self._result(before, snapshot, context_json, changes, seq)
        effects = before.effects
        ends: tuple[EffectEnd, ...] = ()
        if effects:
            if end is not None:
                effects = tuple(effect for effect in effects if effect.effect_id != end.effect_id)
                ends = (end,)
            cancelled = cancelled_by(step, effects, snapshot.status, attempt.now_ms)
            if cancelled:
                gone = {cancellation.effect_id for cancellation in cancelled}
                effects = tuple(effect for effect in effects if effect.effect_id not in gone)
                ends += cancelled
        instance = _new(
            Instance,
            (
                before.key,
                before.uid,
                before.definition,
                before.machine_version,
                version,
                snapshot,
                before.value_json
                if snapshot.configuration is old.configuration
                else write_value(before.definition, snapshot.configuration),
                context_json,
                before.internals_json
                if _same_internals(snapshot, old)
                else write_internals(before.definition, snapshot),
                before.labels,
                before.labels_json,
                before.created_at_ms,
                attempt.now_ms,
                seq,
                seq if context is not None else before.snapshot_seq,
                effects,
            ),
        )
        return self._accept(head, attempt, before, instance, step, ends, (context, patch))

    def _accept(
        self,
        head: Head,
        attempt: Attempt,
        before: Instance | None,
        after: Instance,
        step: Macrostep,
        ends: tuple[EffectEnd, ...],
        result: tuple[str | None, str | None],
    ) -> Verdict:
        asked = NOTHING_ASKED
        if step.effects:
            asked = asked_by(step, after, attempt.now_ms, attempt.traceparent)
            begun = tuple(effect for effect in asked.outbox if effect.finalized_at_ms is None)
            if begun:
                after = after._replace(effects=(*after.effects, *begun))
        context, patch = result
        row = row_after(
            head.hash,
            (
                shard(attempt.key),
                *attempt.key,
                after.seq,
                after.uid,
                attempt.cause,
                attempt.event_type,
                attempt.data,
                attempt.data_hash,
                attempt.actor,
                attempt.now_ms,
                "accepted",
                "",
                "",
                attempt.details,
                before.version if before is not None else 0,
                after.version,
                before.value_json if before is not None else "",
                after.value_json,
                after.snapshot.status,
                step.changed,
                asked.text,
                after.machine_version,
                __version__,
                attempt.expected_version,
                attempt.request_id,
                attempt.traceparent,
                context,
                patch,
                after.internals_json,
                after.snapshot_seq,
                running_effects_json(after.effects) if after.effects else None,
                after.labels_json or None if before is None else None,
            ),
        )
        return Verdict(
            Seat(after, Head(row.seq, row.hash, attempt.now_ms)),
            (Recorded(row, after, asked.shown),),
            None,
            asked.outbox,
            ends,
        )

    def _context_json(self, context: Mapping[str, Any], new: Mapping[str, Any] | None = None) -> str:
        text = dumps(context, new)
        limit = self._settings.max_context_bytes
        # UTF-8 takes at most four bytes for a character.
        if len(text) * 4 > limit and len(text.encode()) > limit:
            raise TooLarge(f"the context would be larger than {limit} bytes")
        return text

    def _result(
        self, before: Instance, snapshot: Snapshot, context_json: str, changes: dict[str, Any], seq: int
    ) -> tuple[str | None, str | None]:
        """The context as the row keeps it: whole, or a patch, or neither when nothing in it is new."""
        settings = self._settings
        if (
            len(context_json) <= settings.whole_context_bytes
            or (before.version + 1) % settings.snapshot_every == 0
            or seq - before.snapshot_seq >= _ROWS_BETWEEN_SNAPSHOTS
        ):
            return context_json, None
        if snapshot.context is before.snapshot.context:
            return None, None
        gone = [key for key in before.snapshot.context if key not in snapshot.context]
        patch = dumps({"set": changes, "unset": gone} if gone else {"set": changes}, ())
        return (None, patch) if 2 * len(patch) < len(context_json) else (context_json, None)


def _same_internals(snapshot: Snapshot, old: Snapshot) -> bool:
    return (
        snapshot.configuration is old.configuration
        and snapshot.timers is old.timers
        and snapshot.history_value is old.history_value
        and snapshot.status == old.status
        and snapshot.output is old.output
        and snapshot.next_sequence == old.next_sequence
        and snapshot.error is old.error
    )


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``after`` that are new or have another value than in ``before``.

    Steps share what they do not touch, so identity tells what is new.
    """
    nothing = object()
    return {key: value for key, value in after.items() if before.get(key, nothing) is not value}


def patched(context: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The context that a patch, ``{"set": {key: value}, "unset": [key]}``, makes of ``context``.

    Keys come in the order the step left them in.
    """
    gone = patch.get("unset", ())
    kept = {key: value for key, value in context.items() if key not in gone} if gone else context
    return {**kept, **patch["set"]}
