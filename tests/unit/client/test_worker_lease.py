"""A lease is kept while the server answers, and given up when it cannot last any more."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from durachart_client import Effect, Effects, InstanceRef, LeasedEffect, LeaseLost, RetryPolicy, Unavailable
from durachart_client.effect_models import Heartbeat
from durachart_client.worker_attempt import AttemptTools, RunningAttempt
from durachart_client.worker_lease import Lease
from tests.virtual_time import START, in_virtual_time

LEASE = timedelta(seconds=30)
LEASED = LeasedEffect(
    instance=InstanceRef("order", "o-1"),
    effect_id="e-1",
    type="sendEmail",
    handler="email.send",
    params=None,
    attempt=1,
    max_attempts=3,
    lease_token="t",
    lease_expires_at=START + LEASE,
    timeout=timedelta(hours=1),
    created_at=START,
    machine_version=1,
    traceparent="",
    steps=(),
)


class Answers(Effects):
    """The calls of a server that answers until some instant, and again from another one on."""

    def __init__(self, until_s: float, again_s: float = float("inf")) -> None:
        self.until_s, self.again_s = until_s, again_s
        self.beats: list[float] = []
        self.completed: list[float] = []

    def _answer(self) -> float:
        now_s = asyncio.get_running_loop().time()
        if self.until_s <= now_s < self.again_s:
            raise Unavailable
        return now_s

    async def heartbeat(self, effect: LeasedEffect, **options: Any) -> Heartbeat:
        self.beats.append(self._answer())
        return Heartbeat(False, START)

    async def complete(self, effect: LeasedEffect, output: Any = None, **options: Any) -> None:
        self.completed.append(self._answer())


def attempt(function: Any, effects: Answers) -> RunningAttempt:
    tools = AttemptTools(effects, LEASE, RetryPolicy(), ThreadPoolExecutor(1), False)
    return RunningAttempt(LEASED, function, tools)


@in_virtual_time
async def test_a_long_attempt_keeps_its_lease_three_times_as_often_as_it_needs() -> None:
    effects = Answers(until_s=float("inf"))

    async def send(effect: Effect) -> None:
        await asyncio.sleep(65)

    await attempt(send, effects).run()
    assert effects.beats == [10, 20, 30, 40, 50, 60]
    assert effects.completed == [65]


@in_virtual_time
async def test_an_attempt_whose_lease_cannot_be_prolonged_is_stopped_when_it_ends() -> None:
    effects, stopped = Answers(until_s=15), []

    async def send(effect: Effect) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(asyncio.get_running_loop().time())

    await attempt(send, effects).run()
    assert stopped == [40], "the heartbeat at 10 s prolonged it by 30 s"
    assert effects.completed == []


@in_virtual_time
async def test_an_end_is_told_once_the_server_answers_again_within_the_lease() -> None:
    effects = Answers(until_s=0, again_s=25)
    await attempt(_nothing, effects).run()
    [told_at] = effects.completed
    assert 25 <= told_at < 30


@in_virtual_time
async def test_an_end_that_could_not_be_told_within_the_lease_is_forgotten() -> None:
    effects = Answers(until_s=0, again_s=60)
    await attempt(_nothing, effects).run()
    assert effects.completed == []


@in_virtual_time
async def test_calls_under_a_lease_that_ran_out_are_not_made() -> None:
    lease = Lease(Answers(until_s=float("inf")), LEASED, LEASE, RetryPolicy())
    await asyncio.sleep(31)
    with pytest.raises(LeaseLost):
        await lease.complete(None)


async def _nothing(effect: Effect) -> None: ...
