"""grpc.health.v1.Health through the same method table, so that every front answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace

from grpc_health.v1 import health_pb2

from durachart.rpc.context import CallContext
from durachart.rpc.service import Method, methods_of
from durachart.rpc.status import Code, RpcError

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]


class Health:
    """Whether the server and each of its services take calls.

    All services share one status, because they run in one process on one store. The empty name stands for the
    whole server.

    Args:
        services: Full names of the services that are served.
        draining: Says whether the server shuts down; it then is NOT_SERVING.
    """

    def __init__(self, services: Iterable[str], draining: Callable[[], bool]) -> None:
        self._known = frozenset({"", *services})
        self._draining = draining

    def methods(self) -> list[Method]:
        """For the method table.

        A load balancer must get its NOT_SERVING, so Check and List answer while the server drains.
        """
        return [
            replace(method, serves_while_draining=method.kind == "unary")
            for method in methods_of(HEALTH, self)
        ]

    async def check(
        self, request: health_pb2.HealthCheckRequest, ctx: CallContext
    ) -> health_pb2.HealthCheckResponse:
        """The status of one service; NOT_FOUND when it is not served."""
        if request.service not in self._known:
            message = f"no service {request.service[:200]!r} is served here"
            raise RpcError(Code.NOT_FOUND, "SERVICE_UNKNOWN", message)
        return self._status()

    async def list(
        self, request: health_pb2.HealthListRequest, ctx: CallContext
    ) -> health_pb2.HealthListResponse:
        """The status of every service."""
        return health_pb2.HealthListResponse(statuses={name: self._status() for name in sorted(self._known)})

    async def watch(
        self, request: health_pb2.HealthCheckRequest, ctx: CallContext
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """The status now, and NOT_SERVING as the last word when the server shuts down.

        A name that is not served is SERVICE_UNKNOWN.
        """
        if request.service in self._known:
            ctx.farewell = self._status
            yield self._status()
        else:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        await asyncio.get_running_loop().create_future()

    def _status(self) -> health_pb2.HealthCheckResponse:
        status = health_pb2.HealthCheckResponse
        return status(status=status.NOT_SERVING if self._draining() else status.SERVING)
