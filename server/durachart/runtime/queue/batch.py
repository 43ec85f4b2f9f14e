"""Commands that are judged one after the other and committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from operator import attrgetter
from typing import NamedTuple

import orjson

from durachart.runtime.commands import (
    Caller,
    Command,
    CreateInstance,
    DeleteInstance,
    FinishEffect,
    FireTimer,
    ReviveEffect,
    SendEvent,
    StopEffect,
)
from durachart.runtime.errors import EffectNotRetryable, InstanceExists, LeaseLost, RequestIdReused
from durachart.runtime.instance import Instance, Pinned, Seat
from durachart.runtime.judge.deletion import DELETED
from durachart.runtime.judge.effect_judge import FINAL_STATES
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.stepping import Recorded, Verdict
from durachart.runtime.log import Change, Deletion, Transition
from durachart.runtime.present import running_effects_json
from durachart.store.interface import (
    EffectKey,
    EffectRevival,
    InstanceDelete,
    InstanceUpdate,
    Loaded,
    RequestKey,
    Writes,
)
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectEnd, EffectRow, RequestRow, TimerRow, TombstoneRow


class Reply(NamedTuple):
    """What becomes of a command once its transaction is on disk.

    Attributes:
        verdict: What was decided.
        request: The answer is the one recorded here, and ``verdict`` says nothing; None: the answer is the
            verdict.
        repeated: Whether another command of the same transaction had the same request id, and this is its
            answer.
    """

    verdict: Verdict
    request: RequestRow | None = None
    repeated: bool = False


class Ticket:
    """A command that waits for its turn.

    Attributes:
        number: Its place among all that were offered.
    """

    __slots__ = (
        "body_hash",
        "caller",
        "command",
        "judged_ns",
        "key",
        "number",
        "queued_ns",
        "reply",
        "request_id",
        "size_bytes",
        "waiter",
    )

    def __init__(self, command: Command, caller: Caller, waiter: asyncio.Future[Reply]) -> None:
        """Queue ``command``; ``waiter`` gets the reply, or the error of a command that was not judged."""
        self.command = command
        self.caller = caller
        self.waiter = waiter
        self.number = 0
        self.key: InstanceKey = command.key
        self.request_id = _request_id(command)
        self.body_hash = b""
        self.reply: Reply | None = None
        self.size_bytes = _size_bytes(command)
        self.queued_ns = 0
        self.judged_ns = (0, 0)


def _request_id(command: Command) -> str:
    if isinstance(command, FireTimer | FinishEffect):
        return ""
    return command.request_id


def _size_bytes(command: Command) -> int:
    """About what the caller's data takes while the command waits."""
    if isinstance(command, SendEvent):
        return 512 + len(command.data_json) + len(command.input_json)
    if isinstance(command, CreateInstance):
        return 512 + len(command.input_json)
    return 512 + len(command.output_json) if isinstance(command, FinishEffect) else 512


_SENT = sorted({*SendEvent._fields} - {"view"})
_values_sent = attrgetter(*_SENT)


def body_hash(command: Command) -> bytes:
    """SHA-256 over everything that makes it this command and no other; the view does not."""
    if isinstance(command, SendEvent):
        # As below, in a third of the time.
        sent = dict(zip(_SENT, _values_sent(command), strict=True))
        sent["key"] = list(command.key)
        return sha256(orjson.dumps(["SendEvent", sent])).digest()
    fields = command._asdict()
    fields.pop("view", None)
    fields["key"] = list(command.key)
    if isinstance(command, CreateInstance):
        fields["labels"] = dict(command.labels)
    text = orjson.dumps([type(command).__name__, fields], option=orjson.OPT_SORT_KEYS)
    return sha256(text).digest()


