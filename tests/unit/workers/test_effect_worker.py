"""The effect worker: at least once, fenced, stopped at once, and never lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from opentelemetry.trace import NoOpTracer

from durachart.definitions.effect_spec import RetryPolicy
from durachart.runtime.commands import SYSTEM_ACTOR
from durachart.runtime.errors import InvalidArgument
from durachart.workers.effect_worker import EffectWorker, EffectWorkerSettings
from durachart.workers.errors import EffectFailure, EffectRejected
from durachart.workers.handlers import Attempt, EffectHandler
from tests.unit.workers.outbox import KEY, Outbox, unavailable
from tests.virtual_time import in_virtual_time, settle, wall_clock

Run = Callable[[Attempt], Awaitable[object]]


class Handler:
    """Runs what the test says, and knows what goes on."""

    timeout_reason = "TEST_TIMEOUT"

    def __init__(self, run: Run, name: str = "test", concurrency: int = 4) -> None:
        self._run = run
        self.name = name
        self.concurrency = concurrency
        self.attempts: list[Attempt] = []
        self.aborted: list[int] = []
        self.now = 0
        self.most = 0

    async def run(self, attempt: Attempt) -> object:
        self.attempts.append(attempt)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._run(attempt)
        except asyncio.CancelledError:
            self.aborted.append(attempt.number)
            raise
        finally:
            self.now -= 1


async def forever(attempt: Attempt) -> object:
    return await asyncio.Event().wait()


async def answer(attempt: Attempt) -> object:
    return {"answer": 42}


def failing(*failures: Exception) -> Run:
    left = list(failures)

    async def run(attempt: Attempt) -> object:
        if left:
            raise left.pop(0)
        return "ok"

    return run


@asynccontextmanager
async def working(
    outbox: Outbox, *handlers: EffectHandler, jitter: float = 1.0, **settings: Any
) -> AsyncIterator[EffectWorker]:
    worker = EffectWorker(
        outbox,
        handlers,
        NoOpTracer(),
        EffectWorkerSettings(**settings),
        now=wall_clock,
        jitter=lambda: jitter,
        holder="me",
    )
    async with worker.running():
        yield worker


@in_virtual_time
async def test_an_effect_is_run_as_soon_as_it_is_committed_and_its_output_finishes_it() -> None:
    outbox, handler = Outbox(), Handler(answer)
    async with working(outbox, handler):
        await settle()
        outbox.add(params={"x": [1, None, "é"]})
        row = await outbox.wait_end()
        assert asyncio.get_running_loop().time() == 0
    [attempt] = handler.attempts
    assert (attempt.key, attempt.effect_id, attempt.type, attempt.number) == (KEY, "e-1", "act", 1)
    assert attempt.params == {"x": [1, None, "é"]}
    assert row.finish is not None
    assert (row.finish.outcome, row.finish.output_json) == ("completed", '{"answer": 42}')
    assert row.caller is not None
    assert row.caller.actor == SYSTEM_ACTOR


@in_virtual_time
async def test_no_output_is_no_output() -> None:
    outbox = Outbox()
    outbox.add()
    async with working(outbox, Handler(lambda attempt: asyncio.sleep(0))):
        row = await outbox.wait_end()
    assert row.finish is not None
    assert row.finish.output_json == ""


@in_virtual_time
async def test_a_scheduled_effect_is_begun_when_its_time_comes() -> None:
    outbox = Outbox()
    outbox.add(delay_s=7.25)
    async with working(outbox, Handler(answer)):
        row = await outbox.wait_end()
    assert row.begun_at == [pytest.approx(7.25, abs=0.002)]
    assert row.begun_at[0] >= 7.25


@in_virtual_time
async def test_a_missed_ring_costs_no_more_than_the_poll_interval() -> None:
    outbox = Outbox()
    async with working(outbox, Handler(answer), poll_ms=10_000):
        await settle()
        outbox.add()
        outbox._bell.clear()
        row = await outbox.wait_end()
    assert row.begun_at[0] <= 10


@in_virtual_time
async def test_a_failure_is_retried_with_growing_jittered_waits_until_it_succeeds() -> None:
    outbox = Outbox()
    flaky = failing(*[EffectFailure("BUSY", "It is busy.", retryable=True) for _ in range(3)])
    outbox.add(retry=RetryPolicy(max_attempts=5, initial_backoff_ms=1000, max_backoff_ms=3000))
    async with working(outbox, Handler(flaky), jitter=0.5):
        row = await outbox.wait_end()
    assert row.finish is not None
    assert row.finish.outcome == "completed"
    # 1000, 2000 and 3000 (bounded) ms, of which half is random.
    assert [retry.delay_ms for retry in row.retries] == [750, 1500, 2250]
    assert [retry.error.reason for retry in row.retries] == ["BUSY"] * 3
    assert row.begun_at == pytest.approx([0, 0.75, 2.25, 4.5], abs=0.01)


@in_virtual_time
async def test_the_other_side_s_wish_to_wait_is_kept_to_within_the_policy() -> None:
    outbox = Outbox()
    slow_down = [
        EffectFailure("BUSY", "Later.", retryable=True, retry_after_s=5),
        EffectFailure("BUSY", "Much later.", retryable=True, retry_after_s=500),
    ]
    outbox.add(retry=RetryPolicy(max_attempts=3, initial_backoff_ms=100, max_backoff_ms=20_000))
    async with working(outbox, Handler(failing(*slow_down))):
        row = await outbox.wait_end()
    assert [retry.delay_ms for retry in row.retries] == [5000, 20_000]


@pytest.mark.parametrize(
    ("policy", "failure", "outcome"),
    [
        (RetryPolicy(max_attempts=1), EffectFailure("BUSY", "Busy.", retryable=True), "failed"),
        (RetryPolicy(non_retryable=("BUSY",)), EffectFailure("BUSY", "Busy.", retryable=True), "failed"),
        (RetryPolicy(), EffectFailure("BROKEN", "Broken.", retryable=False), "failed"),
        (RetryPolicy(), EffectRejected("PARAMS_INVALID", "No such thing."), "rejected"),
    ],
)
def test_what_cannot_get_better_fails_for_good(
    policy: RetryPolicy, failure: EffectFailure, outcome: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        outbox = Outbox()
        outbox.add(retry=policy)
        async with working(outbox, Handler(failing(failure))):
            row = await outbox.wait_end()
        assert row.attempt == 1
        assert row.finish is not None
        assert row.finish.outcome == outcome
        assert row.finish.error == (failure.reason, failure.message)

    run()


@in_virtual_time
async def test_the_last_attempt_s_failure_is_the_effect_s() -> None:
    outbox = Outbox()
    failures = [EffectFailure(f"TRY_{n}", "No.", retryable=True) for n in range(1, 4)]
    outbox.add(retry=RetryPolicy(max_attempts=3))
    async with working(outbox, Handler(failing(*failures))):
        row = await outbox.wait_end()
    assert row.attempt == 3
    assert row.finish is not None
    assert row.finish.error is not None
    assert row.finish.error.reason == "TRY_3"


@in_virtual_time
async def test_a_handler_s_defect_is_logged_under_an_id_and_tells_no_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox = Outbox()
    outbox.add("e-1", retry=RetryPolicy(max_attempts=1))
    outbox.add("e-2")
    async with working(outbox, Handler(failing(KeyError("token=hunter2")))):
        broken = await outbox.wait_end("e-1")
        fine = await outbox.wait_end("e-2")
    assert broken.finish is not None
    assert broken.finish.error is not None
    assert broken.finish.error.reason == "HANDLER_FAILED"
    assert "hunter2" not in broken.finish.error.message
    error_id = broken.finish.error.message.rstrip(".").rpartition(" ")[2]
    assert f"error_id={error_id}" in caplog.text
    assert "hunter2" in caplog.text
    assert fine.finish is not None
    assert fine.finish.outcome == "completed"


@pytest.mark.parametrize("output", [float("nan"), object(), {1: {2, 3}}])
def test_an_output_that_is_no_json_is_the_handler_s_defect(output: object) -> None:
    @in_virtual_time
    async def run() -> None:
        async def give(attempt: Attempt) -> object:
            return output

        outbox = Outbox()
        outbox.add(retry=RetryPolicy(max_attempts=1))
        async with working(outbox, Handler(give)):
            row = await outbox.wait_end()
        assert row.finish is not None
        assert row.finish.error is not None
        assert row.finish.error.reason == "HANDLER_FAILED"

    run()


@in_virtual_time
async def test_a_handler_that_cancels_itself_has_failed() -> None:
    async def give_up(attempt: Attempt) -> object:
        raise asyncio.CancelledError

    outbox = Outbox()
    outbox.add(retry=RetryPolicy(max_attempts=1))
    async with working(outbox, Handler(give_up)):
        row = await outbox.wait_end()
    assert row.finish is not None
    assert row.finish.error is not None
    assert row.finish.error.reason == "HANDLER_FAILED"


@in_virtual_time
async def test_an_attempt_that_takes_too_long_is_aborted_and_retried() -> None:
    outbox, handler = Outbox(), Handler(forever)
    outbox.add(timeout_ms=5000, retry=RetryPolicy(max_attempts=2, initial_backoff_ms=1000))
    async with working(outbox, handler):
        row = await outbox.wait_end()
    assert handler.aborted == [1, 2]
    assert row.begun_at == pytest.approx([0, 6], abs=0.01)
    assert row.finish is not None
    assert row.finish.error is not None
    assert row.finish.error == ("TEST_TIMEOUT", "The attempt was given 5,000 ms and took longer.")


@in_virtual_time
async def test_a_result_that_comes_while_the_time_out_aborts_is_kept() -> None:
    async def last_moment(attempt: Attempt) -> object:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "made it"

    outbox = Outbox()
    outbox.add(timeout_ms=1000)
    async with working(outbox, Handler(last_moment)):
        row = await outbox.wait_end()
    assert row.finish is not None
    assert row.finish.output_json == '"made it"'


@in_virtual_time
async def test_a_stop_reaches_the_handler_at_once_and_commits_nothing() -> None:
    outbox, handler = Outbox(), Handler(forever)
    row = outbox.add()
    async with working(outbox, handler):
        await settle()
        assert handler.now == 1
        outbox.cancel()
        await settle()
        assert handler.aborted == [1]
        assert asyncio.get_running_loop().time() == 0
    assert row.state == "cancelled"
    assert row.finish is None
    assert row.retries == []


@in_virtual_time
async def test_a_stop_committed_while_the_lease_is_on_its_way_is_not_missed() -> None:
    outbox, handler = Outbox(), Handler(forever)
    leased = outbox.lease_effects

    async def lease_slowly(handlers: Sequence[str], **options: Any) -> Any:
        effects = await leased(handlers, **options)
        if effects:
            outbox.cancel()
        return effects

    outbox.lease_effects = lease_slowly  # type: ignore[method-assign]
    outbox.add()
    async with working(outbox, handler) as worker:
        await settle()
        assert worker.attempts == 0
        assert handler.now == 0


@in_virtual_time
async def test_a_stop_that_wins_against_the_completion_drops_the_result() -> None:
    outbox, handler = Outbox(), Handler(answer)
    finish = outbox.finish_effect

    async def finish_late(*arguments: Any) -> None:
        outbox.cancel()
        await finish(*arguments)

    outbox.finish_effect = finish_late  # type: ignore[method-assign]
    row = outbox.add()
    async with working(outbox, handler) as worker:
        await outbox.wait_end()
        await settle()
        assert worker.attempts == 0
    assert row.state == "cancelled"
    assert row.finish is None


@in_virtual_time
async def test_a_long_attempt_keeps_its_lease() -> None:
    async def slow(attempt: Attempt) -> object:
        await asyncio.sleep(100)
        return "done"

    outbox = Outbox()
    outbox.add(timeout_ms=200_000)
    async with working(outbox, Handler(slow), lease_ms=15_000):
        row = await outbox.wait_end()
    assert row.attempt == 1
    # Three times per lease, no more.
    assert outbox.calls.count("extend_lease") == pytest.approx(20, abs=1)


@in_virtual_time
async def test_failing_heartbeats_do_not_stop_an_attempt_that_still_has_its_lease() -> None:
    async def slow(attempt: Attempt) -> object:
        await asyncio.sleep(14)
        return "done"

    outbox = Outbox()
    outbox.failures["extend_lease"] = [unavailable(), unavailable()]
    outbox.add()
    async with working(outbox, Handler(slow), lease_ms=15_000):
        row = await outbox.wait_end()
    assert row.attempt == 1


@in_virtual_time
async def test_a_lease_taken_by_another_worker_aborts_the_handler() -> None:
    outbox, handler = Outbox(), Handler(forever)
    row = outbox.add()
    async with working(outbox, handler, lease_ms=15_000):
        await settle()
        row.token, row.attempt = "another's", 2
        await asyncio.sleep(6)
        assert handler.aborted == [1]
    assert row.state == "running"
    assert row.retries == []


@in_virtual_time
async def test_an_effect_whose_process_died_is_taken_over_when_its_lease_runs_out() -> None:
    outbox = Outbox()
    row = outbox.add(delay_s=12)
    row.state, row.attempt, row.token, row.holder = "running", 1, "e-1.1", "a dead process"
    async with working(outbox, Handler(answer)):
        await outbox.wait_end()
    assert row.begun_at == pytest.approx([12], abs=0.01)
    assert (row.attempt, row.state, row.holder) == (2, "completed", "me")


@in_virtual_time
async def test_a_worker_that_takes_over_its_own_lapsed_lease_aborts_the_older_attempt() -> None:
    async def second_time(attempt: Attempt) -> object:
        return await forever(attempt) if attempt.number == 1 else "done"

    outbox, handler = Outbox(), Handler(second_time)
    outbox.failures["extend_lease"] = [unavailable() for _ in range(4)]
    outbox.add()
    async with working(outbox, handler, lease_ms=15_000) as worker:
        row = await outbox.wait_end()
        await settle()
        assert worker.attempts == 0
    assert handler.aborted == [1]
    assert row.finish is not None
    assert (row.finish.lease_token, row.finish.output_json) == ("e-1.2", '"done"')


@in_virtual_time
async def test_no_more_attempts_run_at_a_time_than_a_handler_takes() -> None:
    async def short(attempt: Attempt) -> object:
        await asyncio.sleep(1)
        return None

    outbox = Outbox()
    narrow, wide = Handler(short, "narrow", 2), Handler(short, "wide", 10)
    for number in range(6):
        outbox.add(f"n-{number}", handler="narrow")
        outbox.add(f"w-{number}", handler="wide")
    async with working(outbox, narrow, wide):
        for number in range(6):
            await outbox.wait_end(f"w-{number}")
        assert asyncio.get_running_loop().time() == pytest.approx(1, abs=0.01)
        for number in range(6):
            await outbox.wait_end(f"n-{number}")
        assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.01)
    assert (narrow.most, wide.most) == (2, 6)


@in_virtual_time
async def test_effects_of_handlers_that_are_not_here_are_left_alone() -> None:
    outbox = Outbox()
    row = outbox.add(handler="elsewhere")
    async with working(outbox, Handler(answer)):
        await asyncio.sleep(100)
        assert len(outbox.calls) < 100, "the worker must not spin over what it cannot run"
    assert row.state == "available"


@in_virtual_time
async def test_a_result_survives_a_store_that_fails_for_a_while() -> None:
    outbox = Outbox()
    outbox.failures["finish_effect"] = [unavailable() for _ in range(10)]
    outbox.add()
    async with working(outbox, Handler(answer)):
        row = await outbox.wait_end()
    assert row.attempt == 1
    assert row.finish is not None
    assert row.finish.outcome == "completed"


@in_virtual_time
async def test_an_output_that_cannot_be_stored_fails_the_effect() -> None:
    outbox = Outbox()
    outbox.failures["finish_effect"] = [InvalidArgument("output_json", "the output is 9 bytes too long")]
    outbox.add()
    async with working(outbox, Handler(answer)):
        row = await outbox.wait_end()
    assert row.finish is not None
    assert row.finish.outcome == "failed"
    assert row.finish.error == ("OUTPUT_INVALID", "the output is 9 bytes too long")


@in_virtual_time
async def test_the_worker_goes_on_after_the_store_failed(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    outbox.failures["lease_effects"] = [unavailable(), ValueError("unforeseen")]
    outbox.add()
    async with working(outbox, Handler(answer)):
        await outbox.wait_end()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]


@in_virtual_time
async def test_shutdown_aborts_handlers_and_gives_their_effects_back_at_once() -> None:
    outbox, handler = Outbox(), Handler(forever)
    row = outbox.add()
    async with working(outbox, handler):
        await settle()
    assert handler.aborted == [1]
    assert asyncio.get_running_loop().time() == 0
    assert row.state == "retryable"
    assert [(retry.error.reason, retry.delay_ms, retry.counts) for retry in row.retries] == [
        ("INTERRUPTED", 0, False)
    ]
    assert outbox.listeners == 0

    second = Handler(answer)
    async with working(outbox, second):
        await outbox.wait_end()
    assert [attempt.number for attempt in second.attempts] == [2]


@in_virtual_time
async def test_shutdown_commits_a_result_that_is_there() -> None:
    outbox = Outbox()
    outbox.failures["finish_effect"] = [unavailable() for _ in range(4)]
    row = outbox.add()
    async with working(outbox, Handler(answer)):
        await outbox.wait_called("finish_effect")
    assert row.state == "completed"


@in_virtual_time
async def test_shutdown_forgets_no_lease_that_is_on_its_way() -> None:
    outbox = Outbox()
    row = outbox.add()
    async with working(outbox, Handler(forever)):
        await outbox.wait_called("lease_effects")
        assert row.state == "available"
    assert row.state == "retryable"


@in_virtual_time
async def test_shutdown_is_bounded_when_the_store_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    outbox.failures["retry_effect"] = [unavailable() for _ in range(1000)]
    outbox.add()
    async with working(outbox, Handler(forever), drain_ms=3000) as worker:
        await settle()
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.1)
    assert worker.attempts == 0
    assert "count=1" in caplog.text


@in_virtual_time
async def test_what_a_handler_enters_stays_open_until_its_end_is_committed() -> None:
    outbox = Outbox()
    seen: list[str] = []

    @contextmanager
    def scope() -> Any:
        seen.append("open")
        yield
        seen.append(outbox.rows["e-1"].state)

    async def enter(attempt: Attempt) -> object:
        attempt.until_committed.enter_context(scope())
        return None

    outbox.add()
    async with working(outbox, Handler(enter)):
        await outbox.wait_end()
        await settle()
    assert seen == ["open", "completed"]


def test_outputs_keep_every_character() -> None:
    @in_virtual_time
    async def run() -> None:
        async def give(attempt: Attempt) -> object:
            return {"text": "é 漢 👩‍🚀 \u0000"}

        outbox = Outbox()
        outbox.add()
        async with working(outbox, Handler(give)):
            row = await outbox.wait_end()
        assert row.finish is not None
        assert json.loads(row.finish.output_json) == {"text": "é 漢 👩‍🚀 \u0000"}

    run()


@in_virtual_time
async def test_an_operator_bounds_how_many_effects_of_a_handler_run_at_a_time() -> None:
    outbox, few, none = Outbox(), Handler(forever, "few"), Handler(forever, "none")
    for n in range(3):
        outbox.add(f"few-{n}", handler="few")
        outbox.add(f"none-{n}", handler="none")
    async with working(outbox, few, none, concurrency={"few": 2, "none": 0}):
        await settle()
        assert (len(few.attempts), len(none.attempts)) == (2, 0)
