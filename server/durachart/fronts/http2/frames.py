"""Frames as bytes. Source: RFC 9113, sections 4, 6 and 7."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

LARGEST_WINDOW: Final = 2**31 - 1
LEAST_FRAME_BYTES: Final = 16_384
MOST_FRAME_BYTES: Final = 2**24 - 1
DEFAULT_WINDOW: Final = 65_535
HEAD_BYTES: Final = 9

# Length in three bytes, as two and one; kind; flags; stream.
_HEAD = Struct(">HBBBL")
read_head = _HEAD.unpack_from
_pack_head = _HEAD.pack
_SETTING = Struct(">HL")
_WORD = Struct(">L")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _pack_head(size >> 8, size & 0xFF, kind, flags, stream) + payload


def headers(flags: int, stream: int, block: bytes) -> bytes:
    """A HEADERS frame, with CONTINUATION frames when the block is larger than what every peer takes."""
    if len(block) <= LEAST_FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[at : at + LEAST_FRAME_BYTES] for at in range(0, len(block), LEAST_FRAME_BYTES)]
    between = b"".join(frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1])
    return (
        frame(HEADERS, flags, stream, pieces[0])
        + between
        + frame(CONTINUATION, END_HEADERS, stream, pieces[-1])
    )


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a payload whose length is a multiple of six, in order."""
    return [(int(name), int(value)) for name, value in _SETTING.iter_unpack(payload)]


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; ``increment`` >= 1."""
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last_stream: int, code: int, why: str = "") -> bytes:
    """A GOAWAY frame; ``why`` is for people."""
    return frame(GOAWAY, 0, 0, _WORD.pack(last_stream) + _WORD.pack(code) + why.encode())
