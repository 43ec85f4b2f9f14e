"""What gRPC and gRPC-Web write into headers and trailers alike: timeouts, and how a call ended.

Source: PROTOCOL-HTTP2 of gRPC.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import quote

from durachart.fronts.wire import Header, text_value, unpadded
from durachart.rpc.context import Entry
from durachart.rpc.errors import invalid_header
from durachart.rpc.status import RpcError

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# Everything that may stand in a header line but the percent sign itself.
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# Only short headers are remembered as text, so that what clients send cannot fill the memory.
_REMEMBERED_BYTES = 256


def timeout_s(value: bytes | None) -> float | None:
    """Seconds of ``grpc-timeout``; None: the caller waits for ever. Raises RpcError when it is none."""
    if value is None:
        return None
    match = _TIMEOUT.match(value)
    if match is None:
        raise invalid_header("grpc-timeout", "must be 1 to 8 digits and one of H M S m u n")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def status_lines(error: RpcError | None, trailers: Sequence[Entry]) -> list[tuple[str, str]]:
    """Status, message and details, then the handler's own trailers; ASCII."""
    lines = [("grpc-status", str(int(error.code) if error else 0))]
    if error is not None:
        lines.append(("grpc-message", quote(error.message, safe=_SAFE)))
        lines.append(("grpc-status-details-bin", unpadded(error.status().SerializeToString())))
    return lines + [(key, text_value(value)) for key, value in trailers]


def entries(headers: Iterable[Header]) -> list[Entry]:
    """Headers as metadata: values of keys in ``-bin`` as bytes, one entry for each.

    Raises:
        RpcError: INVALID_HEADER: such a value is not base64.
    """
    found: list[Entry] = []
    for name, value in headers:
        if name.endswith(b"-bin"):
            key = name.decode("latin-1")
            found += [(key, _from_base64(key, part.strip())) for part in value.decode("latin-1").split(",")]
        elif len(name) + len(value) <= _REMEMBERED_BYTES:
            found.append(_as_text(name, value))
        else:
            found.append((name.decode("latin-1"), value.decode("latin-1")))
    return found


@lru_cache(maxsize=1024)
def _as_text(name: bytes, value: bytes) -> tuple[str, str]:
    return name.decode("latin-1"), value.decode("latin-1")


def _from_base64(key: str, text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise invalid_header(key, "must be base64") from error
