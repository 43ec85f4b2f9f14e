"""What may be asked of an instance. Each command is judged in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from durachart.runtime.views import View
from durachart.store.keys import InstanceKey

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
SYSTEM_ACTOR: Final = "system"


class Caller(NamedTuple):
    """Who asks, and for how long.

    Attributes:
        actor: Identity as the journal records it.
        traceparent: W3C trace context; empty when the call is not traced.
        deadline: When the caller stops waiting, on the event loop's clock in seconds; None when it waits for
            ever. A command that is still queued then is not executed.
    """

    actor: str
    traceparent: str = ""
    deadline: float | None = None


class CreateInstance(NamedTuple):
    """Start an instance at version 0, pinned to its machine's latest version.

    Attributes:
        key: Which instance to make.
        input_json: Any JSON value; empty means no input.
        request_id: Idempotency key within the instance; empty means none.
        labels: At most 32; keys and values of at most 128 characters.
        view: How much of the state to answer with.
    """

    key: InstanceKey
    input_json: str = ""
    request_id: str = ""
    labels: Mapping[str, str] = NO_LABELS
    view: View = View.FULL


class SendEvent(NamedTuple):
    """Run one macrostep.

    Attributes:
        key: Which instance.
        event_type: 1 to 256 characters, not beginning with ``xstate.``.
        data_json: A JSON object without a key ``type``; empty is ``{}``.
        expected_version: Another version found is a conflict; None: whatever version is current. 0 is a
            version.
        request_id: Idempotency key within the instance; empty means none.
        create_if_missing: Make the instance first, in the same transaction, when there is none.
        input_json: The machine's input when it is made; not looked at otherwise.
        view: How much of the state to answer with.
    """

    key: InstanceKey
    event_type: str
    data_json: str = ""
    expected_version: int | None = None
    request_id: str = ""
    create_if_missing: bool = False
    input_json: str = ""
    view: View = View.FULL


class DeleteInstance(NamedTuple):
    """End an instance: its timers and effects are cancelled, its row goes, its journal gets a last row.

    Attributes:
        key: Which instance.
        expected_version: Another version found is a conflict; None: whatever version is current.
        request_id: Idempotency key within the instance; empty means none.
        purge: Remove its journal, effects and request ids as well, but for what this command writes.
    """

    key: InstanceKey
    expected_version: int | None = None
    request_id: str = ""
    purge: bool = False


class FireTimer(NamedTuple):
    """Let a timer deliver its event.

    Nothing happens, and nothing is journaled, unless exactly this arming is pending and due.

    Attributes:
        key: Which instance.
        uid: Which incarnation of it.
        timer_key: Which timer.
        sequence: Which arming of it.
    """

    key: InstanceKey
    uid: str
    timer_key: str
    sequence: int


class EffectError(NamedTuple):
    """Why an effect did not succeed; the event carries it as ``error``.

    Attributes:
        reason: Stable word for programs, for example ``PROVIDER_RATE_LIMITED``.
        message: One sentence for people.
    """

    reason: str
    message: str


class FinishEffect(NamedTuple):
    """End an effect: its row becomes final and the machine hears of it, in one transaction.

    Fenced by the lease.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
        lease_token: Of the attempt that ended; another one's is refused (``LeaseLost``).
        outcome: ``completed`` sends ``done``, ``failed`` and ``rejected`` send the event of that name, as the
            definition's ``effects`` say.
        output_json: What ``completed`` yields, any JSON value; empty is no output.
        error: Why, unless completed.
    """

    key: InstanceKey
    effect_id: str
    lease_token: str
    outcome: Literal["completed", "failed", "rejected"]
    output_json: str = ""
    error: EffectError | None = None


class StopEffect(NamedTuple):
    """End an effect on purpose: cancelled in the outbox, its ``stopped`` event taken, in one transaction.

    Idempotent.

    Attributes:
        key: Which instance.
        effect_id: Which effect; empty: the latest of those running that ``handler`` runs.
        handler: Only effects of this handler; empty: any.
        request_id: Idempotency key within the instance; empty means none.
        view: How much of the state to answer with.
    """

    key: InstanceKey
    effect_id: str = ""
    handler: str = ""
    request_id: str = ""
    view: View = View.FULL


class RetryEffect(NamedTuple):
    """Give a failed attempt back for another one later; the machine hears nothing. Fenced by the lease.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
        lease_token: Of the attempt that failed; another one's is refused (``LeaseLost``).
        error: Why it failed.
        delay_ms: How long to wait before the next attempt, >= 0.
        counts: Whether it is one of the attempts that the retry policy allows. One that was broken off
            because its worker is shut down is not.
    """

    key: InstanceKey
    effect_id: str
    lease_token: str
    error: EffectError
    delay_ms: int
    counts: bool = True


class ReviveEffect(NamedTuple):
    """Give a dead letter back for further attempts; the machine hears of their end as of the first time.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
        request_id: Idempotency key within the instance; empty means none.
    """

    key: InstanceKey
    effect_id: str
    request_id: str = ""


class FailEffect(NamedTuple):
    """End an attempt that did not succeed; the retry policy says whether another follows.

    Fenced by the lease.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
        lease_token: Of the attempt that failed; another one's is refused (``LeaseLost``).
        error: Why it failed.
        delay_ms: How long to wait before the next attempt, >= 0, up to the policy's maximum; None: as the
            policy says.
        final: Make no further attempt, whatever the policy says.
    """

    key: InstanceKey
    effect_id: str
    lease_token: str
    error: EffectError
    delay_ms: int | None = None
    final: bool = False


class RecordStep(NamedTuple):
    """Keep that a named step of an effect began, completed or failed. Fenced by the lease.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
        lease_token: Of the attempt under way; another one's is refused (``LeaseLost``).
        name: 1 to 128 characters, unique within the effect.
        state: How far it is.
        output_json: What it yielded, any JSON value; empty is nothing.
        error: Why it failed; None unless it did.
    """

    key: InstanceKey
    effect_id: str
    lease_token: str
    name: str
    state: Literal["started", "completed", "failed"]
    output_json: str = ""
    error: EffectError | None = None


Command = CreateInstance | SendEvent | DeleteInstance | FireTimer | FinishEffect | StopEffect | ReviveEffect
