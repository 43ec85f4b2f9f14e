"""Header blocks: HPACK, and what the fields of a request mean.

Most requests of a client have the same fields, which HPACK writes as the same few bytes. So a block is looked
up before it is decoded: what it means depends on nothing but itself and the table, and is forgotten when the
table changes.

What is sent enters no table: gRPC's response headers are few, short, and made once.

Source: RFC 7541; RFC 9113, section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpack import Decoder, HPACKError

Header = tuple[bytes, bytes]

_REMEMBERED_BLOCKS = 256
# Of the decoded fields: a few bytes can stand for many.
_REMEMBERED_BYTES = 2_048
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_OF_A_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_NAME = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_NOT_IN_VALUES = frozenset(b"\0\r\n")
# RFC 7541, section 4.2.
_MOST_SIZE_UPDATES = 2
_STATUS_200 = b"\x88"
# What RFC 9113 adds for each field.
_FIELD_BYTES = 32
HARD_LIMIT_FACTOR = 4
"""How many times too large a request's fields may be to be refused without ending the connection."""


class BlockBroken(Exception):
    """The block cannot be decoded, or is too large: the connection's table is lost with it."""


class HeadTooLarge(Exception):
    """The fields are more than this side takes. The connection may go on."""


class RequestMalformed(Exception):
    """The fields are no request; the text says why. The connection may go on."""


@dataclass(slots=True)
class Head:
    """What a request says before its body. Requests whose blocks are the same share one.

    Attributes:
        method: ``POST``.
        path: As it was sent.
        fields: The others, in order, lower case; ``:authority`` as ``host``.
        content_type: ``b""``: none was sent.
        timeout: ``grpc-timeout``; None: none was sent.
        encoding: ``grpc-encoding``.
        content_length: None: none was sent.
        reading: What the application has made of it, so that it has to once; None: nothing yet.
    """

    method: bytes
    path: bytes
    fields: tuple[Header, ...]
    content_type: bytes
    timeout: bytes | None
    encoding: bytes
    content_length: int | None
    reading: Any = None


class HeaderReader:
    """Decodes the header blocks of one connection, in order.

    Args:
        max_list_bytes: Most bytes of the fields of a request, counted as RFC 9113 counts them. A larger one
            is refused; one that is much larger is not even decoded, and ends the connection.
    """

    def __init__(self, max_list_bytes: int) -> None:
        self._max_list_bytes = max_list_bytes
        self._decoder = Decoder(max_header_list_size=HARD_LIMIT_FACTOR * max_list_bytes)
        self._known: dict[bytes, Head] = {}

    def request(self, block: bytes) -> Head:
        """The head of a request.

        Raises:
            BlockBroken: The connection has to end.
            HeadTooLarge: The stream has to.
            RequestMalformed: The stream has to.
        """
        head = self._known.get(block)
        if head is not None:
            return head
        fields, unchanged = self._decode(block)
        # Decoded in any case: the table must go with the peer's.
        if sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields) > self._max_list_bytes:
            raise HeadTooLarge
        head = _head(fields)
        if (
            unchanged
            and len(self._known) < _REMEMBERED_BLOCKS
            and len(block) + sum(len(name) + len(value) for name, value in fields) <= _REMEMBERED_BYTES
        ):
            self._known[block] = head
        return head

    def trailers(self, block: bytes) -> None:
        """Read what follows a body; its fields are dropped. Raises as `request`."""
        fields, _ = self._decode(block)
        for name, value in fields:
            if name.startswith(b":"):
                raise RequestMalformed("a pseudo-header stands in the trailers")
            _check(name, value)

    def _decode(self, block: bytes) -> tuple[list[Header], bool]:
        """The fields, and whether the table is as it was."""
        if _size_updates(block) > _MOST_SIZE_UPDATES:
            raise BlockBroken("the block changes the size of the table too often")
        table = self._decoder.header_table
        entries = table.dynamic_entries
        newest, count, size = (entries[0] if entries else None), len(entries), table.maxsize
        try:
            # Subclasses of tuple come out, each with a flag that does not matter here.
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, IndexError, ValueError) as error:
            raise BlockBroken(str(error)) from error
        entries = table.dynamic_entries
        # What enters the table comes first in it, and is an entry of its own.
        unchanged = (
            len(entries) == count and (entries[0] if entries else None) is newest and table.maxsize == size
        )
        if not unchanged:
            self._known.clear()
        return fields, unchanged


def _size_updates(block: bytes) -> int:
    """How many changes of the table's size a block begins with: each is one byte, and as slow as a field."""
    count = at = 0
    while block[at : at + 1] and block[at] & 0xE0 == 0x20:
        count += 1
        continues = block[at] & 0x1F == 0x1F
        at += 1
        while continues and at < len(block):
            continues = block[at] >= 0x80
            at += 1
    return count


def _head(fields: Sequence[Header]) -> Head:
    pseudo: dict[bytes, bytes] = {}
    others: list[Header] = []
    content_type, timeout, encoding, length = b"", None, b"identity", None
    for name, value in fields:
        if name.startswith(b":"):
            if others or name in pseudo or name not in _PSEUDO:
                raise RequestMalformed("a pseudo-header is unknown, repeated, or not in front")
            if not _NOT_IN_VALUES.isdisjoint(value):
                raise RequestMalformed("a pseudo-header's value has characters that it must not have")
            pseudo[name] = value
            continue
        _check(name, value)
        if name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            timeout = value
        elif name == b"grpc-encoding":
            encoding = value
        elif name == b"content-length":
            length = _length(value, length)
        others.append((name, value))
    if not pseudo.keys() >= _REQUIRED or not pseudo[b":path"]:
        raise RequestMalformed("a request needs :method, :scheme and :path")
    if (authority := pseudo.get(b":authority")) is not None:
        others.append((b"host", authority))
    return Head(pseudo[b":method"], pseudo[b":path"], tuple(others), content_type, timeout, encoding, length)


def _check(name: bytes, value: bytes) -> None:
    if not name or not _NAME.issuperset(name):
        raise RequestMalformed("a header's name has characters that it must not have")
    if not _NOT_IN_VALUES.isdisjoint(value):
        raise RequestMalformed("a header's value has characters that it must not have")
    if name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
        raise RequestMalformed("a header belongs to HTTP/1.1")


def _length(value: bytes, before: int | None) -> int:
    if not value.isdigit() or len(value) > 18 or before not in {None, int(value)}:
        raise RequestMalformed("content-length is no length")
    return int(value)


def response_block(fields: Sequence[Header]) -> bytes:
    """The block of a response with status 200."""
    return _STATUS_200 + trailer_block(fields)


def trailer_block(fields: Sequence[Header]) -> bytes:
    """The block of trailers: literals that enter no table, without Huffman coding."""
    return b"".join(
        b"\0" + _string_length(len(name)) + name + _string_length(len(value)) + value
        for name, value in fields
    )


def status_block(status: int) -> bytes:
    """The block of a response that is no gRPC, with this three-digit status and nothing else."""
    # The name stands at index 8 of the static table.
    return b"\x08\x03" + str(status).encode()


def _string_length(size: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if size < 0x7F:
        return bytes((size,))
    made, size = bytearray(b"\x7f"), size - 0x7F
    while size >= 0x80:
        made.append(size & 0x7F | 0x80)
        size >>= 7
    made.append(size)
    return bytes(made)
