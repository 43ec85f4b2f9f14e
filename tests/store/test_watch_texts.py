"""One stream carries states and the text of generations, in an order that can be relied on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import DeleteInstance, FinishEffect, StopEffect
from durachart.runtime.effect_views import LeasedEffect
from durachart.runtime.generation.frames import TokenAttemptStarted, TokenEnd
from durachart.runtime.generation.source import EffectGenerations
from durachart.runtime.generation.tokens import AttemptWriter, TokenRelay
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import (
    WatchClosing,
    WatchDeleted,
    WatchFilter,
    WatchFrame,
    WatchGap,
    WatchProgress,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
    WatchTokens,
    WatchTransition,
)
from durachart.store.interface import Store
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import JOB, key

StoreMaker = Callable[[], Store]
LLM = "llm.generate"
CANVAS = {
    **JOB,
    "effects": {**JOB["effects"], "charge": {**JOB["effects"]["charge"], "handler": LLM}},
}


class Canvas:
    """A service whose ``working`` state generates text."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.relay = TokenRelay(EffectGenerations(service.runtime), coalesce_s=0)
        service.runtime.on_effect_end(self.relay.effect_ended)
        service.runtime.relay_texts(self.relay.watch)

    async def begin(self, of: InstanceKey) -> tuple[LeasedEffect, AttemptWriter]:
        await self.service.send("GO", of=of)
        (effect,) = await self.service.runtime.lease_effects(
            [LLM], limit=1, holder="w", lease=timedelta(minutes=5)
        )
        return effect, self.relay.open(effect.effect_id, effect.attempt, "m")

    async def finish(self, effect: LeasedEffect, writer: AttemptWriter, text: str) -> None:
        output = json.dumps(
            {"text": text, "finish_reason": "stop", "model": "m", "usage": None, "receipt": ""}
        )
        await self.service.runtime.finish_effect(
            FinishEffect(effect.key, effect.effect_id, effect.lease_token, "completed", output), ADA
        )
        writer.close()


@asynccontextmanager
async def canvas(make_store: StoreMaker, **settings: Any) -> AsyncIterator[Canvas]:
    async with serving(make_store, RuntimeSettings(**settings), published=False) as service:
        await service.runtime.publish(json.dumps(CANVAS), ADA)
        yield Canvas(service)


