"""What the two HTTP protocols have in common: how a call's parts are written."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, Protocol

from google.protobuf.message import EncodeError, Message

from durachart.fronts.http_body import RequestBody
from durachart.rpc.context import CallContext, Entry
from durachart.rpc.context import Protocol as ProtocolName
from durachart.rpc.errors import internal
from durachart.rpc.service import Kind, Method
from durachart.rpc.status import RpcError

Header = tuple[bytes, bytes]


class Reply(NamedTuple):
    """A complete HTTP response.

    Attributes:
        status: HTTP status code.
        headers: Without ``content-length``.
        body: All of it.
    """

    status: int
    headers: list[Header]
    body: bytes


class Wire(Protocol):
    """One protocol in one encoding: everything that depends on the content type.

    Attributes:
        name: Of the protocol.
        content_type: Of responses.
        text: Whether bodies are base64.
    """

    name: ProtocolName
    content_type: str
    text: bool

    def takes(self, kind: Kind) -> bool:
        """Whether methods of this kind can be called this way."""

    def timeout(self, headers: dict[bytes, bytes]) -> float | None:
        """Seconds that the caller waits; None: for ever. Raises RpcError for a header that is no timeout."""

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raises RpcError when the headers ask for what is not supported, such as compression."""

    def limit(self, method: Method) -> int:
        """Most bytes of one encoded request."""

    def message(self, body: bytes, limit: int) -> bytes:
        """The one request of a whole body, of at most ``limit`` bytes. Raises RpcError."""

    def messages(self, body: RequestBody, limit: int) -> AsyncIterator[bytes]:
        """The requests of a body that streams, of at most ``limit`` bytes each. Raises RpcError."""

    def parse(self, method: Method, data: bytes) -> Message:
        """The request in ``data``. Raises RpcError."""

    def reply(self, ctx: CallContext, response: Message) -> Reply:
        """The one response of a call. Raises RpcError."""

    def refusal(self, error: RpcError, trailers: Sequence[Entry] = ()) -> Reply:
        """The error of a call that sent nothing yet."""

    def head(self, ctx: CallContext) -> list[Header]:
        """Headers of a stream's response, whose status is 200."""

    def frame(self, ctx: CallContext, response: Message) -> bytes:
        """One response of a stream. Raises RpcError."""

    def end(self, error: RpcError | None, trailers: Sequence[Entry]) -> bytes:
        """What closes a stream."""


def envelope(flags: int, data: bytes) -> bytes:
    """``data`` behind one byte of flags and four of length."""
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data


def serialised(response: Message, ctx: CallContext) -> bytes:
    """The bytes of a response; what cannot be written is an INTERNAL error."""
    try:
        return response.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise internal(error, ctx.method) from error


def http_headers(entries: Iterable[Entry], prefix: str = "") -> list[Header]:
    """Metadata as HTTP headers, binary values in base64 without padding."""
    return [((prefix + key).encode(), text_value(value).encode()) for key, value in entries]


def text_value(value: str | bytes) -> str:
    """A metadata value as text."""
    return value if isinstance(value, str) else unpadded(value)


def unpadded(data: bytes) -> str:
    """Base64 without padding, as both protocols write binary values."""
    return base64.b64encode(data).rstrip(b"=").decode()
