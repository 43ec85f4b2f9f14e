"""An OTLP receiver: what an OpenTelemetry backend sees, taken from the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PATIENCE_S = 60


class Receiver(TraceServiceServicer):
    """Keeps every span it is sent.

    Attributes:
        address: Where it listens, ``127.0.0.1:PORT``.
        spans: So far, in order of arrival.
    """

    def __init__(self) -> None:
        self.address = ""
        self.spans: list[Span] = []
        self._came = asyncio.Condition()

    async def Export(  # noqa: N802 - gRPC's name
        self, request: ExportTraceServiceRequest, context: grpc.aio.ServicerContext
    ) -> ExportTraceServiceResponse:
        async with self._came:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans.extend(scope.spans)
            self._came.notify_all()
        return ExportTraceServiceResponse()

    async def wait_named(self, *names: str) -> list[Span]:
        """The spans once each of ``names`` has come."""
        async with asyncio.timeout(_PATIENCE_S), self._came:
            await self._came.wait_for(lambda: set(names) <= {span.name for span in self.spans})
            return list(self.spans)


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free loopback port."""
    receiver = Receiver()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(receiver, server)
    receiver.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(None)
