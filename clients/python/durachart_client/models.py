"""What the service answers, as Python values: frozen dataclasses with parsed JSON and aware UTC datetimes.

The names follow ``proto/durachart/v1`` field for field, with three differences: JSON fields lose their
``_json`` and are parsed, instants end in ``_at``, and enumerations are lower-case words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

Json: TypeAlias = Any
"""Parsed JSON: None, bool, int, float, str, a list or a dict with string keys."""

View: TypeAlias = Literal["basic", "full"]
"""How much of a state is returned; ``basic`` leaves out context, allowed events, meta and output."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """Names one instance of a machine.

    Attributes:
        machine_id: The machine's id.
        instance_id: The caller's own key for the entity.
        namespace: Tenant or environment; ``""`` is the default namespace.
    """

    machine_id: str
    instance_id: str
    namespace: str = ""

    def __str__(self) -> str:
        path = f"{self.machine_id}/{self.instance_id}"
        return f"{self.namespace}:{path}" if self.namespace else path


@dataclass(frozen=True, slots=True)
class RunningEffect:
    """An effect of an instance that has not ended.

    Attributes:
        effect_id: Identity of the effect.
        type: The action type that asked for it.
        handler: What runs it, for example ``llm.generate``.
        attempt: Attempts begun so far; 0 means it waits for its first.
        executing: Whether an attempt is being made now.
        created_at: When it was asked for.
    """

    effect_id: str
    type: str
    handler: str
    attempt: int
    executing: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class InstanceState:
    """One stored snapshot of an instance.

    Attributes:
        instance: Which instance.
        uid: Identity of this incarnation; an instance deleted and created again has another.
        version: Accepted macrosteps since creation, which is version 0.
        machine_version: Version of the definition the instance is pinned to, from 1.
        value: State value: a string, or a dict for nested and parallel states.
        context: The machine's data; None in view ``basic``.
        allowed_events: Sorted event types that may be accepted now; empty in view ``basic`` and when done.
        tags: Sorted tags of all active states.
        meta: ``{state id: meta}`` of active states; empty in view ``basic``.
        labels: Labels given at creation.
        status: ``active`` or ``done``.
        output: The machine's output; None when it has none, is not done, or in view ``basic``.
        running_effects: Effects that have not ended, in the order in which they were asked for.
        created_at: When the instance was created.
        updated_at: When ``version`` was committed.
        evaluated_at: The instant against which ``allowed_events`` was evaluated; None in view ``basic``.
    """

    instance: InstanceRef
    uid: str
    version: int
    machine_version: int
    value: Json
    context: dict[str, Json] | None
    allowed_events: tuple[str, ...]
    tags: tuple[str, ...]
    meta: Mapping[str, Json]
    labels: Mapping[str, str]
    status: Literal["active", "done"]
    output: Json
    running_effects: tuple[RunningEffect, ...]
    created_at: datetime
    updated_at: datetime
    evaluated_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether the machine reached its top-level final state."""
        return self.status == "done"

    def can(self, event_type: str) -> bool:
        """Whether some payload of this type may be accepted; always False for a state in view ``basic``."""
        return event_type in self.allowed_events


