"""An answer that is lost after its commit: whoever asks again gets it, and the event is taken once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import pytest_asyncio

from durachart_client import Client, GuardRejected, RequestIdReused, RetryPolicy, Unavailable
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.ledger import MACHINE_ID
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.proxy import AnswerLosingProxy, now_and_then
from tests.acceptance.faults.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONCE = RetryPolicy(max_attempts=1)
# Frames of an answer: the headers before the message, and the trailers behind it.
FIRST, LAST = 1, 2


@pytest_asyncio.fixture(loop_scope="session")
async def server(trial: Trial) -> Server:
    """A server of the trial."""
    server = await trial.start()
    await server.wait_ready()
    return server


class Countdown:
    """Loses one answer: at this frame of headers, counted from 1."""

    def __init__(self, frame: int) -> None:
        self._left = frame

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0


@asynccontextmanager
async def losing(trial: Trial, frame: int) -> AsyncIterator[tuple[Client, Client]]:
    """A client whose first answer is lost, at this frame of headers, and one that gets all of its answers."""
    async with (
        AnswerLosingProxy.before(trial.address, Countdown(frame)) as proxy,
        Client(proxy.address, retry=ONCE) as unlucky,
        Client(trial.address) as lucky,
    ):
        yield unlucky, lucky
        assert proxy.lost == 1


@pytest.mark.parametrize("frame", [FIRST, LAST])
async def test_an_event_whose_answer_was_lost_is_answered_again_and_taken_once(
    trial: Trial, server: Server, frame: int
) -> None:
    """Whether nothing of the answer arrived or all but its end."""
    async with losing(trial, frame) as (unlucky, lucky):
        await lucky.create(MACHINE_ID, "a")
        with pytest.raises(Unavailable):
            await unlucky.send(MACHINE_ID, "a", "ADD", {"n": 5}, request_id="once")
        again = await lucky.send(MACHINE_ID, "a", "ADD", {"n": 5}, request_id="once")
        assert (again.replayed, again.state.version) == (True, 1)
        with pytest.raises(RequestIdReused):
            await lucky.send(MACHINE_ID, "a", "ADD", {"n": 6}, request_id="once")
        entries = [entry.event_type async for entry in lucky.journal(MACHINE_ID, "a")]
    assert entries == ["", "ADD"]


async def test_a_refusal_whose_answer_was_lost_is_the_same_again(trial: Trial, server: Server) -> None:
    async with losing(trial, FIRST) as (unlucky, lucky):
        await lucky.create(MACHINE_ID, "a")
        with pytest.raises(Unavailable):
            await unlucky.send(MACHINE_ID, "a", "ADD", {"n": -5}, request_id="bad")
        await lucky.send(MACHINE_ID, "a", "ADD", {"n": 7})
        with pytest.raises(GuardRejected) as refused:
            await lucky.send(MACHINE_ID, "a", "ADD", {"n": -5}, request_id="bad")
    assert (refused.value.replayed, refused.value.version) == (True, 0)


async def test_a_creation_whose_answer_was_lost_is_answered_again(trial: Trial, server: Server) -> None:
    async with losing(trial, FIRST) as (unlucky, lucky):
        with pytest.raises(Unavailable):
            await unlucky.create(MACHINE_ID, "a", request_id="make")
        assert (await lucky.create(MACHINE_ID, "a", request_id="make")).replayed


async def test_the_client_itself_asks_again(trial: Trial, server: Server) -> None:
    async with (
        AnswerLosingProxy.before(trial.address, Countdown(FIRST)) as proxy,
        Client(proxy.address, timeout=timedelta(seconds=30)) as client,
    ):
        created = await client.create(MACHINE_ID, "a")
    assert (created.replayed, created.state.version, proxy.lost) == (True, 0, 1)


async def test_answers_lost_under_load_leave_the_history_linearizable(trial: Trial, server: Server) -> None:
    async with AnswerLosingProxy.before(trial.address, now_and_then(1, 0.01)) as proxy:
        load = Load([proxy.address], trial.chance.randrange(2**32), "l", Shape())
        load.start()
        await load.wait_calls(800)
        await trial.finish(load, server)
    print(proxy.lost, trial.summary)
    assert proxy.lost > 0
    assert trial.summary.repeated > 0
