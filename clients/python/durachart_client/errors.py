"""What a call can raise. Every error carries data as attributes; nobody has to read its text.

    ClientError
    ├── ServerError                 the service answered with an error; ``reason`` says which
    │   ├── EventRefused            the machine said no; state, version and what would be allowed
    │   │   ├── EventNotAllowed       EVENT_NOT_ALLOWED
    │   │   ├── GuardRejected         GUARD_REJECTED
    │   │   ├── EvaluationFailed      EVALUATION_FAILED
    │   │   └── InstanceFinished      INSTANCE_FINISHED
    │   ├── VersionConflict         VERSION_CONFLICT
    │   ├── RequestInvalid          REQUEST_INVALID, and any other complaint about fields of the request
    │   │   ├── PayloadInvalid        PAYLOAD_INVALID
    │   │   ├── PageTokenInvalid      PAGE_TOKEN_INVALID
    │   │   └── ResumeTokenInvalid    RESUME_TOKEN_INVALID
    │   ├── MessageTooLarge         MESSAGE_TOO_LARGE
    │   ├── DefinitionInvalid       DEFINITION_INVALID
    │   ├── NotFound                what was named does not exist
    │   │   ├── InstanceNotFound      INSTANCE_NOT_FOUND
    │   │   ├── MachineNotFound       MACHINE_NOT_FOUND
    │   │   ├── VersionNotFound       VERSION_NOT_FOUND
    │   │   ├── NoGeneration          NO_GENERATION
    │   │   └── EffectNotFound        EFFECT_NOT_FOUND
    │   ├── InstanceExists          INSTANCE_EXISTS
    │   ├── RequestIdReused         REQUEST_ID_REUSED
    │   ├── LeaseLost               LEASE_LOST
    │   ├── EffectNotRetryable      EFFECT_NOT_RETRYABLE
    │   ├── ImplementationMissing   IMPLEMENTATION_MISSING
    │   ├── InstanceCorrupt         INSTANCE_CORRUPT
    │   ├── Forbidden               FORBIDDEN
    │   ├── Unauthenticated         UNAUTHENTICATED
    │   ├── WatchCompacted          WATCH_COMPACTED
    │   ├── Overloaded              OVERLOADED
    │   ├── Unavailable             no server answered
    │   │   ├── ShuttingDown          SHUTTING_DOWN
    │   │   ├── ReaderStalled         READER_STALLED
    │   │   ├── RelayUnavailable      RELAY_UNAVAILABLE
    │   │   └── StoreUnavailable      STORE_UNAVAILABLE
    │   └── DeadlineExceeded        DEADLINE_EXCEEDED, or no answer in time
    └── StreamGap                   a stream skipped something it must not skip

The docstring of a class is its default message. An unknown reason of a newer server raises plain
:class:`ServerError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar

from durachart_client.models import Finding, InstanceRef, Json


@dataclass(frozen=True, slots=True)
class Violation:
    """One complaint about a request.

    Attributes:
        field: Where, as the server names it; for a payload a JSON pointer such as ``/items/0/price``.
        description: What is wrong there.
    """

    field: str
    description: str


class ClientError(Exception):
    """Base of everything this package raises for a call."""

    def __init__(self, message: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)


class StreamGap(ClientError):
    """The stream skipped something that must not be skipped; read the state again and start a new stream.

    Attributes:
        instance: Whose stream.
        expected: Version (of a watch) or offset (of a token stream) that should have come.
        received: What came.
    """

    def __init__(self, message: str = "", *, instance: InstanceRef, expected: int, received: int) -> None:
        super().__init__(message or f"the stream of {instance} went from {expected} to {received}")
        self.instance = instance
        self.expected = expected
        self.received = received


class ServerError(ClientError):
    """The service answered with an error.

    Attributes:
        message: One sentence for a person.
        reason: Stable reason, for example ``GUARD_REJECTED``; ``""`` when the error did not come from
            Durachart itself.
        code: Name of the gRPC status, for example ``FAILED_PRECONDITION``.
        metadata: Further facts the server gave, by name.
        request_id: Idempotency key of the failed call, to repeat it safely; ``""`` for calls that have none.
        retry_after: How long the server asked to wait; None when it did not.
    """

    REASON: ClassVar[str] = ""
    """The reason this class stands for."""
    CODE: ClassVar[str] = "UNKNOWN"
    """The gRPC status it has by default."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.reason: str = self.REASON
        self.code: str = self.CODE
        self.metadata: Mapping[str, str] = MappingProxyType({})
        self.request_id: str = ""
        self.retry_after: timedelta | None = None

    @property
    def replayed(self) -> bool:
        """Whether this is the recorded answer to an earlier call with the same request id."""
        return self.metadata.get("replayed") == "true"