@dataclass(frozen=True, slots=True)
class JournalEffect:
    """An effect or emitted event as a macrostep asked for it.

    Attributes:
        effect_id: Identity; ``""`` for actions that no worker runs and for emitted events.
        type: The action type, or the type of the emitted event.
        params: Parameters, or the emitted event; None when there are none.
        emitted: Whether this is an emitted event.
    """

    effect_id: str
    type: str
    params: Json
    emitted: bool


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The record of one attempt, accepted or refused.

    Attributes:
        instance: Which instance.
        uid: Incarnation; ``""`` for a refused creation.
        seq: Position in the instance's journal, from 1, without gaps.
        revision: Position in the store-wide order; increasing, not consecutive.
        cause: What kind of thing asked; ``unknown`` when a newer server names one this client does not know.
        event_type: ``""`` for a creation and for a deletion.
        data: The event's own keys, or the creation's input; None when there were none or they were too
            large to keep.
        actor: Who asked; ``system`` for timers and effects.
        created_at: The recorded instant of the attempt.
        outcome: How it ended.
        reason: Stable reason of a refusal; ``""`` when accepted.
        message: A sentence for a person; ``""`` when accepted.
        from_version: Version before.
        to_version: Version after; equal to ``from_version`` when refused, and for a creation.
        from_value: State value before; None for a creation.
        to_value: State value after; None for a refused creation and for a deletion.
        effects: What the macrostep asked for, in execution order.
        machine_version: Version of the definition that judged.
        expected_version: What the caller expected; None when nothing.
        request_id: The caller's idempotency key; ``""`` when there was none.
        traceparent: W3C trace context; ``""`` when not traced.
        hash: Hex SHA-256 over this entry and the hash before it.
    """

    instance: InstanceRef
    uid: str
    seq: int
    revision: int
    cause: Literal["create", "event", "timer", "effect", "delete", "unknown"]
    event_type: str
    data: Json
    actor: str
    created_at: datetime
    outcome: Literal["accepted", "refused"]
    reason: str
    message: str
    from_version: int
    to_version: int
    from_value: Json
    to_value: Json
    effects: tuple[JournalEffect, ...]
    machine_version: int
    expected_version: int | None
    request_id: str
    traceparent: str
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a definition.

    Attributes:
        code: Stable code for programs.
        path: JSON pointer into the document; ``""`` is the whole document.
        message: What is wrong.
        hint: What to do; ``""`` when there is nothing to suggest.
        severity: ``error`` refuses the definition.
        line: Line inside the expression at ``path``, from 1; 0 when it does not apply.
        column: Column inside that line, from 1; 0 when it does not apply.
    """

    code: str
    path: str
    message: str
    hint: str
    severity: Literal["error", "warning"]
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """One immutable version of a definition.

    Attributes:
        machine_id: The machine's id.
        version: From 1, consecutive per machine.
        content_hash: Hex SHA-256 of the canonical definition.
        definition: The document; None in lists and after publishing.
        created_at: When it was published.
        description: Of the root state; ``""`` when there is none.
        event_types: Sorted external event types the definition names.
    """

    machine_id: str
    version: int
    content_hash: str
    definition: Json
    created_at: datetime
    description: str
    event_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Created:
    """Answer of ``create``; ``replayed``: an earlier call with this request id had made the instance."""

    state: InstanceState
    replayed: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """Answer of ``send``.

    Attributes:
        state: The state after the event.
        changed: Whether value, context or status differ from before.
        replayed: Whether this is the recorded answer to an earlier call with this request id.
        effects: What the event asked for, in execution order.
    """

    state: InstanceState
    changed: bool
    replayed: bool
    effects: tuple[JournalEffect, ...]


@dataclass(frozen=True, slots=True)
class EventToSend:
    """One event of ``send_many`` or ``stream``; the fields are the arguments of ``send``.

    Attributes:
        machine_id: The machine.
        instance_id: The instance.
        event_type: What happened.
        data: The event's own keys; None is none.
        expected_version: The version last seen; None takes whatever is current.
        create_if_missing: Create the instance in the same transaction if there is none.
        input: The machine's input in that case.
        request_id: Idempotency key; None makes one, ``""`` sends none.
        view: How much of the state to return; None is the server's default, ``full``.
        namespace: None takes the client's.
    """

    machine_id: str
    instance_id: str
    event_type: str
    data: Mapping[str, Json] | None = None
    expected_version: int | None = None
    create_if_missing: bool = False
    input: Json = None
    request_id: str | None = None
    view: View | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """Answer of ``delete``; the last state, in view ``basic``."""

    state: InstanceState
    replayed: bool


@dataclass(frozen=True, slots=True)
class PreviewTransition:
    """One transition that an event could select.

    Attributes:
        source_state_id: Id of the state whose transition it is.
        event_descriptor: What it is written under, which may hold a wildcard.
        target_state_ids: Ids of its targets, in document order; empty: it stays.
        guard: Name or text of its guard; ``""`` when it has none.
        passed: Whether the guard held; None: it was not asked, because another transition was selected.
    """

    source_state_id: str
    event_descriptor: str
    target_state_ids: tuple[str, ...]
    guard: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Preview:
    """Answer of ``preview``.

    Attributes:
        accepted: Whether the event would be accepted.
        state: The state it would lead to; when refused, the state as it is.
        changed: Whether value, context or status would differ.
        effects: What it would ask for, in execution order, without ids.
        reason: Stable reason of the refusal; ``""`` when accepted.
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


@dataclass(frozen=True, slots=True)
class Published:
    """Answer of ``publish``; ``created`` is False when this content was published before."""

    machine: Machine
    created: bool
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """Answer of ``validate``: whether ``publish`` would accept, and every finding in document order."""

    valid: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Answer of ``stop_generation``.

    Attributes:
        state: The state after the call.
        stopped: Whether this call ended a generation.
        effect_id: Which; ``""`` when none was running.
    """

    state: InstanceState
    stopped: bool
    effect_id: str


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing; ``next_page_token`` is ``""`` on the last."""

    items: Sequence[Item]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A watched instance as of the start of the watch."""

    resume_token: str
    state: InstanceState


