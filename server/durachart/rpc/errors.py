"""The one table from errors to what callers see.

    Exception
    ├── RpcError                         made below by the RPC layer itself; goes out as it is
    │     REQUEST_INVALID                INVALID_ARGUMENT      BadRequest
    │     MESSAGE_MALFORMED              INVALID_ARGUMENT
    │     MESSAGE_TOO_LARGE              RESOURCE_EXHAUSTED
    │     METHOD_UNKNOWN                 UNIMPLEMENTED
    │     COMPRESSION_UNSUPPORTED        UNIMPLEMENTED
    │     SERVICE_UNKNOWN                NOT_FOUND             (grpc.health.v1 only)
    │     DEADLINE_EXCEEDED              DEADLINE_EXCEEDED
    │     SHUTTING_DOWN                  UNAVAILABLE           RetryInfo
    │     READER_STALLED                 UNAVAILABLE           RetryInfo
    ├── DurachartError
    │   ├── InvalidArgument              INVALID_ARGUMENT      BadRequest  (reason REQUEST_INVALID)
    │   │   └── PageTokenInvalid, ResumeTokenInvalid
    │   ├── NotFound                     NOT_FOUND             ResourceInfo
    │   │   └── Instance…, Machine…, VersionNotFound, EffectNotFound, NoGeneration
    │   ├── Refusal
    │   │   ├── InstanceExists           ALREADY_EXISTS        ResourceInfo
    │   │   ├── VersionConflict          ABORTED               VersionConflict
    │   │   ├── PayloadInvalid           INVALID_ARGUMENT      BadRequest
    │   │   ├── EffectNotRetryable       FAILED_PRECONDITION   PreconditionFailure
    │   │   └── EventRefused             FAILED_PRECONDITION   EventRefusal, PreconditionFailure
    │   │       └── EventNotAllowed, GuardRejected, EvaluationFailed, InstanceFinished
    │   ├── RequestIdReused              ALREADY_EXISTS        ResourceInfo
    │   ├── LeaseLost                    FAILED_PRECONDITION   PreconditionFailure
    │   ├── ImplementationMissing        FAILED_PRECONDITION   PreconditionFailure
    │   ├── InstanceCorrupt              DATA_LOSS             ResourceInfo
    │   ├── WatchCompacted               OUT_OF_RANGE          WatchCompacted
    │   ├── Overloaded                   RESOURCE_EXHAUSTED    RetryInfo
    │   ├── DeadlineExceeded             DEADLINE_EXCEEDED
    │   ├── StoreUnavailable             UNAVAILABLE           RetryInfo
    │   ├── RelayUnavailable             UNAVAILABLE           RetryInfo
    │   └── ShuttingDown                 UNAVAILABLE           RetryInfo
    ├── StoreError                       UNAVAILABLE           RetryInfo             (reason
    STORE_UNAVAILABLE) ├── DefinitionInvalid                INVALID_ARGUMENT      DefinitionProblems,
    BadRequest └── anything else                    INTERNAL              logged under an id; its text stays
    here

Errors are matched by class hierarchy, so a subclass that is new to the table gets its parent's row. Every
error has one ErrorInfo with the domain ``durachart.dev`` and its reason, and every reason has a page in
``docs/errors``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, PreconditionFailure, ResourceInfo

from durachart.definitions import errors as definitions
from durachart.rpc import convert
from durachart.rpc.gen import errors_pb2 as details
from durachart.rpc.status import Code, RpcError, fitting, shortened
from durachart.runtime import errors as runtime
from durachart.store import errors as store

_log = logging.getLogger(__name__)

_LONGEST_CHAIN: Final = 32

_RETRY_SOON = timedelta(seconds=1)
_STORE_FAILED = (
    "the database did not do its part, and whether a write was taken is not known; "
    "repeat it with the same request_id"
)
# How the room for details is shared out; see durachart.rpc.status.
_BAD_REQUEST_BYTES = 1200
_FINDINGS_BYTES = 1600
_VALUE_BYTES = 1000
_ALLOWED_EVENTS_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Violation:
    """One complaint about a request.

    Attributes:
        field: Which field, as the contract names it: ``instance.machine_id``.
        description: What is wrong with it, to be read after the name.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Row:
    """How one class of domain errors goes out.

    Attributes:
        code: Status code.
        details: Makes the typed details beside ErrorInfo.
        metadata: Makes ErrorInfo's metadata.
        retry_after: Makes the delay of RetryInfo; None: none is sent.
        reason: Stable reason; empty: the error's own ``reason``.
        message: Makes the sentence; None: the error's text.
    """

    code: Code
    details: Callable[[Any], Iterable[Message]] = lambda error: ()
    metadata: Callable[[Any], Mapping[str, str]] = lambda error: {}
    retry_after: Callable[[Any], timedelta] | None = None
    reason: str = ""
    message: Callable[[Any], str] | None = None


