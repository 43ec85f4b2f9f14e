"""Text of the generations of what is watched, in the watch's own stream.

A generation is followed from the frame that shows it as running: its text comes after that frame. It is
followed to its end before the frame that shows it as ended is sent, so that whoever reads the stream has the
whole text when it hears that the generation is over. Between the two, text and changes come as they do.

Of each generation that runs, one batch of frames is held here until it is taken; the relay is asked for more
only then, and gives all there is by then. So a slow reader gets larger pieces, less often, and costs no
more than the texts that it could be sent. Text is not covered by resume tokens: a new stream begins it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Final

from durachart.runtime.errors import DurachartError
from durachart.runtime.generation.frames import TokenEnd, TokenFrame
from durachart.runtime.generation.source import GENERATE
from durachart.runtime.views import (
    RunningEffect,
    WatchDeleted,
    WatchFrame,
    WatchGap,
    WatchSnapshot,
    WatchTokens,
    WatchTransition,
)
from durachart.store.keys import InstanceKey

_log = logging.getLogger(__name__)

_REST_S: Final = 2.0
"""How long the end of a generation that is known to have ended is waited for, in seconds."""

WatchText = Callable[[InstanceKey, str, int, int], AsyncGenerator[list[TokenFrame], None]]
"""``watch(key, effect id, attempt, offset)``: text from there on, and its end. `TokenRelay.watch` is one."""


class _Generation:
    """One that is followed: where its reader stands, and what it can be sent next."""

    __slots__ = ("attempt", "effect_id", "ended", "key", "offset", "ready", "taken", "task")

    def __init__(self, key: InstanceKey, effect_id: str) -> None:
        self.key = key
        self.effect_id = effect_id
        self.attempt = 0
        self.offset = 0
        self.ended = False
        self.ready: list[TokenFrame] = []
        self.taken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def note(self, frames: Sequence[TokenFrame]) -> None:
        """These were sent."""
        last = frames[-1]
        self.attempt, self.offset = last.attempt, last.next_offset
        self.ended = isinstance(last.body, TokenEnd)


class Texts:
    """All generations that one watch follows."""

    def __init__(self, watch_text: WatchText, wake: Callable[[], None]) -> None:
        """Follow by ``watch_text``; call ``wake`` when there is something to take."""
        self._watch_text = watch_text
        self._wake = wake
        self._of: dict[InstanceKey, dict[str, _Generation]] = {}
        self._new: list[_Generation] = []
        self._ready: deque[_Generation] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready)

    async def weave(self, frames: Iterable[WatchFrame], token: str) -> list[WatchFrame]:
        """The frames with, before each one that shows a generation as ended, the rest of its text.

        What the frames show as running is followed once `start` is called.

        Args:
            frames: About to be sent.
            token: Of the frame sent before them.
        """
        woven: list[WatchFrame] = []
        for frame in frames:
            match frame:
                case WatchSnapshot() | WatchTransition() | WatchGap():
                    key, running = frame.state.key, frame.state.running_effects
                    stays = isinstance(frame, WatchSnapshot) or frame.matches
                case WatchDeleted():
                    key, running, stays = frame.key, (), False
                case _:
                    woven.append(frame)
                    token = frame.resume_token
                    continue
            for generation in self._ended(key, running):
                rest = await self._rest(generation)
                if rest:
                    woven.append(WatchTokens(token, key, tuple(rest)))
            if stays:
                self._follow(key, running)
            else:
                self._leave(key)
            woven.append(frame)
            token = frame.resume_token
        return woven

    def start(self) -> None:
        """Begin with the text of what has come to run."""
        for generation in self._new:
            if generation.task is None and self._is_followed(generation):
                task = asyncio.create_task(self._read(generation), name="durachart-watched-text")
                generation.task = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._new.clear()

    def take(self, token: str, limit: int) -> list[WatchFrame]:
        """Text of up to ``limit`` generations, those that have waited longest."""
        taken: list[WatchFrame] = []
        while self._ready and len(taken) < limit:
            generation = self._ready.popleft()
            frames, generation.ready = generation.ready, []
            if frames:
                generation.note(frames)
                generation.taken.set()
                taken.append(WatchTokens(token, generation.key, tuple(frames)))
        return taken

    async def close(self) -> None:
        """Follow nothing any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _is_followed(self, generation: _Generation) -> bool:
        return self._of.get(generation.key, {}).get(generation.effect_id) is generation

    def _follow(self, key: InstanceKey, running: Sequence[RunningEffect]) -> None:
        for effect in running:
            if effect.handler == GENERATE:
                own = self._of.setdefault(key, {})
                if effect.effect_id not in own:
                    own[effect.effect_id] = generation = _Generation(key, effect.effect_id)
                    self._new.append(generation)

    def _ended(self, key: InstanceKey, running: Sequence[RunningEffect]) -> list[_Generation]:
        """Those followed that do not run any more; they are let go of."""
        own = self._of.get(key)
        if own is None:
            return []
        left = {effect.effect_id for effect in running}
        ended = [generation for name, generation in own.items() if name not in left]
        for generation in ended:
            del own[generation.effect_id]
        if not own:
            del self._of[key]
        return ended

    def _leave(self, key: InstanceKey) -> None:
        for generation in self._of.pop(key, {}).values():
            generation.ready = []
            if generation.task is not None:
                generation.task.cancel()

    async def _read(self, generation: _Generation) -> None:
        watching = self._watch_text(
            generation.key, generation.effect_id, generation.attempt, generation.offset
        )
        try:
            async with aclosing(watching) as batches:
                async for frames in batches:
                    generation.taken.clear()
                    generation.ready = frames
                    self._ready.append(generation)
                    self._wake()
                    await generation.taken.wait()
        except DurachartError as error:
            # What is missing comes with the generation's end.
            _log.info("text not followed effect=%s error=%s", generation.effect_id, error)

    async def _rest(self, generation: _Generation) -> list[TokenFrame]:
        """What there is still to be sent of a generation that has ended, its end included."""
        if generation.task is not None:
            generation.task.cancel()
            generation.ready = []
        if generation.ended:
            return []
        rest: list[TokenFrame] = []
        watching = self._watch_text(
            generation.key, generation.effect_id, generation.attempt, generation.offset
        )
        # The store says how it ended. Should nobody be able to, the watch must not wait for it.
        with suppress(DurachartError, TimeoutError):
            async with asyncio.timeout(_REST_S), aclosing(watching) as batches:
                async for frames in batches:
                    rest += frames
        return rest
