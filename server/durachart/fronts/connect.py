"""Connect: unary calls as plain HTTP with JSON or protobuf bodies, streams as length-prefixed messages.

A unary error is an HTTP error with a JSON body; a stream always answers 200 and ends with a message, flagged
0x02, that says how. What makes it worth having is `curl`.

Source: the Connect protocol reference, connectrpc.com/docs/protocol.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from durachart.fronts.http_body import Envelopes, RequestBody, only_message
from durachart.fronts.wire import (
    Header,
    Reply,
    envelope,
    http_headers,
    serialised,
    text_value,
    unpadded,
)
from durachart.rpc.context import CallContext, Entry, Protocol
from durachart.rpc.errors import internal, invalid_header, malformed_message, unsupported_compression
from durachart.rpc.service import Kind, Method
from durachart.rpc.status import Code, RpcError

_END = 0x02
_TIMEOUT_MS = re.compile(rb"[0-9]{1,10}\Z")
_HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


class Connect:
    """The Connect protocol in one encoding of messages, for calls or for streams.

    Args:
        json_messages: JSON instead of protobuf.
        streams: For methods that stream; else for unary ones.
    """

    name: Protocol = "connect"
    text = False

    def __init__(self, *, json_messages: bool, streams: bool) -> None:
        self._json = json_messages
        self._streams = streams
        self.content_type = (
            f"application/{'connect+' if streams else ''}{'json' if json_messages else 'proto'}"
        )

    def takes(self, kind: Kind) -> bool:
        """Unary methods one way, the others the other way."""
        return (kind != "unary") is self._streams

    def timeout(self, headers: dict[bytes, bytes]) -> float | None:
        """Seconds of ``connect-timeout-ms``."""
        value = headers.get(b"connect-timeout-ms")
        if value is None:
            return None
        if not _TIMEOUT_MS.match(value):
            raise invalid_header("connect-timeout-ms", "must be 1 to 10 digits")
        return int(value) / 1000

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Refuse compressed requests, and versions of the protocol other than 1."""
        for name in (b"content-encoding", b"connect-content-encoding"):
            value = headers.get(name, b"identity")
            if value.lower() != b"identity":
                raise unsupported_compression(value.decode("latin-1"))
        if headers.get(b"connect-protocol-version", b"1") != b"1":
            raise invalid_header("connect-protocol-version", "must be 1")

    def limit(self, method: Method) -> int:
        """The method's bound; twice as much for JSON, which escapes a document inside a string."""
        return method.max_request_bytes * (2 if self._json else 1)

    def message(self, body: bytes, limit: int) -> bytes:
        """The body itself; for a stream the one length-prefixed message there must be."""
        return only_message(body, limit) if self._streams else body

    def messages(self, body: RequestBody, limit: int) -> AsyncIterator[bytes]:
        """Each length-prefixed message."""
        return Envelopes(body, limit).each()

    def parse(self, method: Method, data: bytes) -> Message:
        """The request in ``data``.

        A JSON field that is not in the contract is refused: it may be a misspelt condition.
        """
        if not self._json:
            return method.parse(data)
        if not data.lstrip().startswith(b"{"):
            raise malformed_message("the body is not a JSON object; send at least {}")
        try:
            return json_format.Parse(data, method.request_type())
        except (json_format.ParseError, ValueError, RecursionError) as error:
            text = " ".join(str(error).split())
            raise malformed_message(f"the body is not the JSON of this request: {text}") from error

    def reply(self, ctx: CallContext, response: Message) -> Reply:
        """The message as the whole body; for a stream of requests one length-prefixed message and the end."""
        if self._streams:
            frame = self.frame(ctx, response)
            return Reply(200, self.head(ctx), frame + self.end(None, ctx.trailers()))
        body = self._encoded(ctx, response)
        return Reply(200, self.head(ctx) + http_headers(ctx.trailers(), "trailer-"), body)

    def refusal(self, error: RpcError, trailers: Sequence[Entry] = ()) -> Reply:
        """An HTTP error with a JSON body; for a stream, an end without messages."""
        if self._streams:
            return Reply(200, [(b"content-type", self.content_type.encode())], self.end(error, trailers))
        headers = [(b"content-type", b"application/json"), *http_headers(trailers, "trailer-")]
        return Reply(_HTTP_STATUS.get(error.code, 500), headers, orjson.dumps(_error(error)))

    def head(self, ctx: CallContext) -> list[Header]:
        """Content type and the handler's headers."""
        return [(b"content-type", self.content_type.encode()), *http_headers(ctx.take_headers())]

    def frame(self, ctx: CallContext, response: Message) -> bytes:
        """One length-prefixed message."""
        return envelope(0, self._encoded(ctx, response))

    def end(self, error: RpcError | None, trailers: Sequence[Entry]) -> bytes:
        """The last message: the error, if any, and the handler's trailers."""
        said: dict[str, Any] = {}
        if error is not None:
            said["error"] = _error(error)
        metadata: dict[str, list[str]] = {}
        for key, value in trailers:
            metadata.setdefault(key, []).append(text_value(value))
        if metadata:
            said["metadata"] = metadata
        return envelope(_END, orjson.dumps(said))

    def _encoded(self, ctx: CallContext, response: Message) -> bytes:
        if not self._json:
            return serialised(response, ctx)
        try:
            return orjson.dumps(json_format.MessageToDict(response))
        except (orjson.JSONEncodeError, json_format.SerializeToJsonError, ValueError) as error:
            raise internal(error, ctx.method) from error


def _error(error: RpcError) -> dict[str, Any]:
    details = [
        {
            "type": detail.DESCRIPTOR.full_name,
            "value": unpadded(detail.SerializeToString()),
            "debug": json_format.MessageToDict(detail),
        }
        for detail in error.details
    ]
    return {"code": error.code.name.lower(), "message": error.message, "details": details}
