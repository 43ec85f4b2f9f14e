"""What a handler may know of the call it serves, whichever front the call came through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from opentelemetry.trace import Span

    from durachart.runtime.outlet import Outlet

Protocol = Literal["grpc", "grpc_web", "connect"]
Entry = tuple[str, str | bytes]

_KEY = re.compile(r"[0-9a-z_.-]+\Z")
_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Metadata:
    """Request metadata in order of arrival.

    Keys are lower case; values of keys that end in ``-bin`` are bytes.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = tuple(entries)

    def get(self, key: str, default: str = "") -> str:
        """The first text value of ``key`` (lower case), or ``default`` when there is none."""
        for name, value in self._entries:
            if name == key and isinstance(value, str):
                return value
        return default

    def get_all(self, key: str) -> list[str | bytes]:
        """Every value of ``key`` (lower case), in order of arrival."""
        return [value for name, value in self._entries if name == key]

    def entries(self) -> tuple[Entry, ...]:
        """All keys and values, in order of arrival."""
        return self._entries


_NO_METADATA = Metadata()


class CallContext:
    """One call: what came with it, how long it may take, and what goes back beside the response.

    Attributes:
        method: Full name without a leading slash, ``durachart.v1.StateMachineService/SendEvent``.
        metadata: What the caller sent beside the request.
        peer: Address of the other end of the connection, as `normalise_peer` writes it.
        deadline: When the caller stops waiting, on the event loop's clock in seconds; None when it waits for
            ever.
        protocol: How the call came.
        identity: Who calls; set before the handler runs.
        cancelled: Whether the call ended because the caller went away. True only while and after that is
            being cleaned up.
        span: The call's span; None when tracing is off.
        traceparent: W3C trace context to hand on: of ``span``, or else as the caller sent it. Empty when
            there is none.
        farewell: Set by the handler of a stream: makes the last response of a stream that the server ends
            because it shuts down.
        on_drain: Set by the handler of a stream that ends by itself when the server shuts down: called then,
            instead of the handler being interrupted.
        outlet: Set by a front for a stream: takes responses while the handler waits. None: it takes only what
            the handler yields.
    """

    __slots__ = (
        "_headers",
        "_headers_sent",
        "_trailers",
        "cancelled",
        "deadline",
        "farewell",
        "identity",
        "metadata",
        "method",
        "on_drain",
        "outlet",
        "peer",
        "protocol",
        "span",
        "traceparent",
    )

    def __init__(
        self,
        method: str,
        *,
        metadata: Metadata | None = None,
        peer: str = "",
        deadline: float | None = None,
        protocol: Protocol = "grpc",
    ) -> None:
        self.method = method
        self.metadata = metadata or _NO_METADATA
        self.peer = peer
        self.deadline = deadline
        self.protocol: Protocol = protocol
        self.identity = ""
        self.cancelled = False
        self.span: Span | None = None
        self.traceparent = incoming_traceparent(self.metadata)
        self.farewell: Callable[[], Message] | None = None
        self.on_drain: Callable[[], None] | None = None
        self.outlet: Outlet[Message] | None = None
        self._headers: tuple[Entry, ...] = ()
        self._trailers: tuple[Entry, ...] = ()
        self._headers_sent = False

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, never below 0; None when the caller waits for ever."""
        if self.deadline is None:
            return None
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    def add_header(self, key: str, value: str | bytes) -> None:
        """Send ``key: value`` before the response.

        Args:
            key: Lower case, without the prefixes ``grpc-`` and ``connect-``. A key that ends in ``-bin``
                takes bytes.
            value: Printable ASCII, or bytes.

        Raises:
            RuntimeError: The headers are out already, as they always are once the handler of a stream runs.
            ValueError: The key or the value cannot be sent.
        """
        if self._headers_sent:
            raise RuntimeError(f"cannot add header {key!r}: the headers of {self.method} were sent already")
        self._headers += (_checked(key, value),)

    def add_trailer(self, key: str, value: str | bytes) -> None:
        """Send ``key: value`` after the last response, or with the error; arguments as in `add_header`.

        Raises:
            ValueError: The key or the value cannot be sent.
        """
        self._trailers += (_checked(key, value),)

    def take_headers(self) -> tuple[Entry, ...]:
        """For fronts: the headers to send now; none can be added afterwards."""
        self._headers_sent = True
        return self._headers

    def trailers(self) -> tuple[Entry, ...]:
        """For fronts: the trailers added so far."""
        return self._trailers


def incoming_traceparent(metadata: Metadata) -> str:
    """The caller's W3C ``traceparent``; empty when it sent none that is well formed."""
    value = metadata.get("traceparent")
    return value if value and _TRACEPARENT.match(value) else ""


@lru_cache(maxsize=1024)
def normalise_peer(peer: str) -> str:
    """Write a peer the same way for every front: ``192.0.2.1:4711``, ``[2001:db8::1]:4711``, ``unix:/path``.

    Args:
        peer: As gRPC names it (``ipv4:192.0.2.1:4711``, ``ipv6:%5B::1%5D:4711``), or ``host:port``.
    """
    scheme, separator, rest = peer.partition(":")
    return unquote(rest) if separator and scheme in {"ipv4", "ipv6"} else peer


def _checked(key: str, value: str | bytes) -> Entry:
    if not _KEY.match(key) or key.startswith(("grpc-", "connect-")):
        raise ValueError(f"{key!r} is not a key that a handler may send")
    if key.endswith("-bin") is not isinstance(value, bytes):
        raise ValueError(f"the value of {key!r} must be {'bytes' if key.endswith('-bin') else 'text'}")
    if isinstance(value, str) and not _PRINTABLE.match(value):
        raise ValueError(f"the value of {key!r} must be printable ASCII")
    return key, value
