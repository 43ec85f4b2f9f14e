"""What a call can fail with.

Every error has one stable ``reason`` for programs, a sentence for people, and its data as attributes::

    DurachartError
    ├── InvalidArgument            a field of the request cannot be; never journaled
    │   ├── PageTokenInvalid
    │   └── ResumeTokenInvalid
    ├── NotFound
    │   ├── InstanceNotFound
    │   ├── MachineNotFound
    │   ├── NoGeneration
    │   ├── VersionNotFound
    │   └── EffectNotFound
    ├── Refusal                    the instance was asked and said no; journaled
    │   ├── InstanceExists
    │   ├── VersionConflict
    │   ├── PayloadInvalid
    │   ├── EffectNotRetryable
    │   └── EventRefused           names state, version and what would be allowed
    │       ├── EventNotAllowed
    │       ├── GuardRejected
    │       ├── EvaluationFailed
    │       └── InstanceFinished
    ├── RequestIdReused
    ├── LeaseLost
    ├── ImplementationMissing
    ├── InstanceCorrupt
    ├── WatchCompacted
    ├── Overloaded
    ├── DeadlineExceeded
    ├── StoreUnavailable
    ├── RelayUnavailable
    └── ShuttingDown

A definition that cannot be used is ``durachart.definitions.errors.DefinitionInvalid``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from durachart.store.keys import InstanceKey


class DurachartError(Exception):
    """The call failed.

    Attributes:
        reason: Stable word for programs.
        message: One sentence for people: what happened and what to do.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(DurachartError):
    """A field of the request cannot be.

    Attributes:
        field: Path of the field in the request, for example ``event.type``.
    """

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class PageTokenInvalid(InvalidArgument):
    """The page token was not given out for this list."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(
        self, message: str = "the page token was not given out for this list; begin without a token"
    ) -> None:
        super().__init__("page_token", message)


class ResumeTokenInvalid(InvalidArgument):
    """The resume token was not given out by this store."""

    reason = "RESUME_TOKEN_INVALID"

    def __init__(
        self, message: str = "the resume token was not given out by this store; watch again without a token"
    ) -> None:
        super().__init__("resume_token", message)


class NotFound(DurachartError):
    """There is no such thing."""


class InstanceNotFound(NotFound):
    """There is no such instance.

    Args:
        key: Which.
        advice: What to do, as the rest of the sentence; empty: nothing.

    Attributes:
        key: Which.
    """

    reason = "INSTANCE_NOT_FOUND"

    def __init__(self, key: InstanceKey, advice: str = "") -> None:
        super().__init__(f"there is no instance {key}{advice}")
        self.key = key


class MachineNotFound(NotFound):
    """No such machine, or no such version of it, was published.

    Attributes:
        machine_id: Which machine.
        version: Which version; 0 is the latest.
    """

    reason = "MACHINE_NOT_FOUND"

    def __init__(self, machine_id: str, version: int = 0) -> None:
        which = f"machine {machine_id!r}" if version == 0 else f"version {version} of machine {machine_id!r}"
        super().__init__(f"there is no {which}; publish its definition first")
        self.machine_id = machine_id
        self.version = version


class NoGeneration(NotFound):
    """The instance has no such generation.

    Attributes:
        key: Which instance.
        effect_id: What was asked for; empty: any.
    """

    reason = "NO_GENERATION"

    def __init__(self, key: InstanceKey, effect_id: str = "") -> None:
        which = f"generation {effect_id!r}" if effect_id else "generation"
        super().__init__(f"instance {key} has no {which}")
        self.key = key
        self.effect_id = effect_id


class VersionNotFound(NotFound):
    """The instance has not reached that version, or retention removed it from the journal.

    Attributes:
        key: Which instance.
        version: Which version.
        current_version: The version it is at.
    """

    reason = "VERSION_NOT_FOUND"

    def __init__(self, key: InstanceKey, version: int, current_version: int) -> None:
        why = (
            f"it is at version {current_version}"
            if version > current_version
            else "retention has removed it from the journal; ask for a later one"
        )
        super().__init__(f"there is no version {version} of instance {key}: {why}")
        self.key = key
        self.version = version
        self.current_version = current_version


class EffectNotFound(NotFound):
    """The instance never asked for such an effect, or retention removed it.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
    """

    reason = "EFFECT_NOT_FOUND"

    def __init__(self, key: InstanceKey, effect_id: str) -> None:
        super().__init__(
            f"instance {key} has no effect {effect_id!r}; it never asked for it, or retention has removed it"
        )
        self.key = key
        self.effect_id = effect_id


class Refusal(DurachartError):
    """The instance was asked and said no; its journal has a row that says so.

    Attributes:
        key: Which instance.
        replayed: Whether this is the recorded answer to an earlier call with the same request id.
    """

    def __init__(self, key: InstanceKey, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.replayed = False


class InstanceExists(Refusal):
    """The instance to be made exists already."""

    reason = "INSTANCE_EXISTS"

    def __init__(self, key: InstanceKey, message: str = "") -> None:
        super().__init__(
            key, message or f"instance {key} exists already; send it events, or choose another id"
        )


class VersionConflict(Refusal):
    """The instance is at another version than the caller expected.

    Attributes:
        expected_version: What the caller expected.
        actual_version: What was found.
        value_json: State value found.
    """

    reason = "VERSION_CONFLICT"

    def __init__(
        self, key: InstanceKey, expected_version: int, actual_version: int, value_json: str, message: str = ""
    ) -> None:
        super().__init__(
            key,
            message
            or f"instance {key} is at version {actual_version}, not {expected_version}; "
            "read it again and decide anew",
        )
        self.expected_version = expected_version
        self.actual_version = actual_version
        self.value_json = value_json


class PayloadInvalid(Refusal):
    """The event's data, or the input of a creation, is not what the machine takes.

    Attributes:
        field: ``event.data_json`` or ``input_json``.
        violations: Each as (JSON pointer into the payload, sentence); at least one.
    """

    reason = "PAYLOAD_INVALID"

    def __init__(
        self, key: InstanceKey, field: str, violations: Sequence[tuple[str, str]], message: str = ""
    ) -> None:
        shown = "; ".join(f"{path}: {text}" if path else text for path, text in violations[:5])
        more = f"; and {len(violations) - 5} more" if len(violations) > 5 else ""
        super().__init__(key, message or f"{field} is not valid: {shown}{more}")
        self.field = field
        self.violations = tuple(violations)


class EffectNotRetryable(Refusal):
    """The effect cannot be given back for further attempts.

    Attributes:
        effect_id: Which effect.
    """

    reason = "EFFECT_NOT_RETRYABLE"

    def __init__(self, key: InstanceKey, effect_id: str, message: str) -> None:
        super().__init__(key, message)
        self.effect_id = effect_id


class EventRefused(Refusal):
    """The machine did not take the event; the instance is as it was.

    Attributes:
        event_type: What was refused; empty for a creation.
        value_json: State value at the time; empty for a creation.
        version: Version at the time.
        allowed_events: Sorted types that would be allowed.
        guards: Names of the guards that were false, in the order of evaluation; only with ``GUARD_REJECTED``.
    """

    def __init__(
        self,
        key: InstanceKey,
        message: str,
        *,
        event_type: str,
        value_json: str,
        version: int,
        allowed_events: Sequence[str] = (),
        guards: Sequence[str] = (),
    ) -> None:
        super().__init__(key, message)
        self.event_type = event_type
        self.value_json = value_json
        self.version = version
        self.allowed_events = tuple(allowed_events)
        self.guards = tuple(guards)


class EventNotAllowed(EventRefused):
    """The state does not handle the event."""

    reason = "EVENT_NOT_ALLOWED"


class GuardRejected(EventRefused):
    """The state handles the event, and every guard that could have let it pass was false."""

    reason = "GUARD_REJECTED"


class EvaluationFailed(EventRefused):
    """An expression of the machine failed on the event, or the machine did not come to rest."""

    reason = "EVALUATION_FAILED"


class InstanceFinished(EventRefused):
    """The instance has reached its final state."""

    reason = "INSTANCE_FINISHED"


class RequestIdReused(DurachartError):
    """The request id was used before for another request.

    Attributes:
        key: Which instance.
        request_id: The id.
    """

    reason = "REQUEST_ID_REUSED"

    def __init__(self, key: InstanceKey, request_id: str) -> None:
        super().__init__(
            f"request id {request_id!r} of instance {key} was used for another request; "
            "make a new id for each request"
        )
        self.key = key
        self.request_id = request_id


class LeaseLost(DurachartError):
    """The effect is not, or no longer, this worker's to finish.

    Attributes:
        key: Which instance.
        effect_id: Which effect.
    """

    reason = "LEASE_LOST"

    def __init__(self, key: InstanceKey, effect_id: str, message: str = "") -> None:
        super().__init__(
            message
            or f"effect {effect_id!r} is not leased under this token: it ended, or another worker took it; "
            "drop the result"
        )
        self.key = key
        self.effect_id = effect_id


class ImplementationMissing(DurachartError):
    """This server cannot run the machine: its definition needs something the server does not have.

    Attributes:
        machine_id: Which machine.
        version: Which version.
    """

    reason = "IMPLEMENTATION_MISSING"

    def __init__(self, machine_id: str, version: int, message: str) -> None:
        super().__init__(f"version {version} of machine {machine_id!r} cannot be run here: {message}")
        self.machine_id = machine_id
        self.version = version


class InstanceCorrupt(DurachartError):
    """What is stored of the instance is not a state of its machine; other instances are not affected.

    Attributes:
        key: Which instance.
    """

    reason = "INSTANCE_CORRUPT"

    def __init__(self, key: InstanceKey, message: str) -> None:
        super().__init__(f"what is stored of instance {key} cannot be read: {message}")
        self.key = key


class WatchCompacted(DurachartError):
    """What lies between the token and now has been removed by retention.

    Attributes:
        oldest_resume_token: A watch may resume from here.
    """

    reason = "WATCH_COMPACTED"

    def __init__(self, oldest_resume_token: str) -> None:
        super().__init__(
            "what lies after the resume token has been removed by retention; "
            "watch again from the oldest token, or without one"
        )
        self.oldest_resume_token = oldest_resume_token


class Overloaded(DurachartError):
    """Too much waits already; nothing was done.

    Attributes:
        retry_after: How long to wait before trying again.
    """

    reason = "OVERLOADED"

    def __init__(self, retry_after: timedelta) -> None:
        seconds = retry_after.total_seconds()
        super().__init__(f"the server has more work waiting than it takes on; try again in {seconds:g} s")
        self.retry_after = retry_after


class DeadlineExceeded(DurachartError):
    """The caller's deadline passed while the command waited; nothing was done."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before the command's turn came; it was not executed")


class StoreUnavailable(DurachartError):
    """The database did not take or give what was asked; whether a write reached the disk is not known."""

    reason = "STORE_UNAVAILABLE"


class RelayUnavailable(DurachartError):
    """The node that has the text of the attempt cannot be reached; the result counts, and needs no text."""

    reason = "RELAY_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__(
            "the server that has the text of this attempt cannot be reached; go on without bringing text: "
            "viewers are shown the result when it is complete"
        )


class ShuttingDown(DurachartError):
    """The server is draining; nothing was done."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("the server is shutting down; the call was not executed; try again")
