"""The status of a failed call, as every front puts it on the wire.

Details travel in one HTTP/2 header, and widely used gRPC clients refuse more than 8 KiB of headers
altogether: the caller would then lose the whole error. So the message and the details are bounded here, on
every front alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import IntEnum
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "durachart.dev"
MAX_MESSAGE_BYTES = 1000
MAX_DETAILS_BYTES = 3500

MessageT = TypeVar("MessageT", bound=Message)


class Code(IntEnum):
    """The status codes of gRPC; Connect writes them in lower case."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A failed call, ready for the wire: exactly one ErrorInfo, first among the details.

    Attributes:
        code: Status code; never OK.
        reason: Stable reason for programs; each has a page in ``docs/errors``.
        message: For a person: what happened and what to do. What exceeds `MAX_MESSAGE_BYTES` is cut.
        details: ErrorInfo, then the typed details in order; one that does not fit into `MAX_DETAILS_BYTES`
            any more is left out.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        message: str,
        *details: Message,
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = shortened(message, MAX_MESSAGE_BYTES)
        offered: list[Message] = [ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata or {})]
        if retry_after is not None:
            delay = Duration()
            delay.FromTimedelta(retry_after)
            offered.append(RetryInfo(retry_delay=delay))
        self.details = tuple(fitting([*offered, *details], MAX_DETAILS_BYTES, always=1))

    def status(self) -> Status:
        """The error as ``google.rpc.Status``, which is what ``grpc-status-details-bin`` holds."""
        return Status(
            code=self.code, message=self.message, details=[packed(detail) for detail in self.details]
        )


def packed(message: Message) -> AnyMessage:
    """``message`` wrapped as ``google.protobuf.Any``, with the usual type address."""
    wrapped = AnyMessage()
    wrapped.Pack(message)
    return wrapped


def shortened(text: str, max_bytes: int) -> str:
    """``text``, cut between characters, with an ellipsis, to at most ``max_bytes`` of UTF-8."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode()
    return data[: max_bytes - 3].decode("utf-8", "ignore") + "…"


def fitting(messages: Iterable[MessageT], max_bytes: int, *, always: int = 0) -> list[MessageT]:
    """Those of ``messages``, in order, that fit into ``max_bytes`` together.

    The first ``always`` are kept whatever their size.
    """
    kept: list[MessageT] = []
    room = max_bytes
    for message in messages:
        size = message.ByteSize()
        if len(kept) < always or size <= room:
            kept.append(message)
            room -= size
    return kept
