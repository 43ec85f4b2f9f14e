"""Spans of what a command goes through here: its wait, its transition, its commit.

They are made after the fact, when the reply is ready, for commands whose caller is traced and sampled; a
command that is not costs one look at its traceparent.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from durachart.runtime.queue.batch import Ticket

QUEUE_SPAN: Final = "durachart.queue"
TRANSITION_SPAN: Final = "durachart.transition"
COMMIT_SPAN: Final = "durachart.commit"
_SAMPLED: Final = 0x01


def parent_of(traceparent: str) -> Context | None:
    """The context that makes spans children of a sampled ``traceparent``; None: there is nothing to trace."""
    parts = traceparent.split("-")
    if len(parts) < 4 or not int(parts[3], 16) & _SAMPLED:
        return None
    trace_id, span_id = int(parts[1], 16), int(parts[2], 16)
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(_SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(context))


class Tracing:
    """Makes the spans of commands."""

    def __init__(self, tracer: trace.Tracer, database: str) -> None:
        """Make them with ``tracer``; ``database`` is the kind of database that commits."""
        self._tracer = tracer
        self._database = database
        self.now_ns = time.time_ns

    def committed(self, tickets: Iterable[Ticket], began_ns: int, rows: int) -> None:
        """Report commands whose transaction, begun at ``began_ns``, is on disk with ``rows`` journal rows."""
        ended_ns = self.now_ns()
        for ticket in tickets:
            traceparent = ticket.caller.traceparent
            parent = parent_of(traceparent) if traceparent else None
            if parent is None or ticket.reply is None:
                continue
            key = ticket.key
            attributes = {
                "durachart.machine.id": key.machine_id,
                "durachart.instance.id": key.instance_id,
                "durachart.command": type(ticket.command).__name__,
            }
            judged_ns, decided_ns = ticket.judged_ns
            waited = self._tracer.start_span(
                QUEUE_SPAN, parent, attributes=attributes, start_time=ticket.queued_ns
            )
            waited.end(judged_ns)
            verdict = ticket.reply.verdict
            transition = self._tracer.start_span(
                TRANSITION_SPAN, parent, attributes=attributes, start_time=judged_ns
            )
            if verdict.seat.instance is not None:
                transition.set_attribute("durachart.instance.version", verdict.seat.instance.version)
            if verdict.error is not None:
                transition.set_attribute("error.type", verdict.error.reason)
                transition.set_status(Status(StatusCode.ERROR, verdict.error.message))
            transition.end(decided_ns)
            commit = self._tracer.start_span(
                COMMIT_SPAN,
                parent,
                kind=SpanKind.CLIENT,
                attributes={
                    "db.system.name": self._database,
                    "db.operation.name": "COMMIT",
                    "db.operation.batch.size": rows,
                },
                start_time=began_ns,
            )
            commit.end(ended_ns)