class Batch:
    """One transaction in the making."""

    def __init__(self, judge: Judge) -> None:
        """Begin with nothing decided."""
        self._judge = judge
        self._wall_ms = 0
        self._ahead: Batch | None = None
        self._requests: dict[RequestKey, RequestRow] = {}
        self._effects: dict[EffectKey, EffectRow] = {}
        self._bases: dict[InstanceKey, Instance | None] = {}
        self._seats: dict[InstanceKey, Seat] = {}
        self._remembered: set[InstanceKey] = set()
        self._answered: dict[RequestKey, Ticket] = {}
        self._begun: dict[str, int] = {}
        self._revived: dict[str, int] = {}
        self._ended: dict[str, EffectEnd] = {}
        self._recorded: list[Recorded] = []
        self._writes = Writes()

    def learn(self, loaded: Loaded, wall_ms: int, ahead: Batch | None) -> None:
        """Know of requests and effects what was ``loaded``, and judge at ``wall_ms`` from here on.

        What the transaction ``ahead`` answers to request ids is known too: it may not be on disk yet.
        """
        self._wall_ms = wall_ms
        self._ahead = ahead
        self._requests.update(loaded.requests)
        self._effects.update(loaded.effects)

    def seat(self, key: InstanceKey) -> Seat | None:
        """The instance as this batch leaves it so far; None: `sit` it first."""
        return self._seats.get(key)

    def sit(self, key: InstanceKey, seat: Seat, *, remembered: bool) -> None:
        """Begin with the instance as it was committed; ``remembered``: as far as this process knows."""
        self._bases[key] = seat.instance
        self._seats[key] = seat
        if remembered:
            self._remembered.add(key)

    def decide(self, ticket: Ticket, pinned: Pinned | None) -> None:
        """Judge a command on its instance as the commands before it have left it.

        Args:
            ticket: The command; its instance has been seated. Gets its reply, to be given after the commit.
            pinned: What a new instance would be; only needed by a command that may create one.
        """
        key = ticket.key
        if ticket.request_id:
            ticket.body_hash = ticket.body_hash or body_hash(ticket.command)
            known = self._known(ticket)
            if known is not None:
                ticket.reply = known
                return
        seat = self._seats[key]
        verdict = self._verdict(seat, ticket, pinned)
        ticket.reply = Reply(verdict)
        if verdict.recorded or verdict.ends:
            self._take(key, verdict)
        if ticket.request_id:
            self._record_request(ticket, verdict)

    def _known(self, ticket: Ticket) -> Reply | None:
        """The reply to a request id that was used before; None: it was not.

        An id counts as used as long as its row is there: at least for the window, until retention comes by.
        """
        which = (ticket.key, ticket.request_id)
        first = self._answered.get(which)
        if first is None and self._ahead is not None:
            first = self._ahead._answered.get(which)
        if first is not None and first.reply is not None:
            if first.body_hash == ticket.body_hash:
                return first.reply._replace(repeated=True)
        elif (row := self._requests.get(which)) is not None:
            if row.body_hash == ticket.body_hash:
                return Reply(Verdict(self._seats[ticket.key]), request=row)
        else:
            return None
        reused = RequestIdReused(ticket.key, ticket.request_id)
        return Reply(Verdict(self._seats[ticket.key], error=reused))

    def _verdict(self, seat: Seat, ticket: Ticket, pinned: Pinned | None) -> Verdict:
        command = ticket.command
        caller = ticket.caller
        moment = Moment(self._wall_ms, caller.actor, caller.traceparent)
        if isinstance(command, SendEvent):
            return self._judge.event(seat, command, pinned, moment)
        if isinstance(command, CreateInstance):
            return self._judge.create(seat, command, pinned, moment)
        if isinstance(command, FireTimer):
            return self._judge.timers.fire(seat, command, moment)
        if isinstance(command, StopEffect):
            return self._judge.effects.stop(seat, command, moment)
        if isinstance(command, DeleteInstance):
            return self._judge.delete(seat, command, moment)
        if isinstance(command, ReviveEffect):
            return self._revive(seat, command, moment)
        return self._finish(seat, command, moment)

    def _take(self, key: InstanceKey, verdict: Verdict) -> None:
        writes = self._writes
        self._seats[key] = verdict.seat
        self._recorded.extend(verdict.recorded)
        writes.journal.extend([recorded.row for recorded in verdict.recorded])
        for effect in verdict.outbox:
            self._begun[effect.effect_id] = len(writes.effects)
            writes.effects.append(effect)
        for end in verdict.ends:
            self._end(end)
        if verdict.revived is not None:
            self._revived[verdict.revived.effect_id] = len(writes.revivals)
            writes.revivals.append(EffectRevival(verdict.revived))
        if verdict.late is not None:
            writes.late_ends.append(verdict.late)
        if verdict.deleted is not None:
            self._delete(verdict.deleted, verdict)
        if isinstance(verdict.error, InstanceExists) and verdict.seat.instance is not None:
            writes.occupied.append((key, verdict.seat.instance.uid))
        elif verdict.error is not None and verdict.seat.instance is None and verdict.recorded:
            # What was refused belongs to no instance: its rows go as those of one that was deleted.
            row = verdict.recorded[-1].row
            grave = TombstoneRow(row.shard, *key, f"#{row.seq}", row.seq, row.at_ms)
            writes.deletes.append(InstanceDelete(grave, None, purge=False))

    def _delete(self, instance: Instance, verdict: Verdict) -> None:
        """The place is empty from here on, and what is created there is another instance."""
        key = instance.key
        row = verdict.recorded[-1].row
        base = self._bases[key]
        self._writes.deletes.append(
            InstanceDelete(
                TombstoneRow(row.shard, *key, instance.uid, row.seq, row.at_ms),
                None if base is None else base.version,
                verdict.purge,
            )
        )
        if base is not None:
            place = (row.shard, *key)
            self._writes.timers_gone.extend(
                TimerRow(*place, timer.key, base.uid, timer.sequence, timer.due_at_ms)
                for timer in base.snapshot.timers
            )
            self._bases[key] = None

    def _end(self, end: EffectEnd) -> None:
        # What began, or was given back, in this very batch has its row written as it ended.
        if (begun := self._begun.get(end.effect_id)) is not None:
            self._writes.effects[begun] = _as_ended(self._writes.effects[begun], end)
        elif (revived := self._revived.get(end.effect_id)) is not None:
            row = _as_ended(self._writes.revivals[revived].row, end)
            self._writes.revivals[revived] = EffectRevival(row)
        else:
            self._ended[end.effect_id] = end
            self._writes.ends.append(end)

    def _finish(self, seat: Seat, command: FinishEffect, moment: Moment) -> Verdict:
        """Have an end judged, unless the effect has ended in this very batch."""
        end = self._ended.get(command.effect_id)
        if end is None:
            stored = self._effects.get((command.key, command.effect_id))
            return self._judge.effects.finish(seat, command, stored, moment)
        if end.lease_token == command.lease_token and end.state == FINAL_STATES[command.outcome]:
            return Verdict(seat, done=False)
        return Verdict(seat, error=LeaseLost(command.key, command.effect_id))

    def _revive(self, seat: Seat, command: ReviveEffect, moment: Moment) -> Verdict:
        """Have a revival judged on the effect as this batch leaves it so far."""
        key, effect_id, _ = command
        if effect_id in self._ended:
            # One transaction changes an effect once. Whoever asks cannot know of the end yet.
            busy = f"effect {effect_id!r} ends at this very moment; ask again"
            return Verdict(seat, error=EffectNotRetryable(key, effect_id, busy))
        effect = self._effects.get((key, effect_id))
        if (begun := self._begun.get(effect_id)) is not None:
            effect = self._writes.effects[begun]
        elif (revived := self._revived.get(effect_id)) is not None:
            effect = self._writes.revivals[revived].row
        return self._judge.effects.revive(seat, command, effect, moment)

    def _record_request(self, ticket: Ticket, verdict: Verdict) -> None:
        """Remember the answer. What left no trace in the journal is asked anew when it is asked again."""
        answer = None
        if isinstance(ticket.command, StopEffect):
            instance = verdict.seat.instance
            if instance is None:
                return
            seq = instance.seq
            answer = orjson.dumps(
                [verdict.done, verdict.effect_id, running_effects_json(instance.effects)]
            ).decode()
        elif verdict.recorded:
            seq = verdict.recorded[-1].row.seq
            if verdict.revived is not None:
                given_back = verdict.revived
                answer = orjson.dumps(
                    [given_back.attempt, given_back.max_attempts, given_back.scheduled_at_ms]
                ).decode()
        else:
            return
        self._answered[ticket.key, ticket.request_id] = ticket
        self._writes.requests.append(
            RequestRow(
                shard(ticket.key),
                *ticket.key,
                ticket.request_id,
                ticket.body_hash,
                seq,
                answer,
                self._wall_ms,
            )
        )

    def writes(self) -> Writes:
        """What to commit, once every command is decided."""
        writes = self._writes
        for key, seat in self._seats.items():
            base = self._bases[key]
            instance = seat.instance
            if instance is None or instance is base:
                continue
            if base is None:
                writes.inserts.append(instance.row)
            elif instance.version != base.version:
                writes.updates.append(InstanceUpdate(instance.row, base.version))
            before = base.snapshot.timers if base is not None else ()
            if instance.snapshot.timers is not before:
                self._timers(base, instance)
        return writes

    def _timers(self, base: Instance | None, instance: Instance) -> None:
        pending = () if base is None else base.snapshot.timers
        before = {(timer.key, timer.sequence): timer for timer in pending}
        after = {(timer.key, timer.sequence): timer for timer in instance.snapshot.timers}
        place = (shard(instance.key), *instance.key)
        for which, timer in before.items():
            if which not in after:
                self._writes.timers_gone.append(
                    TimerRow(*place, timer.key, instance.uid, timer.sequence, timer.due_at_ms)
                )
        for which, timer in after.items():
            if which not in before:
                self._writes.timers.append(
                    TimerRow(*place, timer.key, instance.uid, timer.sequence, timer.due_at_ms)
                )

    def unproven(self) -> frozenset[InstanceKey]:
        """Instances that were remembered, and of which nothing is written that would prove them current."""
        return frozenset(self._remembered.difference(row.key for row in self._writes.journal))

    def moved(self) -> dict[InstanceKey, Seat]:
        """The seats this batch has looked at, as it leaves them."""
        return self._seats

    def changes(self, revisions: Sequence[int]) -> list[Change]:
        """The accepted rows, for watchers.

        Args:
            revisions: Of all rows of the batch; 0 for one that was not written.
        """
        made: list[Change] = []
        for revision, recorded in zip(revisions, self._recorded, strict=True):
            if not revision:
                continue
            if recorded.after is not None:
                made.append(Transition(revision, recorded.row, recorded.after, recorded.effects))
            elif recorded.row.status == DELETED:
                made.append(Deletion(revision, recorded.row))
        return made


def _as_ended(row: EffectRow, end: EffectEnd) -> EffectRow:
    return row._replace(
        state=end.state, finalized_at_ms=end.finalized_at_ms, output=end.output, error=end.error
    )
