"""A traced command's wait, transition and commit are spans of its caller's trace; others make none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from durachart.runtime.commands import Caller
from durachart.runtime.errors import EventNotAllowed
from durachart.store.interface import Store
from tests.store.runtimes import serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def _caller(flags: str) -> Caller:
    return Caller("ada", f"00-{TRACE}-{PARENT}-{flags}")


async def _spans(make_store: Callable[[], Store], caller: Caller, event: str) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with serving(make_store, tracer=provider.get_tracer("test")) as service:
        await service.create(request_id="made once")
        with suppress(EventNotAllowed):
            await asyncio.gather(service.send(event, caller=caller), service.send("TELL"))
    provider.shutdown()
    return list(exporter.get_finished_spans())


async def test_a_traced_command_has_three_spans_under_its_callers(make_store: Callable[[], Store]) -> None:
    spans = await _spans(make_store, _caller("01"), "ADD")
    assert [span.name for span in spans] == ["durachart.queue", "durachart.transition", "durachart.commit"]
    for span in spans:
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}" == TRACE
        assert f"{span.parent.span_id:016x}" == PARENT
    waited, transition, commit = spans
    assert waited.start_time is not None
    assert waited.end_time == transition.start_time
    assert transition.end_time is not None
    assert commit.start_time is not None
    assert waited.start_time <= transition.end_time <= commit.start_time
    attributes = dict(transition.attributes or {})
    assert attributes["durachart.machine.id"] == "job"
    assert attributes["durachart.instance.version"] == 1
    assert dict(commit.attributes or {}) == {
        "db.system.name": make_store().system,
        "db.operation.name": "COMMIT",
        "db.operation.batch.size": 2,
    }


async def test_a_refusal_is_an_error_of_the_transition_by_its_reason(make_store: Callable[[], Store]) -> None:
    spans = await _spans(make_store, _caller("01"), "PAID")
    transition = spans[1]
    assert not transition.status.is_ok
    assert dict(transition.attributes or {})["error.type"] == "EVENT_NOT_ALLOWED"


async def test_what_the_caller_does_not_sample_is_not_traced(make_store: Callable[[], Store]) -> None:
    assert await _spans(make_store, _caller("00"), "ADD") == []
    assert await _spans(make_store, Caller("ada"), "ADD") == []
