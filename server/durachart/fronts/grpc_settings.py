"""How the gRPC front listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from durachart.fronts.address import GRPC_DEFAULT, Address

GrpcServer = Literal["own", "grpcio"]


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """How the gRPC front listens.

    Attributes:
        address: Where; port 0 lets the system choose.
        server: What speaks HTTP/2: ours, or ``grpcio`` for gRPC's own server in Python, which takes several
            times the processor time for a call.
        stop_grace_s: Seconds that calls under way get when the front stops; the core has drained them before.
        stalled_s: Seconds that a response of a stream may wait for its reader; then the stream is ended.
        keepalive_ms: How long a connection may be silent before it is probed, so that watches of vanished
            clients end; milliseconds.
        keepalive_timeout_ms: How long the answer to a probe may take; milliseconds.
        max_streams: Calls that one connection may have under way.
    """

    address: Address = GRPC_DEFAULT
    server: GrpcServer = "own"
    stop_grace_s: float = 1.0
    stalled_s: float = 60.0
    keepalive_ms: int = 60_000
    keepalive_timeout_ms: int = 20_000
    max_streams: int = 100_000