def error_of(error: Exception, method: str) -> RpcError:
    """What the caller sees of ``error``, which forgets through which frames it came.

    A frame that has the error in a variable, as whoever hands one on does, would else keep itself and all
    that the call holds until the collector comes.

    Args:
        error: A domain error, an `RpcError` (which is passed through), or anything else, which becomes
            INTERNAL: its text is logged under an id and not sent.
        method: Full name of the method, for the log.
    """
    row = None if isinstance(error, RpcError) else row_of(type(error))
    if isinstance(error, RpcError):
        failure = error
    elif row is None:
        failure = internal(error, method)
    else:
        failure = _as_said(row, error)
    _forget_frames(error)
    return failure


def _forget_frames(error: BaseException) -> None:
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__


def _as_said(row: Row, error: BaseException) -> RpcError:
    return RpcError(
        row.code,
        row.reason or getattr(error, "reason", "INTERNAL"),
        row.message(error) if row.message else str(error),
        *row.details(error),
        metadata=row.metadata(error),
        retry_after=row.retry_after(error) if row.retry_after else None,
    )


def row_of(kind: type[BaseException]) -> Row | None:
    """The row of the nearest class ``kind`` derives from; None when the table has none."""
    for ancestor in kind.__mro__:
        row = _TABLE.get(ancestor)
        if row is not None:
            return row
    return None


def internal(error: BaseException, method: str) -> RpcError:
    """An error nobody foresaw: logged under an id that the caller may quote, its text kept here."""
    error_id = uuid.uuid4().hex
    _log.error("unexpected error error_id=%s method=%s", error_id, method, exc_info=error)
    return RpcError(
        Code.INTERNAL,
        "INTERNAL",
        f"the server failed unexpectedly; its log has the cause under error id {error_id}",
        metadata={"error_id": error_id},
    )


# --- errors of the RPC layer --------------------------------------------------------------------------------


def invalid_request(violations: Sequence[Violation]) -> RpcError:
    """The request breaks the contract; every violation at once."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return RpcError(
        Code.INVALID_ARGUMENT,
        "REQUEST_INVALID",
        f"the request is not valid: {first.field} {first.description}{more}",
        _bad_request((each.field, each.description) for each in violations),
    )


def invalid_header(name: str, description: str) -> RpcError:
    """A header that the protocol gives a meaning has none."""
    return invalid_request([Violation(name, description)])


def malformed_message(what: str) -> RpcError:
    """The bytes of the request cannot be read; ``what`` says why."""
    return RpcError(Code.INVALID_ARGUMENT, "MESSAGE_MALFORMED", f"the request cannot be read: {what}")


def message_too_large(size: int, limit: int) -> RpcError:
    """The serialised request has ``size`` bytes where ``limit`` are taken."""
    return RpcError(
        Code.RESOURCE_EXHAUSTED,
        "MESSAGE_TOO_LARGE",
        f"the request has {size} bytes or more, this method takes at most {limit}",
        metadata={"size_bytes": str(size), "limit_bytes": str(limit)},
    )


def unknown_method(path: str) -> RpcError:
    """Nothing is served at ``path``."""
    return RpcError(
        Code.UNIMPLEMENTED,
        "METHOD_UNKNOWN",
        f"this server has no method {path[:200]!r}; is the client newer than the server?",
    )


def unsupported_compression(name: str, taken: str = "identity") -> RpcError:
    """The request is compressed with ``name``, and the front takes ``taken``."""
    return RpcError(
        Code.UNIMPLEMENTED,
        "COMPRESSION_UNSUPPORTED",
        f"requests may be sent here as {taken}, not as {name[:40]!r}",
    )


def deadline_exceeded() -> RpcError:
    """The caller's deadline passed; whether a write was taken is not known."""
    return RpcError(
        Code.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
        "the deadline passed before the answer was ready; repeat a write with the same request_id",
    )


