"""The token relay: no gap, no duplicate, and no other end than the committed one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from durachart.runtime.errors import InvalidArgument, NoGeneration
from durachart.runtime.generation.frames import (
    Generation,
    GenerationOutcome,
    TokenAttemptStarted,
    TokenEnd,
    TokenFrame,
    TokenUsage,
)
from durachart.runtime.generation.text import GenerationTooLarge
from durachart.runtime.generation.tokens import TokenRelay
from durachart.store.keys import InstanceKey
from tests.virtual_time import in_virtual_time, settle

KEY = InstanceKey("", "canvas", "c-1")
COMPLETED = TokenEnd(GenerationOutcome.COMPLETED, "stop", "m-1", TokenUsage(3, 4))
STOPPED = TokenEnd(GenerationOutcome.STOPPED)


class Outbox:
    """What the store knows: the committed state of one generation, and how often it was asked."""

    def __init__(self) -> None:
        self.generation: Generation | None = Generation("e-1", 0, "gpt", None, "")
        self.reads = 0
        self.on_read: list[asyncio.Event] = []

    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation | None:
        self.reads += 1
        found = self.generation
        await asyncio.sleep(0)
        for reached in self.on_read:
            reached.set()
        return found if found and effect_id in ("", found.effect_id) else None

    def begin(self, attempt: int) -> None:
        assert self.generation is not None
        self.generation = self.generation._replace(attempt=attempt)

    def commit(self, relay: TokenRelay, end: TokenEnd, text: str = "") -> None:
        assert self.generation is not None
        self.generation = self.generation._replace(end=end, text=text)
        relay.effect_ended(KEY, "e-1", "completed")


@pytest.fixture(params=["yielded", "put", "both"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs with viewers that are woken, with viewers served by the writer, with both in turns."""
    monkeypatch.setattr(Viewer, "way", request.param)
    return str(request.param)


class Viewer:
    """Reads a watch to its end, checking on the way that frames join without gap or duplicate.

    It is an outlet of its own.
    """

    way = "yielded"

    def __init__(
        self, relay: TokenRelay, effect_id: str = "", attempt: int = 0, offset: int = 0, text: str = ""
    ) -> None:
        self.frames: list[TokenFrame] = []
        self.messages = 0
        self.attempt, self.text = attempt, text
        self.puts = 0
        self._asked = 0
        self._busy = True
        outlet = None if self.way == "yielded" else self
        self._watch = relay.watch(KEY, effect_id, attempt, offset, outlet)
        self.task = asyncio.create_task(self._read())

    @property
    def is_open(self) -> bool:
        self._asked += 1
        return self.way == "put" or self._asked % 2 == 0

    def put(self, response: list[TokenFrame], *, at_once: bool) -> None:
        assert not self._busy, "something is put although the viewer does not wait for it"
        self.puts += 1
        self._take_all(response)

    async def _read(self) -> TokenEnd:
        async with aclosing(self._watch):
            self._busy = False
            async for frames in self._watch:
                self._busy = True
                self._take_all(frames)
                await asyncio.sleep(0)
                self._busy = False
        end = self.frames[-1].body
        assert isinstance(end, TokenEnd)
        return end

    def _take_all(self, frames: list[TokenFrame]) -> None:
        assert frames
        self.messages += 1
        for frame in frames:
            self._take(frame)

    def _take(self, frame: TokenFrame) -> None:
        self.frames.append(frame)
        if isinstance(frame.body, TokenAttemptStarted):
            assert frame.attempt > self.attempt
            self.attempt, self.text = frame.attempt, ""
        assert frame.attempt == self.attempt
        assert frame.offset == len(self.text)
        if isinstance(frame.body, str):
            self.text += frame.body
        assert frame.next_offset == len(self.text)

    @property
    def bodies(self) -> list[object]:
        return [frame.body for frame in self.frames]


