"""Noticing a reader that has stopped: one timer for many writes, and none left behind."""

from __future__ import annotations

import asyncio

import pytest

from durachart.fronts.stalls import StallWatch
from durachart.rpc.status import RpcError
from tests.virtual_time import VirtualTimeLoop, in_virtual_time, settle


def timers() -> int:
    """How many timers are pending."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return sum(not each.cancelled() for each in loop._scheduled)  # type: ignore[attr-defined]


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@in_virtual_time
async def test_a_write_that_takes_too_long_is_ended_with_a_reason() -> None:
    stalls = StallWatch(10)
    with pytest.raises(RpcError) as stalled:
        await stalls.watched(asyncio.sleep(1_000))
    assert stalled.value.reason == "READER_STALLED"
    assert asyncio.get_running_loop().time() == 10
    assert cancelling() == 0
    stalls.end()
    assert timers() == 0


@in_virtual_time
async def test_slow_writes_that_each_end_in_time_go_on_for_ever() -> None:
    stalls = StallWatch(10)
    for _ in range(50):
        await stalls.watched(asyncio.sleep(9))
        assert timers() <= 1
    stalls.end()
    assert timers() == 0


@in_virtual_time
async def test_time_between_writes_does_not_count() -> None:
    stalls = StallWatch(10)
    await stalls.watched(asyncio.sleep(9))
    await asyncio.sleep(1_000)
    await stalls.watched(asyncio.sleep(9))
    stalls.end()


@in_virtual_time
async def test_the_time_of_a_write_begins_with_it_not_with_an_earlier_one() -> None:
    stalls = StallWatch(10)
    await stalls.watched(asyncio.sleep(8))
    with pytest.raises(RpcError):
        await stalls.watched(asyncio.sleep(11))
    assert asyncio.get_running_loop().time() == 18
    stalls.end()


@in_virtual_time
async def test_a_cancellation_from_elsewhere_is_raised_on() -> None:
    stalls = StallWatch(10)

    async def write() -> None:
        try:
            await stalls.watched(asyncio.sleep(1_000))
        finally:
            stalls.end()

    writing = asyncio.create_task(write())
    await settle()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert timers() == 0


@in_virtual_time
async def test_who_is_cancelled_in_the_moment_of_the_stall_is_cancelled() -> None:
    stalls = StallWatch(10)
    writing = asyncio.create_task(stalls.watched(asyncio.sleep(1_000)))
    await settle()
    loop = asyncio.get_running_loop()
    loop.call_at(10, writing.cancel)
    with pytest.raises(asyncio.CancelledError):
        await writing
    stalls.end()
    assert timers() == 0


@in_virtual_time
async def test_an_error_of_the_write_is_its_own() -> None:
    stalls = StallWatch(10)

    async def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is ours
        await stalls.watched(fails())
    await asyncio.sleep(100)
    stalls.end()
    assert timers() == 0


@in_virtual_time
async def test_a_watch_that_saw_no_write_ends_too() -> None:
    stalls = StallWatch(10)
    stalls.end()
    assert timers() == 0