def shutting_down() -> RpcError:
    """The server ends its streams and takes no new calls."""
    return RpcError(
        Code.UNAVAILABLE,
        "SHUTTING_DOWN",
        "the server is shutting down; connect again in a moment",
        retry_after=_RETRY_SOON,
    )


def answers_unread() -> RpcError:
    """A connection asks for more while it does not read what it is given."""
    return RpcError(
        Code.RESOURCE_EXHAUSTED,
        "OVERLOADED",
        "many answers on this connection have not been read; nothing was done: read them, then send it again",
        retry_after=_RETRY_SOON,
    )


def reader_stalled() -> RpcError:
    """Nobody has read a stream for so long that the server has let go of it."""
    return RpcError(
        Code.UNAVAILABLE,
        "READER_STALLED",
        "the stream was not read for too long and has been ended; go on from the last frame, and read faster",
        retry_after=_RETRY_SOON,
    )


# --- details of domain errors -------------------------------------------------------------------------------


def _bad_request(violations: Iterable[tuple[str, str]]) -> BadRequest:
    """The first violations that fit."""
    listed = (BadRequest.FieldViolation(field=field, description=text) for field, text in violations)
    return BadRequest(field_violations=fitting(listed, _BAD_REQUEST_BYTES))


def _invalid_argument(error: runtime.InvalidArgument) -> Iterable[Message]:
    yield _bad_request([(error.field, error.message)])


def _payload(error: runtime.PayloadInvalid) -> Iterable[Message]:
    yield _bad_request(
        (f"{error.field}#{path}" if path else error.field, text) for path, text in error.violations
    )


def _instance(
    error: runtime.InstanceNotFound
    | runtime.VersionNotFound
    | runtime.NoGeneration
    | runtime.InstanceExists
    | runtime.InstanceCorrupt,
) -> Iterable[Message]:
    yield ResourceInfo(resource_type="durachart.v1.Instance", resource_name=str(error.key))


def _effect(error: runtime.EffectNotFound) -> Iterable[Message]:
    yield ResourceInfo(resource_type="durachart.v1.Effect", resource_name=f"{error.key}#{error.effect_id}")


def _machine(error: runtime.MachineNotFound) -> Iterable[Message]:
    version = f"@{error.version}" if error.version else ""
    yield ResourceInfo(resource_type="durachart.v1.Machine", resource_name=f"{error.machine_id}{version}")


def _request_id(error: runtime.RequestIdReused) -> Iterable[Message]:
    yield ResourceInfo(
        resource_type="durachart.v1.RequestId", resource_name=f"{error.key}#{error.request_id}"
    )


def _refusal(error: runtime.EventRefused) -> Iterable[Message]:
    value = error.value_json
    refusal = details.EventRefusal(
        instance=convert.instance_ref(error.key),
        event_type=error.event_type,
        value_json=value if len(value.encode()) <= _VALUE_BYTES else "",
        version=error.version,
        guards=error.guards[:20],
    )
    room = _ALLOWED_EVENTS_BYTES
    for kind in error.allowed_events:
        room -= len(kind.encode())
        if room < 0:
            break
        refusal.allowed_events.append(kind)
    yield refusal
    yield _precondition(error.reason, str(error.key), error.message)


def _replayed(error: runtime.Refusal) -> Mapping[str, str]:
    return {"replayed": "true"} if error.replayed else {}


def _conflict(error: runtime.VersionConflict) -> Iterable[Message]:
    value = error.value_json
    yield details.VersionConflict(
        instance=convert.instance_ref(error.key),
        expected_version=error.expected_version,
        actual_version=error.actual_version,
        value_json=value if len(value.encode()) <= _VALUE_BYTES else "",
    )


def _precondition(kind: str, subject: str, text: str) -> PreconditionFailure:
    violation = PreconditionFailure.Violation(type=kind, subject=subject, description=shortened(text, 300))
    return PreconditionFailure(violations=[violation])


def _lease(error: runtime.LeaseLost | runtime.EffectNotRetryable) -> Iterable[Message]:
    yield _precondition(error.reason, f"{error.key}#{error.effect_id}", error.message)


