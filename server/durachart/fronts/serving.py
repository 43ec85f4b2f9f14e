"""Every front in one context: started together, drained together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from durachart.fronts.address import Address
from durachart.fronts.cors import Cors
from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.fronts.web_front import WebApp
from durachart.rpc.service import Service

_UNWIND_S = 5.0


class Addresses(NamedTuple):
    """Where the fronts really listen.

    Attributes:
        grpc: The gRPC front; None when it is off.
        http: The gRPC-Web and Connect front; None when it is off.
    """

    grpc: Address | None
    http: Address | None


@asynccontextmanager
async def serving(
    service: Service,
    *,
    grpc: GrpcSettings | None,
    http: HttpSettings | None,
    drain_grace_s: float = 10.0,
) -> AsyncIterator[Addresses]:
    """Serve ``service`` on the fronts that are given.

    On leaving, new calls are refused and streams are told to end while the fronts still answer; calls under
    way get ``drain_grace_s`` seconds; then the fronts stop.

    Args:
        service: What is served.
        grpc: None: no gRPC front.
        http: None: no HTTP front.
        drain_grace_s: Seconds, >= 0.

    Raises:
        CannotListen: A port is in use, or an address cannot be had; nothing is left running.
    """
    try:
        async with (
            _grpc(service, grpc) as grpc_address,
            _http(service, http, grpc_address) as http_address,
        ):
            try:
                yield Addresses(grpc_address, http_address)
            finally:
                await service.drain(drain_grace_s)
    finally:
        # What the fronts cut when they stopped is still unwinding; what it uses must outlive it.
        await service.drain(_UNWIND_S)


@asynccontextmanager
async def _grpc(service: Service, settings: GrpcSettings | None) -> AsyncIterator[Address | None]:
    if settings is None:
        yield None
        return
    async with serve_grpc(service, settings) as address:
        yield address


@asynccontextmanager
async def _http(
    service: Service, settings: HttpSettings | None, grpc: Address | None
) -> AsyncIterator[Address | None]:
    if settings is None:
        yield None
        return
    about = {"grpc": str(grpc)} if grpc else {}
    app = WebApp(service, Cors(settings.cors_origins), about, settings.stalled_s)
    async with serve_http(app, settings) as address:
        yield address
