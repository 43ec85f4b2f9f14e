"""What callers are shown.

Each value mirrors a message of ``proto/durachart/v1`` field for field: JSON as text, instants aware. They are
named tuples: making one costs a tenth of a frozen dataclass, and one answer makes several.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, Literal, NamedTuple, TypeVar

from durachart.definitions.findings import Finding
from durachart.runtime.generation.frames import TokenFrame
from durachart.store.keys import InstanceKey

InstanceStatus = Literal["active", "done"]
Cause = Literal["create", "event", "timer", "effect", "delete"]
Outcome = Literal["accepted", "refused"]

T = TypeVar("T")


class View(StrEnum):
    """How much of an instance is shown. BASIC leaves context, allowed events, meta and output out."""

    BASIC = "basic"
    FULL = "full"


class RunningEffect(NamedTuple):
    """An effect that was asked for and has not ended.

    Attributes:
        effect_id: Unique within the server's lifetime.
        type: The action type that asked for it.
        handler: Who runs it, for example ``llm.generate``.
        attempt: Attempts begun so far; 0 while it waits for its first.
        executing: Whether an attempt is being made now.
        created_at: When it was asked for.
    """

    effect_id: str
    type: str
    handler: str
    attempt: int
    executing: bool
    created_at: datetime


class InstanceState(NamedTuple):
    """One stored snapshot of an instance, as of ``version``.

    Attributes:
        key: Which instance.
        uid: This incarnation, 32 characters.
        version: Accepted macrosteps since creation, which is 0.
        machine_version: The definition it is pinned to, from 1.
        value_json: The state value as XState writes it.
        context_json: A JSON object; empty in BASIC.
        allowed_events: Sorted; evaluated at ``evaluated_at``; empty in BASIC and when done.
        tags: Sorted.
        meta_json: ``{state id: meta}``; empty when there is none, and in BASIC.
        labels: As given at creation.
        status: Where it stands in its life.
        output_json: Empty when there is none, and in BASIC.
        running_effects: In the order in which they were asked for.
        created_at: When version 0 was made.
        updated_at: When ``version`` was made.
        evaluated_at: The ``now`` of the guards behind ``allowed_events``; None in BASIC.
    """

    key: InstanceKey
    uid: str
    version: int
    machine_version: int
    value_json: str
    context_json: str
    allowed_events: tuple[str, ...]
    tags: tuple[str, ...]
    meta_json: str
    labels: Mapping[str, str]
    status: InstanceStatus
    output_json: str
    running_effects: tuple[RunningEffect, ...]
    created_at: datetime
    updated_at: datetime
    evaluated_at: datetime | None


class JournalEffect(NamedTuple):
    """One effect or emitted event as a macrostep asked for it.

    Attributes:
        effect_id: Empty for actions that no worker runs and for emitted events.
        type: The action type, or the emitted event's type.
        params_json: Parameters, or the emitted event; empty when there are none.
        emitted: Whether it is an emitted event.
    """

    effect_id: str
    type: str
    params_json: str
    emitted: bool


class JournalEntry(NamedTuple):
    """The record of one attempt, accepted or refused.

    Attributes:
        key: Which instance.
        uid: Incarnation; empty for the refused creation of an instance.
        seq: Position in the instance's journal, from 1, without gaps.
        revision: Position in the store-wide order; increasing, not consecutive.
        cause: What kind of thing asked.
        event_type: Empty for a creation, a deletion, and the end of an effect that sends no event.
        data_json: The event's own keys, or the creation's input; empty when there were none, or when only the
            hash was kept.
        actor: Who asked; ``system`` for timers and effects.
        created_at: The recorded ``now`` of the attempt.
        outcome: How it ended.
        reason: Stable reason of a refusal; empty when accepted.
        message: One sentence; empty when accepted.
        from_version: Version before; 0 for a creation.
        to_version: Version after; a deletion counts as one.
        from_value_json: State value before; empty for a creation.
        to_value_json: State value after; empty for a refused creation, and for a deletion.
        effects: In execution order.
        machine_version: The definition that judged; 0 when none did.
        expected_version: What the caller expected; None when nothing.
        request_id: Empty when there was none.
        traceparent: Empty when it was not traced.
        hash: Hex SHA-256 over this entry and the hash of the one before it.
    """

    key: InstanceKey
    uid: str
    seq: int
    revision: int
    cause: Cause
    event_type: str
    data_json: str
    actor: str
    created_at: datetime
    outcome: Outcome
    reason: str
    message: str
    from_version: int
    to_version: int
    from_value_json: str
    to_value_json: str
    effects: tuple[JournalEffect, ...]
    machine_version: int
    expected_version: int | None
    request_id: str
    traceparent: str
    hash: str


class MachineRecord(NamedTuple):
    """One immutable version of a definition.

    Attributes:
        machine_id: ``machine.id`` of the definition.
        version: From 1, consecutive per machine.
        content_hash: Hex SHA-256 of the canonical definition.
        definition_json: The document; empty in lists and in the answer to a publication.
        created_at: When it was published.
        description: Of the root state; empty when there is none.
        event_types: Sorted external event types.
    """

    machine_id: str
    version: int
    content_hash: str
    definition_json: str
    created_at: datetime
    description: str
    event_types: tuple[str, ...]


class Page(NamedTuple, Generic[T]):
    """One page of a list.

    Attributes:
        items: In the list's order.
        next_page_token: Empty: this was the last page.
    """

    items: tuple[T, ...]
    next_page_token: str


class Published(NamedTuple):
    """Answer to a publication.

    Attributes:
        machine: Without its document.
        created: False when this content was published before.
        warnings: What is probably a mistake.
    """

    machine: MachineRecord
    created: bool
    warnings: tuple[Finding, ...]


class Created(NamedTuple):
    """Answer to a creation.

    Attributes:
        state: At version 0.
        replayed: Whether this is the recorded answer to an earlier call with the same request id.
    """

    state: InstanceState
    replayed: bool


class Accepted(NamedTuple):
    """Answer to an accepted event.

    Attributes:
        state: After the event.
        changed: Whether value, context or status differ from before.
        replayed: Whether this is the recorded answer to an earlier call with the same request id.
        effects: What it asked for, in execution order.
    """

    state: InstanceState
    changed: bool
    replayed: bool
    effects: tuple[JournalEffect, ...]


class Deleted(NamedTuple):
    """Answer to a deletion.

    Attributes:
        state: The last one, in view BASIC.
        replayed: Whether this is the recorded answer to an earlier call with the same request id.
    """

    state: InstanceState
    replayed: bool


class PreviewTransition(NamedTuple):
    """One transition that an event could select.

    Attributes:
        source: Id of the state that declares it.
        event_type: The descriptor it is declared under.
        targets: Ids of its targets, in document order; empty: it stays.
        guard: Name or text of its guard; empty: it has none.
        passed: What the guard said, False when it failed; None: it was not asked, because another transition
            was selected before.
    """

    source: str
    event_type: str
    targets: tuple[str, ...]
    guard: str
    passed: bool | None


class Preview(NamedTuple):
    """What an event would do.

    Attributes:
        accepted: Whether it would be accepted.
        state: What it would lead to; when it would be refused, the state as it is.
        changed: Whether value, context or status would differ.
        effects: What it would ask for, in execution order, without ids.
        reason: Why it would be refused; empty when accepted.
        message: The same as a sentence.
        transitions: Every one that could be selected, in the order of evaluation.
    """

    accepted: bool
    state: InstanceState
    changed: bool
    effects: tuple[JournalEffect, ...]
    reason: str
    message: str
    transitions: tuple[PreviewTransition, ...]


class Stopped(NamedTuple):
    """Answer to a stop.

    Attributes:
        state: After the call.
        stopped: Whether this call, or the recorded one of the same request id, ended an effect.
        effect_id: Which; empty when none was running.
    """

    state: InstanceState
    stopped: bool
    effect_id: str


class WatchFilter(NamedTuple):
    """Matches instances of one machine.

    Attributes:
        namespace: Exactly this one.
        machine_id: The machine.
        state_ids: At least one active state has one of these ids; empty: any.
        tags: The instance has all of these; empty: any.
        labels: The instance has all of these; empty: any.
        status: None: any.
    """

    namespace: str
    machine_id: str
    state_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = MappingProxyType({})
    status: InstanceStatus | None = None


class WatchSpec(NamedTuple):
    """What to watch: ``instances`` or ``filter``, not both.

    Attributes:
        instances: 1 to 1,000; one that does not exist yet is watched for its creation.
        filter: Instead of ``instances``.
        resume_token: Go on strictly after it, without snapshots; empty starts with snapshots.
        view: How much state the frames carry.
        progress_interval: None is the server's default; clamped to 1 s to 60 s.
        end_on_final: End once every watched instance has finished or was deleted; only with ``instances``.
        conflate: Skip to the latest state of each instance when the reader cannot keep up.
        include_tokens: Send the text of generations of what is watched as well.
    """

    instances: tuple[InstanceKey, ...] = ()
    filter: WatchFilter | None = None
    resume_token: str = ""
    view: View = View.FULL
    progress_interval: timedelta | None = None
    end_on_final: bool = False
    conflate: bool = False
    include_tokens: bool = False


class WatchSnapshot(NamedTuple):
    """State of an instance as of the start of the watch."""

    resume_token: str
    state: InstanceState


class WatchTransition(NamedTuple):
    """An accepted macrostep, or a creation.

    Attributes:
        resume_token: Goes on strictly after this frame.
        state: After it. Per instance, versions are consecutive.
        entry: Its journal entry; without ``data_json`` in BASIC.
        changed: Whether value, context or status differ from before.
        matches: Whether the state matches the filter; if not, the instance has just left what is watched.
    """

    resume_token: str
    state: InstanceState
    entry: JournalEntry
    changed: bool
    matches: bool = True


class WatchGap(NamedTuple):
    """Transitions of an instance were skipped.

    Attributes:
        resume_token: Where to go on. Several gaps may stand for one stretch of the log: until the last of
            them has come, their token is from before it.
        state: The latest state.
        previous_version: After which version the reader goes on; -1: it does not know the instance.
        matches: Whether the state matches the filter.
    """

    resume_token: str
    state: InstanceState
    previous_version: int
    matches: bool = True


class WatchTokens(NamedTuple):
    """Text of a generation of a watched instance.

    Attributes:
        resume_token: Of the frame before; text is not resumed, it begins anew.
        key: Whose generation.
        frames: In order, at least one.
    """

    resume_token: str
    key: InstanceKey
    frames: tuple[TokenFrame, ...]


class WatchDeleted(NamedTuple):
    """An instance was deleted; one created later under its name begins anew, with another uid.

    Attributes:
        resume_token: Goes on strictly after this frame.
        key: Which instance.
        uid: Which incarnation.
        entry: The journal entry of the deletion.
    """

    resume_token: str
    key: InstanceKey
    uid: str
    entry: JournalEntry


class WatchSynced(NamedTuple):
    """All snapshots, or everything missed, has been sent; what follows is live."""

    resume_token: str


class WatchProgress(NamedTuple):
    """The stream is alive, and everything up to this token was sent."""

    resume_token: str
    server_time: datetime


class WatchClosing(NamedTuple):
    """The stream is about to be ended by the server.

    Attributes:
        resume_token: Where to go on.
        message: Why, in one sentence.
        reconnect_delay: How long to wait before reconnecting; None: not at all.
    """

    resume_token: str
    message: str
    reconnect_delay: timedelta | None


WatchFrame = (
    WatchSnapshot
    | WatchTransition
    | WatchDeleted
    | WatchGap
    | WatchTokens
    | WatchSynced
    | WatchProgress
    | WatchClosing
)


class DueTimer(NamedTuple):
    """A timer that came due: what a `FireTimer` needs.

    Attributes:
        key: Whose.
        uid: Its incarnation.
        timer_key: Which timer.
        sequence: Which arming of it.
        due_at_ms: When it was due, in ms since the epoch.
    """

    key: InstanceKey
    uid: str
    timer_key: str
    sequence: int
    due_at_ms: int