@in_virtual_time
async def test_a_viewer_from_the_start_sees_started_text_and_end() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    await settle()
    assert viewer.frames == []

    outbox.begin(1)
    with relay.open("e-1", 1, "gpt") as writer:
        for word in ["Statecharts ", "are ", "hierarchical."]:
            writer.append(word)
            await asyncio.sleep(0.05)
        outbox.commit(relay, COMPLETED, "Statecharts are hierarchical.")

    assert await viewer.task == COMPLETED
    assert viewer.bodies == [TokenAttemptStarted("gpt"), "Statecharts ", "are ", "hierarchical.", COMPLETED]


@in_virtual_time
async def test_a_late_viewer_gets_the_text_so_far_then_what_comes() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        writer.append("one ")
        writer.append("two ")
        viewer = Viewer(relay)
        await settle()
        assert viewer.bodies == [TokenAttemptStarted(""), "one two "]
        writer.append("three")
        outbox.commit(relay, COMPLETED, "one two three")
    assert await viewer.task == COMPLETED
    assert viewer.text == "one two three"


@in_virtual_time
async def test_resume_goes_on_from_the_offset_without_a_started_frame() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        writer.append("漢字 and more")
        viewer = Viewer(relay, "e-1", attempt=1, offset=2, text="漢字")
        await settle()
        assert viewer.bodies == [" and more"]
        outbox.commit(relay, COMPLETED, "漢字 and more")
    assert await viewer.task == COMPLETED


@in_virtual_time
async def test_a_new_attempt_begins_with_an_explicit_frame_at_0() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    viewer = Viewer(relay)
    writer = relay.open("e-1", 1, "")
    writer.append("lost text")
    await settle()
    writer.close()
    await asyncio.sleep(1)
    assert viewer.bodies == [TokenAttemptStarted(""), "lost text"]

    outbox.begin(2)
    with relay.open("e-1", 2, "") as second:
        second.append("kept")
        resumed = Viewer(relay, "e-1", attempt=1, offset=4, text="lost")
        await settle()
        assert resumed.bodies == [TokenAttemptStarted(""), "kept"]
        outbox.commit(relay, COMPLETED, "kept")
    assert await viewer.task == await resumed.task == COMPLETED
    assert viewer.text == resumed.text == "kept"


@in_virtual_time
async def test_text_of_an_attempt_that_was_taken_over_reaches_nobody() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    stalled = relay.open("e-1", 1, "")
    with relay.open("e-1", 2, "") as writer:
        stalled.append("from the past")
        writer.append("now")
        stalled.close()
        await settle()
        assert viewer.bodies == [TokenAttemptStarted(""), "now"]
        outbox.begin(2)
        outbox.commit(relay, COMPLETED, "now")
    assert await viewer.task == COMPLETED


@in_virtual_time
async def test_a_viewer_of_a_later_attempt_is_shown_nothing_of_one_that_is_still_made_here() -> None:
    """It was at another node, which took the generation over while this one was halted."""
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(2)
    with relay.open("e-1", 1, "") as overtaken:
        overtaken.append("void")
        viewer = Viewer(relay, "e-1", attempt=2, offset=4, text="good")
        overtaken.append("void")
        await settle()
        assert viewer.frames == []
    outbox.commit(relay, COMPLETED, "good end")
    assert await viewer.task == COMPLETED
    assert viewer.text == "good end"


@in_virtual_time
async def test_a_viewer_of_an_attempt_that_never_was_is_shown_the_one_that_is() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        writer.append("text")
        viewer = Viewer(relay, "e-1", attempt=7, offset=3, text="...")
        viewer.attempt = 0
        await settle()
        assert viewer.bodies == [TokenAttemptStarted(""), "text"]
        outbox.commit(relay, COMPLETED, "text")
    assert await viewer.task == COMPLETED