class Reading:
    """A watch with text, taken as it comes."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.frames: list[WatchFrame] = []

    async def until(self, reached: Callable[[WatchFrame], bool]) -> None:
        while not any(reached(frame) for frame in self.frames):
            self.frames += await anext(self._batches)

    def brief(self) -> list[str]:
        """What came, without what only says that nothing did."""
        told: list[str] = []
        for frame in self.frames:
            match frame:
                case WatchTokens(frames=frames):
                    for each in frames:
                        match each.body:
                            case TokenAttemptStarted():
                                told.append(f"attempt {each.attempt}")
                            case TokenEnd(outcome=outcome):
                                told.append(f"end {outcome}")
                            case text:
                                told.append(f"text {text}")
                case WatchTransition() | WatchSnapshot() | WatchGap():
                    told.append(
                        f"{type(frame).__name__.removeprefix('Watch').lower()} {frame.state.value_json}"
                    )
                case WatchDeleted():
                    told.append("deleted")
                case WatchProgress() | WatchClosing():
                    pass
                case WatchSynced():
                    told.append("synced")
        return told

    @property
    def text(self) -> str:
        tokens = [frame for frame in self.frames if isinstance(frame, WatchTokens)]
        return "".join(each.body for frame in tokens for each in frame.frames if isinstance(each.body, str))


def reading(of: Canvas, **spec: Any) -> aclosing[Any]:
    batches: Any = of.service.runtime.watch(WatchSpec(**{"include_tokens": True, **spec}), ADA)
    return aclosing(batches)


def followed() -> int:
    """How many generations are followed in this process; those just let go of may still be unwinding."""
    return sum(
        task.get_name() == "durachart-watched-text" and not task.cancelling() for task in asyncio.all_tasks()
    )


def is_at(value: str) -> Callable[[WatchFrame], bool]:
    return lambda frame: isinstance(frame, WatchTransition) and frame.state.value_json == json.dumps(value)


async def test_text_comes_after_the_state_that_asks_for_it_and_before_the_one_it_leads_to(
    make_store: StoreMaker,
) -> None:
    """A20: tokens as they are generated, then one final update of the state."""
    async with canvas(make_store) as here:
        await here.service.create(key("a"))
        async with reading(here, instances=(key("a"),)) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchSynced))
            effect, writer = await here.begin(key("a"))
            writer.append("once ")
            await watch.until(lambda frame: isinstance(frame, WatchTokens) and "once " in watch.text)
            writer.append("upon a time")
            await here.finish(effect, writer, "once upon a time")
            await watch.until(is_at("finished"))
        told = watch.brief()
        assert told[:4] == ['snapshot "idle"', "synced", 'transition "working"', "attempt 1"]
        assert told[-2:] == ["end completed", 'transition "finished"']
        assert watch.text == "once upon a time"
        assert here.relay.generations == 0, "nothing is followed any more"


async def test_a_stop_ends_the_text_and_then_shows_the_stored_state(make_store: StoreMaker) -> None:
    """A21: Stop ends the text; the state that is stored comes after it."""
    async with canvas(make_store) as here:
        await here.service.create(key("a"))
        effect, writer = await here.begin(key("a"))
        writer.append("never to be")
        async with reading(here, instances=(key("a"),)) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchTokens))
            await here.service.runtime.stop_generation(StopEffect(key("a"), effect.effect_id), ADA)
            writer.close()
            await watch.until(is_at("idle"))
        assert watch.brief() == [
            'snapshot "working"',
            "synced",
            "attempt 1",
            "text never to be",
            "end stopped",
            'transition "idle"',
        ]


async def test_what_was_generated_between_two_reads_is_all_there_in_order(make_store: StoreMaker) -> None:
    async with canvas(make_store, watch_frames=2) as here:
        await here.service.create(key("a"))
        async with reading(here, instances=(key("a"),)) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchSynced))
            for text in ("first", "second"):
                effect, writer = await here.begin(key("a"))
                writer.append(text)
                if text == "first":
                    await here.service.send("LEAVE", of=key("a"))
                    writer.close()
                else:
                    await here.finish(effect, writer, text)
            await watch.until(is_at("finished"))
        assert (
            watch.brief()[2:]
            == [
                'transition "working"',
                "end cancelled",
                'transition "idle"',
                'transition "working"',
                "attempt 1",
                "text second",
                "end completed",
                'transition "finished"',
            ]
            or watch.brief()[3] == "attempt 1"
        )


async def test_a_slow_reader_skips_to_what_is_there(make_store: StoreMaker) -> None:
    async with canvas(make_store) as here:
        await here.service.create(key("a"))
        _, writer = await here.begin(key("a"))
        async with reading(here, instances=(key("a"),)) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchTokens))
            for _ in range(500):
                writer.append("word ")
                await asyncio.sleep(0)
            before = len(watch.frames)
            await watch.until(lambda _frame: watch.text == "word " * 500)
            assert len(watch.frames) - before <= 3, "one piece was waiting, the other is all the rest"
        writer.close()


async def test_many_generations_share_a_stream_and_none_is_left_behind(make_store: StoreMaker) -> None:
    names = [key(f"{number:02}") for number in range(12)]
    async with canvas(make_store) as here:
        for each in names:
            await here.service.create(each)
        running = [await here.begin(each) for each in names]
        async with reading(here, filter=WatchFilter("", "job", state_ids=("job.working",))) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchSynced))
            for _, writer in running:
                writer.append("x")
            await watch.until(lambda _frame: watch.text == "x" * len(names))
            assert followed() == len(names)
            for effect, writer in running[:6]:
                await here.finish(effect, writer, "x")
            left = [frame for frame in watch.frames if isinstance(frame, WatchTransition)]
            while len(left) < 6:
                watch.frames += await anext(batches)
                left = [frame for frame in watch.frames if isinstance(frame, WatchTransition)]
            assert not any(frame.matches for frame in left)
            assert watch.brief().count("end completed") == 6
            assert followed() <= 6
        assert not any(task.get_name() == "durachart-watched-text" for task in asyncio.all_tasks())
        assert here.relay.generations == 6, "the writers' own"
        for _, writer in running[6:]:
            writer.close()


async def test_a_deletion_comes_after_the_end_of_the_text(make_store: StoreMaker) -> None:
    async with canvas(make_store) as here:
        await here.service.create(key("a"))
        _, writer = await here.begin(key("a"))
        async with reading(here, instances=(key("a"),), end_on_final=True) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchTokens))
            await here.service.runtime.delete_instance(DeleteInstance(key("a")), ADA)
            await watch.until(lambda frame: isinstance(frame, WatchDeleted))
            with pytest.raises(StopAsyncIteration):
                await anext(batches)
        writer.close()
        assert watch.brief()[-2:] == ["end cancelled", "deleted"]


async def test_nobody_gets_text_without_asking(make_store: StoreMaker) -> None:
    async with canvas(make_store) as here:
        await here.service.create(key("a"))
        effect, writer = await here.begin(key("a"))
        async with reading(here, instances=(key("a"),), include_tokens=False) as batches:
            watch = Reading(batches)
            await watch.until(lambda frame: isinstance(frame, WatchSynced))
            await here.finish(effect, writer, "text")
            await watch.until(is_at("finished"))
        assert watch.text == ""