def _implementation(error: runtime.ImplementationMissing) -> Iterable[Message]:
    yield _precondition(error.reason, f"{error.machine_id}@{error.version}", error.message)


def _compacted(error: runtime.WatchCompacted) -> Iterable[Message]:
    yield details.WatchCompacted(oldest_resume_token=error.oldest_resume_token)


def _definition(error: definitions.DefinitionInvalid) -> Iterable[Message]:
    problems = convert.findings(error.findings)
    yield details.DefinitionProblems(findings=fitting(problems, _FINDINGS_BYTES))
    yield _bad_request(
        (f"definition_json#{each.path}", each.message) for each in error.findings if each.severity == "error"
    )


def _definition_message(error: definitions.DefinitionInvalid) -> str:
    wrong = [each for each in error.findings if each.severity == "error"]
    shown = 0
    text = f"the definition has {len(wrong)} problem{'' if len(wrong) == 1 else 's'}: "
    parts: list[str] = []
    for each in wrong[:5]:
        hint = f" ({each.hint})" if each.hint else ""
        parts.append(f"at {each.path or 'the top'}: {shortened(each.message + hint, 300)}")
        shown += 1
    text += "; ".join(parts)
    if len(wrong) > shown:
        text += f"; ValidateMachine lists the other {len(wrong) - shown}"
    return text


_TABLE: Mapping[type[BaseException], Row] = {
    runtime.InvalidArgument: Row(Code.INVALID_ARGUMENT, _invalid_argument, reason="REQUEST_INVALID"),
    runtime.PageTokenInvalid: Row(Code.INVALID_ARGUMENT, _invalid_argument),
    runtime.ResumeTokenInvalid: Row(Code.INVALID_ARGUMENT, _invalid_argument),
    runtime.InstanceNotFound: Row(Code.NOT_FOUND, _instance),
    runtime.MachineNotFound: Row(Code.NOT_FOUND, _machine),
    runtime.NoGeneration: Row(Code.NOT_FOUND, _instance),
    runtime.VersionNotFound: Row(Code.NOT_FOUND, _instance),
    runtime.EffectNotFound: Row(Code.NOT_FOUND, _effect),
    runtime.InstanceExists: Row(Code.ALREADY_EXISTS, _instance, _replayed),
    runtime.VersionConflict: Row(Code.ABORTED, _conflict, _replayed),
    runtime.PayloadInvalid: Row(Code.INVALID_ARGUMENT, _payload, _replayed),
    runtime.EventRefused: Row(Code.FAILED_PRECONDITION, _refusal, _replayed),
    runtime.EffectNotRetryable: Row(Code.FAILED_PRECONDITION, _lease, _replayed),
    runtime.RequestIdReused: Row(Code.ALREADY_EXISTS, _request_id),
    runtime.LeaseLost: Row(Code.FAILED_PRECONDITION, _lease),
    runtime.ImplementationMissing: Row(Code.FAILED_PRECONDITION, _implementation),
    runtime.InstanceCorrupt: Row(Code.DATA_LOSS, _instance),
    runtime.WatchCompacted: Row(Code.OUT_OF_RANGE, _compacted),
    runtime.Overloaded: Row(Code.RESOURCE_EXHAUSTED, retry_after=lambda error: error.retry_after),
    runtime.DeadlineExceeded: Row(Code.DEADLINE_EXCEEDED),
    runtime.StoreUnavailable: Row(Code.UNAVAILABLE, retry_after=lambda error: _RETRY_SOON),
    runtime.RelayUnavailable: Row(Code.UNAVAILABLE, retry_after=lambda error: _RETRY_SOON),
    runtime.ShuttingDown: Row(Code.UNAVAILABLE, retry_after=lambda error: _RETRY_SOON),
    store.StoreError: Row(
        Code.UNAVAILABLE,
        retry_after=lambda error: _RETRY_SOON,
        reason="STORE_UNAVAILABLE",
        # Its text is for whoever runs the server, and may name files.
        message=lambda error: _STORE_FAILED,
    ),
    definitions.DefinitionInvalid: Row(
        Code.INVALID_ARGUMENT, _definition, reason="DEFINITION_INVALID", message=_definition_message
    ),
}
