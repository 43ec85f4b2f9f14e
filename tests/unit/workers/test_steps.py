"""Recorded steps of the server's own handlers: done once, whoever makes the next attempt."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.trace import NoOpTracer

from durachart.runtime.errors import InvalidArgument
from durachart.workers.effect_worker import EffectWorker
from durachart.workers.errors import EffectFailure
from durachart.workers.handlers import Attempt
from tests.unit.workers.outbox import Outbox, Row, unavailable
from tests.virtual_time import in_virtual_time, wall_clock


class Handler:
    """Does what a test tells it to."""

    name = "test"
    concurrency = 4
    timeout_reason = "EFFECT_TIMEOUT"

    def __init__(self, run: Callable[[Attempt], Awaitable[object]]) -> None:
        self.run = run


async def ended(outbox: Outbox, run: Callable[[Attempt], Awaitable[object]], **row: Any) -> Row:
    """Run one effect to its end."""
    outbox.add(**row)
    async with EffectWorker(outbox, [Handler(run)], NoOpTracer(), now=wall_clock, jitter=lambda: 0).running():
        return await outbox.wait_end()


def counting(done: list[str]) -> Callable[[str], Callable[[], Awaitable[object]]]:
    def step(name: str) -> Callable[[], Awaitable[object]]:
        async def work() -> object:
            done.append(name)
            return {"did": name}

        return work

    return step


@in_virtual_time
async def test_a_completed_step_is_skipped_by_the_next_attempt_and_yields_the_same() -> None:
    """D3: a completed operation is skipped on retry."""
    outbox, done = Outbox(), list[str]()
    step = counting(done)

    async def run(attempt: Attempt) -> object:
        first = await attempt.step("charge", step("charge"))
        if attempt.number == 1:
            raise EffectFailure("BUSY", "Come back.", retryable=True)
        return [first, await attempt.step("ship", step("ship"))]

    row = await ended(outbox, run)
    assert done == ["charge", "ship"]
    assert row.finish is not None
    assert row.finish.output_json == '[{"did": "charge"}, {"did": "ship"}]'
    assert [(one.name, one.state, one.attempt) for one in row.steps.values()] == [
        ("charge", "completed", 1),
        ("ship", "completed", 2),
    ]


@in_virtual_time
async def test_a_step_that_fails_is_recorded_and_done_again() -> None:
    outbox, recorded = Outbox(), list[tuple[str, str, str]]()

    async def run(attempt: Attempt) -> object:
        steps = outbox.rows["e-1"].steps.values()
        recorded.extend((one.state, one.error_reason, one.error_message) for one in steps)

        async def charge() -> None:
            if attempt.number == 1:
                raise EffectFailure("BANK_AWAY", "No answer.", retryable=True)
            if attempt.number == 2:
                raise KeyError("password")

        return await attempt.step("charge", charge)

    row = await ended(outbox, run)
    assert recorded == [
        ("failed", "BANK_AWAY", "No answer."),
        ("failed", "HANDLER_FAILED", "The step 'charge' failed with KeyError."),
    ]
    assert row.finish is not None
    assert (row.finish.outcome, row.finish.output_json) == ("completed", "")


@in_virtual_time
async def test_a_record_is_asked_for_until_the_store_takes_it() -> None:
    outbox, done = Outbox(), list[str]()
    outbox.failures["record_step"] = [unavailable(), unavailable(), unavailable()]

    async def run(attempt: Attempt) -> object:
        return await attempt.step("charge", counting(done)("charge"))

    row = await ended(outbox, run)
    assert row.attempt == 1
    assert done == ["charge"]


@in_virtual_time
async def test_without_the_lease_nothing_is_done_and_nothing_is_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox, done = Outbox(), list[str]()
    caplog.set_level(logging.ERROR)

    async def run(attempt: Attempt) -> object:
        if attempt.number == 1:
            # Another worker has taken it over, and this one has not heard of it.
            row = outbox.rows["e-1"]
            row.token, row.scheduled_at = "theirs", wall_clock()
        return await attempt.step("charge", counting(done)("charge"))

    row = await ended(outbox, run)
    assert row.attempt == 2
    assert done == ["charge"]
    assert caplog.records == [], "a lease that is lost is nobody's mistake"


@in_virtual_time
async def test_a_name_used_twice_and_an_output_that_is_no_json_are_mistakes_of_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for names, output, said in ((("a", "a"), 1, "used twice"), (("a",), {1}, "not JSON serializable")):
        outbox = Outbox()

        async def run(attempt: Attempt, names: Any = names, output: Any = output) -> object:
            async def work() -> object:
                return output

            for name in names:
                await attempt.step(name, work)
            return None

        row = await ended(outbox, run)
        assert row.finish is not None
        assert row.finish.error is not None
        assert row.finish.error.reason == "HANDLER_FAILED"
        assert said in caplog.text


@in_virtual_time
async def test_what_the_store_refuses_fails_the_attempt() -> None:
    outbox = Outbox()
    outbox.failures["record_step"] = [InvalidArgument("step.name", "too many steps")] * 3

    async def run(attempt: Attempt) -> object:
        return await attempt.step("charge", counting([])("charge"))

    row = await ended(outbox, run)
    assert row.finish is not None
    assert row.finish.outcome == "failed"