@dataclass(frozen=True, slots=True)
class Transition:
    """An accepted macrostep, or a creation, of a watched instance.

    Attributes:
        resume_token: Resuming with it goes on strictly after this transition.
        state: The state after it; versions of one instance are consecutive.
        entry: Its journal entry, without ``data`` in view ``basic``.
        changed: Whether value, context or status differ from before.
        matches: Whether the state is still one that is watched. False: the instance has just left what was
            asked for; it is heard of again when it comes back. Always True for named instances.
    """

    resume_token: str
    state: InstanceState
    entry: JournalEntry
    changed: bool
    matches: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """Transitions of a watched instance were skipped; this is its latest state.

    Attributes:
        resume_token: Resuming with it goes on strictly after this state.
        state: The latest state.
        previous_version: Version of the event before of this instance on this watch; what lies between was
            skipped. None: there was none.
        matches: As of :class:`Transition`.
    """

    resume_token: str
    state: InstanceState
    previous_version: int | None
    matches: bool = True


@dataclass(frozen=True, slots=True)
class InstanceDeleted:
    """A watched instance was deleted; one created later under its name has another uid.

    Attributes:
        resume_token: Resuming with it goes on strictly after this event.
        instance: Which instance.
        uid: Which incarnation.
        entry: The journal entry of the deletion.
    """

    resume_token: str
    instance: InstanceRef
    uid: str
    entry: JournalEntry


@dataclass(frozen=True, slots=True)
class Synced:
    """All snapshots, or after a resume everything missed, have been delivered; what follows is live."""

    resume_token: str


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the provider counted them: of the request and of the answer."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An attempt at a generation began; text of an earlier attempt is void.

    Attributes:
        effect_id: Which generation.
        attempt: From 1.
        model: Model asked for; ``""`` when the provider chooses.
    """

    effect_id: str
    attempt: int
    model: str


@dataclass(frozen=True, slots=True)
class Text:
    """More text of a generation.

    Attributes:
        effect_id: Which generation.
        attempt: Which attempt, from 1.
        offset: Where ``text`` begins in the attempt's text, in Unicode code points.
        text: The text; may hold many tokens.
    """

    effect_id: str
    attempt: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class GenerationEnd:
    """The end of a generation.

    Attributes:
        effect_id: Which generation.
        attempt: Its last attempt; 0 when none began.
        outcome: How it ended; only a ``completed`` text is stored. ``unknown``: a newer server's word.
        finish_reason: The provider's word, for example ``stop``; ``""`` unless completed.
        model: Model that answered; ``""`` when unknown.
        usage: None when unknown, as after a stop.
        error_message: Why it failed; ``""`` unless failed.
        error_reason: Stable reason of the failure; ``""`` unless failed.
    """

    effect_id: str
    attempt: int
    outcome: Literal["completed", "stopped", "failed", "cancelled", "unknown"]
    finish_reason: str = ""
    model: str = ""
    usage: TokenUsage | None = None
    error_message: str = ""
    error_reason: str = ""


TokenEvent: TypeAlias = AttemptStarted | Text | GenerationEnd


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text of a watched instance's generation; only on a watch that asked for it.

    Attributes:
        resume_token: As of the event before; text is not covered by it. A watch that is begun anew with it
            tells the text of running generations from the beginning.
        instance: Whose generation.
        events: At least one, in order, each once.
    """

    resume_token: str
    instance: InstanceRef
    events: tuple[TokenEvent, ...]


WatchEvent: TypeAlias = Snapshot | Transition | Gap | InstanceDeleted | Synced | Tokens


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before the next attempt: full jitter below an exponentially growing bound.

    Attributes:
        initial_ms: Bound of the first wait, in milliseconds.
        maximum_ms: Bound that the growth stops at, in milliseconds.
        multiplier: Growth from one bound to the next.
        max_attempts: Attempts of one call, the first included; None leaves the call's timeout as the only
            bound. Streams do not count attempts once they were open.
    """

    initial_ms: int = 50
    maximum_ms: int = 5_000
    multiplier: float = 2.0
    max_attempts: int | None = None