class EventRefused(ServerError):
    """The machine refused the event.

    Attributes:
        instance: Which instance; None when the server did not say.
        event_type: The refused event.
        value: State value at the time of the refusal.
        version: Version at the time of the refusal.
        allowed_events: Sorted event types that would be allowed.
        guards: Names of the guards that were false, in the order of evaluation; empty unless a guard refused.
    """

    CODE = "FAILED_PRECONDITION"

    def __init__(
        self,
        message: str = "",
        *,
        instance: InstanceRef | None = None,
        event_type: str = "",
        value: Json = None,
        version: int = 0,
        allowed_events: Sequence[str] = (),
        guards: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.instance = instance
        self.event_type = event_type
        self.value = value
        self.version = version
        self.allowed_events = tuple(allowed_events)
        self.guards = tuple(guards)


class EventNotAllowed(EventRefused):
    """The current state does not take this event."""

    REASON = "EVENT_NOT_ALLOWED"


class GuardRejected(EventRefused):
    """The current state takes this event, but a guard was false."""

    REASON = "GUARD_REJECTED"


class EvaluationFailed(EventRefused):
    """An expression of the machine failed on this event; the instance is as it was."""

    REASON = "EVALUATION_FAILED"


class InstanceFinished(EventRefused):
    """The instance reached its final state and takes no more events."""

    REASON = "INSTANCE_FINISHED"


class VersionConflict(ServerError):
    """The instance is at another version than the caller expected.

    Attributes:
        expected: The version the caller expected.
        actual: The version found.
        instance: Which instance; None when the server did not say.
        value: State value found.
    """

    REASON = "VERSION_CONFLICT"
    CODE = "ABORTED"

    def __init__(
        self,
        message: str = "",
        *,
        expected: int,
        actual: int,
        instance: InstanceRef | None = None,
        value: Json = None,
    ) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual
        self.instance = instance
        self.value = value


class RequestInvalid(ServerError):
    """A field of the request is not valid.

    Attributes:
        violations: Each complaint, in the server's order.
    """

    REASON = "REQUEST_INVALID"
    CODE = "INVALID_ARGUMENT"

    def __init__(self, message: str = "", *, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


class PayloadInvalid(RequestInvalid):
    """The payload does not fit the schema of the event or of the input."""

    REASON = "PAYLOAD_INVALID"


class PageTokenInvalid(RequestInvalid):
    """The page token was not given out for this list."""

    REASON = "PAGE_TOKEN_INVALID"


class ResumeTokenInvalid(RequestInvalid):
    """The resume token was not given out by this server; watch again without one."""

    REASON = "RESUME_TOKEN_INVALID"


class MessageTooLarge(ServerError):
    """The request is larger than the server takes."""

    REASON = "MESSAGE_TOO_LARGE"
    CODE = "RESOURCE_EXHAUSTED"


class DefinitionInvalid(ServerError):
    """The machine definition has problems.

    Attributes:
        findings: Errors and warnings in document order.
    """

    REASON = "DEFINITION_INVALID"
    CODE = "INVALID_ARGUMENT"

    def __init__(self, message: str = "", *, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class NotFound(ServerError):
    """What was named does not exist.

    Attributes:
        resource_type: Kind of thing, as the server names it.
        resource_name: Its name.
    """

    CODE = "NOT_FOUND"

    def __init__(self, message: str = "", *, resource_type: str = "", resource_name: str = "") -> None:
        super().__init__(message)
        self.resource_type = resource_type
        self.resource_name = resource_name


class InstanceNotFound(NotFound):
    """There is no such instance."""

    REASON = "INSTANCE_NOT_FOUND"


class MachineNotFound(NotFound):
    """There is no such machine, or no such version of it."""

    REASON = "MACHINE_NOT_FOUND"


class VersionNotFound(NotFound):
    """The instance has not reached that version, or retention removed it from the journal."""

    REASON = "VERSION_NOT_FOUND"


class NoGeneration(NotFound):
    """The instance never had a generation."""

    REASON = "NO_GENERATION"


class EffectNotFound(NotFound):
    """There is no such effect."""

    REASON = "EFFECT_NOT_FOUND"


class InstanceExists(ServerError):
    """There is an instance of that name already."""

    REASON = "INSTANCE_EXISTS"
    CODE = "ALREADY_EXISTS"


class RequestIdReused(ServerError):
    """The request id was used for another request."""

    REASON = "REQUEST_ID_REUSED"
    CODE = "ALREADY_EXISTS"


class LeaseLost(ServerError):
    """The attempt's lease is gone: the effect has ended, or is another worker's by now."""

    REASON = "LEASE_LOST"
    CODE = "FAILED_PRECONDITION"


class EffectNotRetryable(ServerError):
    """Only a discarded effect can be given back for further attempts."""

    REASON = "EFFECT_NOT_RETRYABLE"
    CODE = "FAILED_PRECONDITION"


class ImplementationMissing(ServerError):
    """The server lacks an implementation the machine needs."""

    REASON = "IMPLEMENTATION_MISSING"
    CODE = "FAILED_PRECONDITION"


class InstanceCorrupt(ServerError):
    """What is stored of the instance is not a state of its machine."""

    REASON = "INSTANCE_CORRUPT"
    CODE = "DATA_LOSS"


class Forbidden(ServerError):
    """The caller may not do this."""

    REASON = "FORBIDDEN"
    CODE = "PERMISSION_DENIED"


class Unauthenticated(ServerError):
    """The server does not know who is calling."""

    REASON = "UNAUTHENTICATED"
    CODE = "UNAUTHENTICATED"


class WatchCompacted(ServerError):
    """What the watch missed has been removed by retention.

    Attributes:
        oldest_resume_token: A watch may resume from here.
    """

    REASON = "WATCH_COMPACTED"
    CODE = "OUT_OF_RANGE"

    def __init__(self, message: str = "", *, oldest_resume_token: str = "") -> None:
        super().__init__(message)
        self.oldest_resume_token = oldest_resume_token


class Overloaded(ServerError):
    """The server has too much to do; ``retry_after`` says when to come back."""

    REASON = "OVERLOADED"
    CODE = "RESOURCE_EXHAUSTED"


class Unavailable(ServerError):
    """No server answered.

    A write may have been taken all the same: repeat it with ``request_id``.
    """

    CODE = "UNAVAILABLE"


class StreamClosing(Unavailable):
    """The server announced the end of a stream that it served: another goes on where it ended."""


class ShuttingDown(Unavailable):
    """The server is shutting down; nothing was done."""

    REASON = "SHUTTING_DOWN"


class ReaderStalled(Unavailable):
    """The stream was not read for too long, so the server ended it; go on from the last frame."""

    REASON = "READER_STALLED"


class RelayUnavailable(Unavailable):
    """The server that has the text of this attempt cannot be reached; go on without bringing text."""

    REASON = "RELAY_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The server's database did not take or give what was asked."""

    REASON = "STORE_UNAVAILABLE"


class DeadlineExceeded(ServerError):
    """No answer came in time.

    A write may have been taken all the same: repeat it with ``request_id``.
    """

    REASON = "DEADLINE_EXCEEDED"
    CODE = "DEADLINE_EXCEEDED"
