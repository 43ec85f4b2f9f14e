"""The built-in model."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from durachart.workers.providers.local import LocalProvider, compose
from durachart.workers.providers.protocol import Finished, GenerationRequest, Message, TextDelta
from durachart.workers.providers.settings import ProviderSettings
from tests.virtual_time import in_virtual_time

CANVAS = GenerationRequest(
    model="local",
    messages=(
        Message("user", "Explain statecharts."),
        Message("user", "Evaluation: Names a concrete example."),
        Message("user", "Evaluation: At most three sentences."),
    ),
    system="Answer the prompt.",
)


async def collect(request: GenerationRequest, delay_ms: float = 0) -> tuple[list[str], Finished]:
    pieces = []
    async with aclosing(
        LocalProvider(ProviderSettings(local_token_delay_ms=delay_ms)).stream(request)
    ) as stream:
        async for item in stream:
            if isinstance(item, Finished):
                return pieces, item
            assert isinstance(item, TextDelta)
            pieces.append(item.text)
    raise AssertionError("no end")


@in_virtual_time
async def test_prompt_and_evaluations_are_seen_in_the_answer_which_says_what_it_is() -> None:
    pieces, finished = await collect(CANVAS)
    text = "".join(pieces)
    assert text == compose(CANVAS)
    for expected in [
        "“Explain statecharts.”",
        "“Answer the prompt.”",
        "1. Names a concrete example.",
        "2. At most three sentences.",
        "built-in model",
    ]:
        assert expected in text
    assert (finished.finish_reason, finished.model) == ("stop", "local")


@in_virtual_time
async def test_the_same_request_gives_the_same_words() -> None:
    assert await collect(CANVAS) == await collect(CANVAS)


@in_virtual_time
async def test_words_come_one_by_one_with_the_delay_between() -> None:
    pieces, finished = await collect(CANVAS, delay_ms=25)
    assert all(len(piece.split()) == 1 for piece in pieces)
    assert asyncio.get_running_loop().time() == pytest.approx(0.025 * len(pieces))
    assert finished.usage is not None
    assert finished.usage.output_tokens == len(pieces)
    assert finished.usage.input_tokens == 15


@in_virtual_time
async def test_without_delay_others_get_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    pieces, _ = await collect(CANVAS)
    task.cancel()
    assert turns >= len(pieces)


@in_virtual_time
async def test_the_bound_on_tokens_is_kept() -> None:
    pieces, finished = await collect(GenerationRequest("local", CANVAS.messages, max_output_tokens=3))
    assert len(pieces) == 3
    assert finished.finish_reason == "length"


def test_points_are_found_in_lists_too() -> None:
    text = compose(
        GenerationRequest(
            "local", (Message("user", "Write a poem.\n\nRequirements:\n- calm\n* short\n3) wet"),)
        )
    )
    assert "“Write a poem.”" in text
    assert "3 points were required, and here is each:\n1. calm\n2. short\n3. wet" in text


def test_earlier_turns_are_mentioned_and_long_requests_shortened() -> None:
    text = compose(
        GenerationRequest(
            "local",
            (Message("user", "a"), Message("assistant", "b"), Message("user", "long " * 10_000)),
            system="\n".join(f"- point {number}" for number in range(50)),
        )
    )
    assert "2 earlier messages" in text
    assert "30 more" in text
    assert len(text) < 3000


def test_a_conversation_that_ends_with_an_answer_is_continued() -> None:
    text = compose(GenerationRequest("local", (Message("user", "a"), Message("assistant", "b"))))
    assert text.startswith("You asked me to go on.")