@in_virtual_time
async def test_a_viewer_of_text_that_is_brought_anew_goes_on_where_it_was() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    # The server was restarted: the viewer is back before the worker, who begins with all it has so far.
    viewer = Viewer(relay, "e-1", 1, 4, "one ")
    await settle()
    with relay.open("e-1", 1, "") as writer:
        writer.append("one two ")
        await settle()
        assert viewer.text == "one two "
        outbox.commit(relay, COMPLETED, "one two three")
        assert await viewer.task == COMPLETED
    assert viewer.bodies == ["two ", "three", COMPLETED]


@in_virtual_time
async def test_after_the_end_the_stored_result_is_given() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(2)
    outbox.commit(relay, COMPLETED, "stored")
    late, elsewhere, resumed = (
        Viewer(relay),
        Viewer(relay, "e-1", 1, 3, "sto"),
        Viewer(relay, "e-1", 2, 3, "sto"),
    )
    assert await late.task == await elsewhere.task == await resumed.task == COMPLETED
    assert late.bodies == elsewhere.bodies == [TokenAttemptStarted("gpt"), "stored", COMPLETED]
    assert resumed.bodies == ["red", COMPLETED]


@in_virtual_time
async def test_a_stop_ends_every_viewer_at_once_and_gives_no_usage() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    viewers = [Viewer(relay) for _ in range(20)]
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        writer.append("partial")
        await settle()
        reads = outbox.reads
        outbox.commit(relay, STOPPED)
        ends = await asyncio.gather(*(viewer.task for viewer in viewers))
        assert ends == [STOPPED] * 20
        assert asyncio.get_running_loop().time() < 0.02
        # Read once for all.
        assert outbox.reads == reads + 1
        # The worker hears of it a little later; nobody is left to see what it wrote meanwhile.
        writer.append("too late")


@in_virtual_time
async def test_an_effect_that_never_began_ends_with_attempt_0() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    await settle()
    outbox.commit(relay, TokenEnd(GenerationOutcome.CANCELLED))
    await viewer.task
    assert [(frame.attempt, frame.offset) for frame in viewer.frames] == [(0, 0)]


@in_virtual_time
async def test_an_end_committed_while_a_viewer_joins_is_not_missed() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    reached = asyncio.Event()
    outbox.on_read.append(reached)
    viewer = Viewer(relay)
    await reached.wait()
    # The viewer holds an answer of the store that is outdated from here on.
    outbox.commit(relay, COMPLETED, "whole")
    assert await viewer.task == COMPLETED
    assert viewer.text == "whole"


@in_virtual_time
async def test_a_slow_viewer_gets_one_larger_piece_and_holds_nothing_up() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    watch = relay.watch(KEY)
    with relay.open("e-1", 1, "") as writer:
        writer.append("a")
        assert [frame.body for frame in await anext(watch)] == [TokenAttemptStarted(""), "a"]
        for _ in range(1000):
            writer.append("b")
            await asyncio.sleep(0.02)
        assert [frame.body for frame in await anext(watch)] == ["b" * 1000]
        outbox.commit(relay, COMPLETED, "a" + "b" * 1000)
    assert [frame.body for frame in await anext(watch)] == [COMPLETED]
    await watch.aclose()


@in_virtual_time
async def test_bursts_are_coalesced_for_at_most_20_ms() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    with relay.open("e-1", 1, "") as writer:
        await settle()
        started = viewer.messages
        for number in range(200):
            writer.append("x")
            await asyncio.sleep(0.001)
            # What is older than 20 ms has arrived.
            assert len(viewer.text) >= number - 20
        await asyncio.sleep(0.02)
        assert viewer.text == "x" * 200
        # 0.2 s went by: one message in 10 ms, not one per token.
        assert viewer.messages - started <= 25
        outbox.commit(relay, COMPLETED, "x" * 200)
    await viewer.task


