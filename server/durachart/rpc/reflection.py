"""gRPC server reflection through the method table: what tools such as grpcurl ask to learn the contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2

from durachart.rpc.context import CallContext
from durachart.rpc.service import Method, methods_of

REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
# The messages of v1 are those of v1alpha under another name, equal on the wire; newer tools ask for v1 first.
NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class Reflection:
    """Answers what the descriptors of the served services say.

    Args:
        services: Full names to list.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._servicer: Any = reflection.aio.ReflectionServicer(service_names=(*services, *NAMES))  # type: ignore[no-untyped-call]

    def methods(self) -> list[Method]:
        """For the method table, once under each name that clients know."""
        return [method for name in NAMES for method in methods_of(REFLECTION, self, full_name=name)]

    async def server_reflection_info(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], ctx: CallContext
    ) -> AsyncGenerator[reflection_pb2.ServerReflectionResponse, None]:
        """One answer for each question, in order."""
        async for response in self._servicer.ServerReflectionInfo(requests, None):
            yield response
