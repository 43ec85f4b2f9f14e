"""The span of an attempt: the root of a trace of its own, linked to the event that asked for the effect.

A link and not a child: an effect may run hours after the event's trace has ended, and again after that.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from durachart.runtime.effect_views import LeasedEffect

_PROPAGATOR = TraceContextTextMapPropagator()


def begin_span(tracer: Tracer, leased: LeasedEffect) -> Span:
    """Begin the span of one attempt; the caller ends it."""
    return tracer.start_span(
        f"effect {leased.type}",
        context=Context(),
        kind=SpanKind.CONSUMER,
        links=_links(leased.traceparent),
        attributes={
            "durachart.effect.id": leased.effect_id,
            "durachart.effect.type": leased.type,
            "durachart.effect.handler": leased.handler,
            "durachart.effect.attempt": leased.attempt,
            "durachart.namespace": leased.key.namespace,
            "durachart.machine.id": leased.key.machine_id,
            "durachart.machine.version": leased.machine_version,
            "durachart.instance.id": leased.key.instance_id,
        },
    )


def mark(span: Span, outcome: str, reason: str = "", message: str = "") -> None:
    """Say how the attempt ended.

    Args:
        span: The attempt's.
        outcome: ``completed``, ``retryable``, ``failed``, ``rejected``, ``cancelled`` or ``lost``.
        reason: Stable reason of a failure; empty when it did not fail.
        message: One sentence for people.
    """
    span.set_attribute("durachart.effect.outcome", outcome)
    if reason:
        span.set_attribute("error.type", reason)
        span.set_status(Status(StatusCode.ERROR, message))


def traceparent_of(span: Span) -> str:
    """W3C trace context of a span; empty when it is not recorded."""
    at = span.get_span_context()
    return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}" if at.is_valid else ""


def _links(traceparent: str) -> list[Link]:
    if not traceparent:
        return []
    asked = get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context()))
    at = asked.get_span_context()
    return [Link(at)] if at.is_valid else []
