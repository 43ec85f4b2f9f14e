"""Waking those who wait for effects."""

from __future__ import annotations

import asyncio

from durachart.runtime.effects.arrivals import Arrivals, Listener
from tests.virtual_time import in_virtual_time

LONG_S = 1_000.0


async def _rang(listener: Listener) -> bool:
    before = asyncio.get_running_loop().time()
    await listener.wait_ring(LONG_S)
    return asyncio.get_running_loop().time() - before < LONG_S


@in_virtual_time
async def test_each_effect_wakes_one_of_those_who_serve_its_handler() -> None:
    arrivals = Arrivals()
    with (
        arrivals.listening(["mail"]) as first,
        arrivals.listening(["mail", "pay", "mail"]) as second,
        arrivals.listening(["mail"]) as third,
        arrivals.listening(["log"]) as other,
    ):
        arrivals.ring(["mail", "mail", "nobody"])
        woken = await asyncio.gather(*map(_rang, (first, second, third, other)))
        assert woken == [True, True, False, False]


@in_virtual_time
async def test_one_who_has_been_woken_is_not_woken_again_until_it_has_looked() -> None:
    arrivals = Arrivals()
    with arrivals.listening(["mail"]) as first, arrivals.listening(["mail"]) as second:
        arrivals.ring(["mail"])
        arrivals.ring(["mail"])
        assert await asyncio.gather(_rang(first), _rang(second)) == [True, True]
        arrivals.ready(second)
        arrivals.ready(first)
        arrivals.ring(["mail"])
        assert await asyncio.gather(_rang(first), _rang(second)) == [False, True]


@in_virtual_time
async def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    arrivals = Arrivals()
    with arrivals.listening(["mail"]) as listener:
        arrivals.ring(["mail"])
        assert await _rang(listener)
        assert not await _rang(listener)


@in_virtual_time
async def test_one_who_goes_away_or_is_busy_hands_its_ring_on() -> None:
    arrivals = Arrivals()
    with arrivals.listening(["mail"]) as waiting:
        arrivals.busy(waiting)
        with arrivals.listening(["mail"]) as leaving:
            arrivals.ring(["mail"])
            arrivals.ready(waiting)
        assert leaving.rung_for is None
        assert await _rang(waiting)
        with arrivals.listening(["mail"]) as other:
            arrivals.ready(waiting)
            arrivals.ring(["mail"])
            arrivals.busy(other)
            assert await _rang(waiting)


@in_virtual_time
async def test_everyone_can_be_woken() -> None:
    arrivals = Arrivals()
    with arrivals.listening(["mail"]) as first, arrivals.listening(["pay"]) as second:
        arrivals.busy(second)
        arrivals.wake_all()
        assert await asyncio.gather(_rang(first), _rang(second)) == [True, True]
