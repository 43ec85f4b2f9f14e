"""Messages that a gRPC client has compressed, within bounds: a few bytes can stand for gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from durachart.rpc.errors import malformed_message, message_too_large, unsupported_compression

Inflate = Callable[[bytes, int], bytes]
"""Undoes one message's compression: its bytes, and the most that may come out of them."""

_GZIP_BITS = 16 + zlib.MAX_WBITS


def _inflate(data: bytes, limit: int, bits: int) -> bytes:
    inflating = zlib.decompressobj(bits)
    try:
        # One byte more than allowed tells what is too much from what is just enough.
        plain = inflating.decompress(data, limit + 1)
    except zlib.error as error:
        raise malformed_message("a compressed message cannot be decompressed") from error
    if len(plain) > limit:
        raise message_too_large(len(plain), limit)
    if not inflating.eof or inflating.unused_data:
        raise malformed_message("a compressed message does not end where it should")
    return plain


def _inflate_gzip(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, _GZIP_BITS)


def _inflate_zlib(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, zlib.MAX_WBITS)


# "deflate" is zlib's format (RFC 1950), as in HTTP.
_CODINGS: Mapping[bytes, Inflate | None] = {
    b"identity": None,
    b"gzip": _inflate_gzip,
    b"deflate": _inflate_zlib,
}
ACCEPTED = b"identity, deflate, gzip"
"""What may be sent here, as ``grpc-accept-encoding`` says it."""


def inflate_of(coding: bytes) -> Inflate | None:
    """What undoes ``grpc-encoding``; None: nothing has to be. Raises RpcError: it is not known."""
    try:
        return _CODINGS[coding.lower()]
    except KeyError:
        raise unsupported_compression(coding.decode("latin-1"), ACCEPTED.decode()) from None
