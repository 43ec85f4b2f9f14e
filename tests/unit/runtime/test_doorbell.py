"""A ring wakes everyone who waits, and is kept for whoever comes next when nobody did."""

from __future__ import annotations

import asyncio

from durachart.runtime.doorbell import Doorbell
from tests.virtual_time import in_virtual_time, settle


@in_virtual_time
async def test_a_ring_wakes_everyone_who_waits() -> None:
    bell = Doorbell()
    waiting = [asyncio.create_task(bell.wait_ring()) for _ in range(3)]
    await settle()
    bell.ring()
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert not await bell.wait_ring(1)


@in_virtual_time
async def test_a_ring_that_nobody_heard_is_kept_once() -> None:
    bell = Doorbell()
    bell.ring()
    bell.ring()
    assert await bell.wait_ring(1)
    assert not await bell.wait_ring(1)


@in_virtual_time
async def test_giving_up_takes_as_long_as_was_said() -> None:
    bell = Doorbell()
    began = asyncio.get_running_loop().time()
    assert not await bell.wait_ring(2.5)
    assert asyncio.get_running_loop().time() - began == 2.5


@in_virtual_time
async def test_a_waiter_that_was_cancelled_hears_nothing() -> None:
    bell = Doorbell()
    waiting = asyncio.create_task(bell.wait_ring())
    await settle()
    waiting.cancel()
    await settle()
    bell.ring()
    assert await bell.wait_ring(1)