@in_virtual_time
async def test_the_first_text_after_a_pause_is_not_held_back() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    with relay.open("e-1", 1, "") as writer:
        await asyncio.sleep(1)
        writer.append("at once")
        before = asyncio.get_running_loop().time()
        await settle()
        assert viewer.text == "at once"
        assert asyncio.get_running_loop().time() == before
        outbox.commit(relay, COMPLETED, "at once")
    await viewer.task


@in_virtual_time
async def test_leaving_viewers_change_nothing_for_the_generation_and_the_others() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    stays, leaves = Viewer(relay), Viewer(relay)
    with relay.open("e-1", 1, "") as writer:
        writer.append("one ")
        await settle()
        leaves.task.cancel()
        await asyncio.wait({leaves.task})
        writer.append("two")
        await asyncio.sleep(0.1)
        assert stays.text == "one two"
        outbox.commit(relay, COMPLETED, "one two")
    assert await stays.task == COMPLETED


@in_virtual_time
async def test_nothing_is_kept_of_a_generation_without_viewers_that_ended() -> None:
    outbox = Outbox()
    outbox.begin(1)
    relay = TokenRelay(outbox)
    viewer = Viewer(relay)
    with relay.open("e-1", 1, "") as writer:
        writer.append("text")
        await settle()
        outbox.commit(relay, COMPLETED, "text")
    await viewer.task
    watch = relay.watch(KEY, "e-2")
    with pytest.raises(NoGeneration):
        await anext(watch)
    assert relay.generations == 0


@in_virtual_time
async def test_what_does_not_exist_and_what_cannot_be_is_said() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)

    async def refusal(watch: AsyncIterator[list[TokenFrame]]) -> InvalidArgument:
        with pytest.raises(InvalidArgument) as refused:
            await anext(watch)
        return refused.value

    assert (await refusal(relay.watch(KEY, "", -1))).field == "attempt"
    assert (await refusal(relay.watch(KEY, "", 1, -1))).field == "offset"
    assert (await refusal(relay.watch(KEY, "", 0, 5))).field == "offset"
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        writer.append("four")
        assert "4 characters" in str(await refusal(relay.watch(KEY, "e-1", 1, 5)))
        outbox.commit(relay, COMPLETED, "four")
    assert "4 characters" in str(await refusal(relay.watch(KEY, "e-1", 1, 5)))
    outbox.generation = None
    with pytest.raises(NoGeneration):
        await anext(relay.watch(KEY))
    assert relay.generations == 0


@in_virtual_time
async def test_the_text_is_bounded() -> None:
    relay = TokenRelay(Outbox(), limit_bytes=4)
    with relay.open("e-1", 1, "") as writer:
        writer.append("1234")
        with pytest.raises(GenerationTooLarge):
            writer.append("5")


@pytest.mark.parametrize("seed", range(20))
def test_any_mix_of_joins_pauses_and_attempts_gives_everyone_the_same_text(seed: int) -> None:
    @in_virtual_time
    async def run() -> None:
        chance = random.Random(seed)
        outbox = Outbox()
        relay = TokenRelay(outbox)
        viewers: list[Viewer] = []
        attempts = chance.randint(1, 4)
        for attempt in range(1, attempts + 1):
            outbox.begin(attempt)
            text = ""
            with relay.open("e-1", attempt, "") as writer:
                for _ in range(chance.randint(0, 40)):
                    piece = "".join(chance.choices("ab 漢👩é", k=chance.randint(1, 6)))
                    writer.append(piece)
                    text += piece
                    if chance.random() < 0.2:
                        viewers.append(Viewer(relay))
                    if chance.random() < 0.1:
                        cut = chance.randint(0, len(text))
                        viewers.append(Viewer(relay, "e-1", attempt, cut, text[:cut]))
                    if chance.random() < 0.5:
                        await asyncio.sleep(chance.choice([0, 0.001, 0.015, 0.1]))
                if attempt == attempts:
                    outbox.commit(relay, COMPLETED, text)
        viewers.append(Viewer(relay))
        for viewer in viewers:
            assert await viewer.task == COMPLETED
            assert viewer.text == text
        assert relay.generations == 0

    run()


