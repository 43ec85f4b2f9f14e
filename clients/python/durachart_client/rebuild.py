"""Errors rebuilt from what travels beside the status: ErrorInfo's reason picks the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from durachart_client import convert, errors
from durachart_client.gen import errors_pb2

DOMAIN = "durachart.dev"
_STATUS_DETAILS = "grpc-status-details-bin"
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Detail = TypeVar("Detail", bound=Message)


class _Details:
    """The typed details of one status, by message type; an absent one reads as its empty message."""

    def __init__(self, status: status_pb2.Status) -> None:
        self._packed = {packed.TypeName(): packed for packed in status.details}

    def get(self, kind: type[Detail]) -> Detail:
        detail = kind()
        packed = self._packed.get(kind.DESCRIPTOR.full_name)
        if packed is not None:
            packed.Unpack(detail)
        return detail

    def has(self, kind: type[Message]) -> bool:
        return kind.DESCRIPTOR.full_name in self._packed


def server_error(failure: grpc.aio.AioRpcError, *, request_id: str = "") -> errors.ServerError:
    """The typed error for a failed call.

    Args:
        failure: What grpc.aio raised.
        request_id: Idempotency key of the call, kept on the error.

    Returns:
        An error whose class follows from ErrorInfo's reason, or for errors without one from the status code.
    """
    code, message = failure.code().name, failure.details() or ""
    status = _status(failure)
    if code == "UNAVAILABLE" and not status.details:
        # What gRPC says of sockets is no advice.
        message = f"no server answers, or not any more ({message}): is it running, and is the address right?"
    return _error(status, code, message, request_id)


def status_error(status: status_pb2.Status, *, request_id: str = "") -> errors.ServerError:
    """The typed error for a status that came as part of an answer; arguments as of `server_error`."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN).name
    return _error(status, code, status.message, request_id)


def _error(status: status_pb2.Status, code: str, message: str, request_id: str) -> errors.ServerError:
    details = _Details(status)
    info = details.get(error_details_pb2.ErrorInfo)
    reason = info.reason if info.domain == DOMAIN else ""
    error = _build(reason, code, message, details)
    error.code = code
    error.reason = reason
    error.metadata = MappingProxyType(dict(info.metadata))
    error.request_id = request_id
    if details.has(error_details_pb2.RetryInfo):
        delay = details.get(error_details_pb2.RetryInfo).retry_delay
        error.retry_after = timedelta(seconds=delay.seconds, microseconds=delay.nanos // 1000)
    return error


def _status(failure: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status of the trailers; empty when there is none or it cannot be read."""
    for key, value in failure.trailing_metadata() or ():
        if key == _STATUS_DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # a proxy mangled it: the code and the message still stand
                break
    return status_pb2.Status()


def _build(reason: str, code: str, message: str, details: _Details) -> errors.ServerError:
    build = _BY_REASON.get(reason) if reason else _BY_CODE.get(code)
    if build is not None:
        return build(message, details)
    if details.has(error_details_pb2.BadRequest):
        return _request_invalid(errors.RequestInvalid)(message, details)
    return errors.ServerError(message)


_Builder = Callable[[str, _Details], errors.ServerError]


def _plain(kind: type[errors.ServerError]) -> _Builder:
    return lambda message, details: kind(message)


def _refused(kind: type[errors.EventRefused]) -> _Builder:
    def build(message: str, details: _Details) -> errors.ServerError:
        refusal = details.get(errors_pb2.EventRefusal)
        return kind(
            message,
            instance=convert.instance_ref(refusal.instance) if refusal.HasField("instance") else None,
            event_type=refusal.event_type,
            value=convert.parsed(refusal.value_json),
            version=refusal.version,
            allowed_events=refusal.allowed_events,
            guards=refusal.guards,
        )

    return build


def _request_invalid(kind: type[errors.RequestInvalid]) -> _Builder:
    def build(message: str, details: _Details) -> errors.ServerError:
        found = details.get(error_details_pb2.BadRequest).field_violations
        return kind(message, violations=[errors.Violation(one.field, one.description) for one in found])

    return build


def _not_found(kind: type[errors.NotFound]) -> _Builder:
    def build(message: str, details: _Details) -> errors.ServerError:
        resource = details.get(error_details_pb2.ResourceInfo)
        return kind(message, resource_type=resource.resource_type, resource_name=resource.resource_name)

    return build


def _version_conflict(message: str, details: _Details) -> errors.ServerError:
    conflict = details.get(errors_pb2.VersionConflict)
    return errors.VersionConflict(
        message,
        expected=conflict.expected_version,
        actual=conflict.actual_version,
        instance=convert.instance_ref(conflict.instance) if conflict.HasField("instance") else None,
        value=convert.parsed(conflict.value_json),
    )


def _definition_invalid(message: str, details: _Details) -> errors.ServerError:
    problems = details.get(errors_pb2.DefinitionProblems)
    return errors.DefinitionInvalid(message, findings=[convert.finding(one) for one in problems.findings])


def _watch_compacted(message: str, details: _Details) -> errors.ServerError:
    token = details.get(errors_pb2.WatchCompacted).oldest_resume_token
    return errors.WatchCompacted(message, oldest_resume_token=token)


def _by_reason() -> Mapping[str, _Builder]:
    builders: dict[str, _Builder] = {}
    for refusal in (
        errors.EventNotAllowed,
        errors.GuardRejected,
        errors.EvaluationFailed,
        errors.InstanceFinished,
    ):
        builders[refusal.REASON] = _refused(refusal)
    for invalid in (
        errors.RequestInvalid,
        errors.PayloadInvalid,
        errors.PageTokenInvalid,
        errors.ResumeTokenInvalid,
    ):
        builders[invalid.REASON] = _request_invalid(invalid)
    for missing in (
        errors.InstanceNotFound,
        errors.MachineNotFound,
        errors.VersionNotFound,
        errors.NoGeneration,
        errors.EffectNotFound,
    ):
        builders[missing.REASON] = _not_found(missing)
    for plain in (
        errors.MessageTooLarge,
        errors.InstanceExists,
        errors.RequestIdReused,
        errors.LeaseLost,
        errors.EffectNotRetryable,
        errors.ImplementationMissing,
        errors.InstanceCorrupt,
        errors.Forbidden,
        errors.Unauthenticated,
        errors.Overloaded,
        errors.ShuttingDown,
        errors.ReaderStalled,
        errors.RelayUnavailable,
        errors.StoreUnavailable,
        errors.DeadlineExceeded,
    ):
        builders[plain.REASON] = _plain(plain)
    builders[errors.VersionConflict.REASON] = _version_conflict
    builders[errors.DefinitionInvalid.REASON] = _definition_invalid
    builders[errors.WatchCompacted.REASON] = _watch_compacted
    return builders


_BY_REASON = _by_reason()

# For errors without a reason: those of gRPC itself and of proxies. A refusal is never guessed from a code.
_BY_CODE: Mapping[str, _Builder] = {
    kind.CODE: _plain(kind)
    for kind in (errors.Unavailable, errors.DeadlineExceeded, errors.Forbidden, errors.Unauthenticated)
}
