"""The gRPC front, by whichever server the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from durachart.fronts.address import Address
from durachart.fronts.grpc_app import GrpcApp
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.fronts.grpcio_front import serve_grpcio
from durachart.fronts.http2.server import Http2Settings, serve_http2
from durachart.fronts.http2.settings import ConnectionSettings
from durachart.rpc.service import Service


@asynccontextmanager
async def serve_grpc(service: Service, settings: GrpcSettings) -> AsyncIterator[Address]:
    """Serve ``service`` over gRPC for as long as the context lasts.

    Yields:
        The address that is really listened on.

    Raises:
        CannotListen: The port is in use, or the address cannot be had.
    """
    if settings.server == "grpcio":
        async with serve_grpcio(service, settings) as address:
            yield address
    else:
        application = GrpcApp(service, settings.stalled_s)
        async with serve_http2(application, _http2(service, settings), "--listen") as address:
            yield address


def _http2(service: Service, settings: GrpcSettings) -> Http2Settings:
    largest = max((method.max_request_bytes for method in service.methods.values()), default=0)
    connection = ConnectionSettings(
        max_streams=settings.max_streams,
        # Two of the largest requests may be on their way without waiting for each other.
        connection_window=max(ConnectionSettings().connection_window, 3 * largest),
        # Time enough to be told why, for a reader that goes on after its stream was ended.
        unread_s=max(ConnectionSettings().unread_s, settings.stalled_s),
        keepalive_s=settings.keepalive_ms / 1000,
        keepalive_timeout_s=settings.keepalive_timeout_ms / 1000,
    )
    return Http2Settings(settings.address, settings.stop_grace_s, connection)