@in_virtual_time
async def test_a_generation_that_was_given_back_is_shown_again() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(3)
    failed = TokenEnd(GenerationOutcome.FAILED, error_message="busy", error_reason="BUSY")
    # Still open when the next attempt begins: what it was told of the end must not outlive that.
    with relay.open("e-1", 3, ""):
        first = Viewer(relay)
        await settle()
        outbox.commit(relay, failed)
        assert await first.task == failed
        assert outbox.generation is not None
        outbox.generation = outbox.generation._replace(end=None)
        outbox.begin(4)
        with relay.open("e-1", 4, "") as writer:
            writer.append("again")
            second = Viewer(relay)
            await settle()
            outbox.commit(relay, COMPLETED, "again")
        assert await second.task == COMPLETED
    assert second.text == "again"


class Recorder:
    """An outlet that keeps what is put."""

    def __init__(self, *, fails: bool = False) -> None:
        self.is_open = True
        self.texts: list[object] = []
        self.at_once: list[bool] = []
        self.calls = 0
        self._fails = fails

    def put(self, response: list[TokenFrame], *, at_once: bool) -> None:
        self.calls += 1
        if self._fails:
            raise ValueError("this cannot be written")
        self.texts += [frame.body for frame in response]
        self.at_once.append(at_once)


async def pulled(relay: TokenRelay, outlet: Recorder) -> list[TokenFrame]:
    """What a watch yields beside what it puts."""
    async with aclosing(relay.watch(KEY, "e-1", outlet=outlet)) as watch:
        return [frame async for frames in watch for frame in frames]


@pytest.mark.parametrize("way", ["put"], indirect=True)
@in_virtual_time
async def test_who_keeps_up_is_served_in_the_turn_of_the_writer() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox)
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        alone = Recorder()
        first = asyncio.create_task(pulled(relay, alone))
        await asyncio.sleep(0.05)
        writer.append("one ")
        assert alone.texts == ["one "], "nobody else had a turn"
        assert alone.at_once == [True]

        other = Recorder()
        second = asyncio.create_task(pulled(relay, other))
        await asyncio.sleep(0.05)
        writer.append("two ")
        assert alone.texts == ["one ", "two "]
        assert other.texts == ["two "]
        assert alone.at_once == [True, False], "what several are told may leave together"

        alone.is_open = False
        await asyncio.sleep(0.05)
        writer.append("three")
        await settle()
        assert alone.texts == ["one ", "two "]
        assert other.texts == ["two ", "three"]
        outbox.commit(relay, COMPLETED, "one two three")
    assert [frame.body for frame in await first] == [TokenAttemptStarted(""), "three", COMPLETED]
    assert [frame.body for frame in await second] == [TokenAttemptStarted(""), "one ", COMPLETED]


@pytest.mark.parametrize("way", ["put"], indirect=True)
@in_virtual_time
async def test_what_an_outlet_cannot_write_is_its_viewers_error_and_not_the_writers() -> None:
    outbox = Outbox()
    relay = TokenRelay(outbox, coalesce_s=0)
    outbox.begin(1)
    with relay.open("e-1", 1, "") as writer:
        broken, sound = Recorder(fails=True), Recorder()
        failing = asyncio.create_task(pulled(relay, broken))
        going = asyncio.create_task(pulled(relay, sound))
        await asyncio.sleep(0.05)
        writer.append("te")
        writer.append("xt")
        assert sound.texts == ["te", "xt"]
        assert broken.calls == 1, "nothing may follow what was lost"
        with pytest.raises(ValueError, match="cannot be written"):
            await failing
        outbox.commit(relay, COMPLETED, "text")
    assert (await going)[-1].body == COMPLETED
    assert relay.generations == 0
