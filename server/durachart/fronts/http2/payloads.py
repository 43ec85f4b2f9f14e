"""What is wrong with a connection, and payloads that padding and priorities are taken off."""

from __future__ import annotations

from durachart.fronts.http2 import frames as h2


class ConnectionBroken(Exception):
    """The peer breaks the protocol: the connection ends.

    Attributes:
        code: Of RFC 9113, section 7.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def block_of(flags: int, stream: int, payload: bytes) -> bytes:
    """A header block without padding and priority."""
    if flags & h2.PADDED:
        payload = unpadded(payload)
    if flags & h2.PRIORITISED:
        if len(payload) < 5:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "HEADERS end in their priority")
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "a stream depends on itself")
        payload = payload[5:]
    return payload


def unpadded(payload: bytes) -> bytes:
    """A payload without its padding."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionBroken(h2.PROTOCOL_ERROR, "there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]
