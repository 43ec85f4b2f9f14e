"""A server span for every call, the same on every front.

The contributed gRPC instrumentation works in interceptors, which gRPC-Web does not pass, and reports
cancelled streams wrongly; here the span is begun and ended by the core, so that it ends exactly once whatever
becomes of the call.

Attributes follow the semantic conventions of OpenTelemetry for RPC (``rpc.system.name``, ``rpc.method``,
``rpc.response.status_code``). The span is not made current: a handler hands ``CallContext.traceparent`` on,
because the work it causes happens in other tasks.
"""

from __future__ import annotations

from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from durachart import __version__
from durachart.rpc.context import CallContext
from durachart.rpc.status import Code

# What is the server's fault; of a server span's view, the other codes are answers.
_FAULTS = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
_PROPAGATOR = TraceContextTextMapPropagator()


class RpcTracing:
    """Begins and ends the spans of calls.

    Args:
        provider: Where the spans go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("durachart.rpc", __version__)

    def begin(self, ctx: CallContext) -> None:
        """Begin the span of ``ctx``, as a child of the caller's when the caller sent a trace context."""
        carrier = {key: ctx.metadata.get(key) for key in ("traceparent", "tracestate")}
        system = "connectrpc" if ctx.protocol == "connect" else "grpc"
        attributes: dict[str, str | int] = {"rpc.system.name": system, "rpc.method": ctx.method}
        host, _, port = ctx.peer.rpartition(":")
        if host and port.isdecimal():
            attributes["network.peer.address"] = host.strip("[]")
            attributes["network.peer.port"] = int(port)
        parent = _PROPAGATOR.extract({key: value for key, value in carrier.items() if value})
        span = self._tracer.start_span(
            ctx.method, context=parent, kind=SpanKind.SERVER, attributes=attributes
        )
        ctx.span = span
        at = span.get_span_context()
        if at.is_valid:
            ctx.traceparent = f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"

    def end(self, ctx: CallContext, code: Code, reason: str = "") -> None:
        """End the span of ``ctx``.

        Args:
            ctx: A context whose span was begun.
            code: How the call ended; CANCELLED when the caller went away.
            reason: Stable reason of a failure; empty when there is none.
        """
        span, ctx.span = ctx.span, None
        if span is None:
            return
        span.set_attribute("rpc.response.status_code", code.name)
        if code is not Code.OK:
            span.set_attribute("error.type", reason or code.name)
        if code in _FAULTS:
            span.set_status(Status(StatusCode.ERROR, reason or code.name))
        span.end()
