"""gRPC-Web, binary and base64: what browsers speak where gRPC needs HTTP/2 trailers they cannot read.

A body is a series of length-prefixed messages; the last one, flagged 0x80, holds what gRPC would send as
trailers. Errors travel in it too, behind HTTP status 200.

Source: PROTOCOL-WEB of gRPC.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Callable, Sequence

from google.protobuf.message import Message

from durachart.fronts.grpc_headers import status_lines, timeout_s
from durachart.fronts.http_body import Envelopes, RequestBody, only_message
from durachart.fronts.wire import Header, Reply, envelope, http_headers, serialised
from durachart.rpc.context import CallContext, Entry, Protocol
from durachart.rpc.errors import malformed_message, unsupported_compression
from durachart.rpc.service import Kind, Method
from durachart.rpc.status import RpcError

_TRAILERS = 0x80
_BASE64_PIECE = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class GrpcWeb:
    """gRPC-Web in one of its two encodings.

    Args:
        text: Base64 instead of bytes.
    """

    name: Protocol = "grpc_web"

    def __init__(self, *, text: bool) -> None:
        self.text = text
        self.content_type = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
        self._ok = self._encoded(envelope(_TRAILERS, b"grpc-status:0\r\n"))

    def takes(self, kind: Kind) -> bool:
        """Methods of every kind; a browser can stream responses only."""
        return True

    def timeout(self, headers: dict[bytes, bytes]) -> float | None:
        """Seconds of ``grpc-timeout``."""
        return timeout_s(headers.get(b"grpc-timeout"))

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Refuse compressed requests."""
        for name in (b"grpc-encoding", b"content-encoding"):
            value = headers.get(name, b"identity")
            if value.lower() != b"identity":
                raise unsupported_compression(value.decode("latin-1"))

    def limit(self, method: Method) -> int:
        """The method's own bound: requests are not encoded further."""
        return method.max_request_bytes

    def message(self, body: bytes, limit: int) -> bytes:
        """The one length-prefixed message there must be."""
        return only_message(_base64_decoder()(body) if self.text else body, limit)

    def messages(self, body: RequestBody, limit: int) -> AsyncIterator[bytes]:
        """Each length-prefixed message."""
        return Envelopes(body, limit, _base64_decoder() if self.text else None).each()

    def parse(self, method: Method, data: bytes) -> Message:
        """The request in ``data``."""
        return method.parse(data)

    def reply(self, ctx: CallContext, response: Message) -> Reply:
        """Message and trailers in one body."""
        frame = self.frame(ctx, response)
        return Reply(200, self.head(ctx), frame + self.end(None, ctx.trailers()))

    def refusal(self, error: RpcError, trailers: Sequence[Entry] = ()) -> Reply:
        """Trailers alone, behind HTTP status 200."""
        headers = [(b"content-type", self.content_type.encode()), (b"grpc-accept-encoding", b"identity")]
        return Reply(200, headers, self.end(error, trailers))

    def head(self, ctx: CallContext) -> list[Header]:
        """Content type and the handler's headers."""
        return [(b"content-type", self.content_type.encode()), *http_headers(ctx.take_headers())]

    def frame(self, ctx: CallContext, response: Message) -> bytes:
        """One length-prefixed message."""
        return self._encoded(envelope(0, serialised(response, ctx)))

    def end(self, error: RpcError | None, trailers: Sequence[Entry]) -> bytes:
        """The trailers: status, message and details, then the handler's own."""
        if error is None and not trailers:
            return self._ok
        lines = "".join(f"{key}:{value}\r\n" for key, value in status_lines(error, trailers))
        return self._encoded(envelope(_TRAILERS, lines.encode("ascii")))

    def _encoded(self, data: bytes) -> bytes:
        return base64.b64encode(data) if self.text else data


def _base64_decoder() -> Callable[[bytes], bytes]:
    """Decodes base64 that arrives in any pieces; padding may stand wherever the sender flushed."""
    pending = b""

    def decode(chunk: bytes) -> bytes:
        nonlocal pending
        text = pending + chunk.translate(None, b"\r\n")
        whole = len(text) - len(text) % 4
        pending = text[whole:]
        pieces = _BASE64_PIECE.findall(text, 0, whole)
        if sum(map(len, pieces)) != whole:
            raise malformed_message("the body is not base64")
        try:
            return b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in pieces)
        except binascii.Error as error:
            raise malformed_message("the body is not base64") from error

    return decode
