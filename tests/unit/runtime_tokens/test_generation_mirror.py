"""Text that is copied from another node: the same frames as where it is made, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from durachart.runtime.generation.frames import (
    Generation,
    GenerationOutcome,
    TokenAttemptStarted,
    TokenEnd,
    TokenFrame,
)
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.nodes import RelayRow
from durachart.store.keys import InstanceKey
from tests.virtual_time import in_virtual_time, settle

KEY = InstanceKey("", "canvas", "c-1")
COMPLETED = TokenEnd(GenerationOutcome.COMPLETED, "stop", "m", None)


class Cluster:
    """Nodes that share what the store knows; ``owner`` has the text, and streams from it can be cut."""

    def __init__(self, nodes: int) -> None:
        self.generation = Generation("e-1", 0, "m", None, "")
        self.owner: int | None = None
        self.streams = 0
        self.cut = asyncio.Event()
        self.nodes = [TokenRelay(self, others=Others(self, number)) for number in range(nodes)]

    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation:
        return self.generation

    def begin(self, node: int, attempt: int) -> None:
        self.owner = node
        self.generation = self.generation._replace(attempt=attempt)

    def complete(self, text: str) -> None:
        self.generation = self.generation._replace(end=COMPLETED, text=text)
        if self.owner is not None:
            self.nodes[self.owner].effect_ended(KEY, "e-1", "completed")
        self.owner = None


class Others:
    """What one node sees of the others."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._cluster = cluster
        self._number = number

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        owner = self._cluster.owner
        if owner is None or owner == self._number:
            return None
        return RelayRow(str(owner), "", self._cluster.generation.attempt)

    async def watch(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncGenerator[list[TokenFrame], None]:
        self._cluster.streams += 1
        cut = self._cluster.cut
        watching = self._cluster.nodes[int(relay.node_id)].watch_here(key, effect_id, attempt, offset)
        async with aclosing(watching) as batches:
            async for frames in batches:
                yield frames
                if cut.is_set():
                    raise ConnectionError("cut")


class Viewer:
    """Reads to the end; frames join without gap or duplicate."""

    def __init__(self, relay: TokenRelay, attempt: int = 0, text: str = "") -> None:
        self.texts: dict[int, str] = {attempt: text} if attempt else {}
        self._watch = relay.watch(KEY, "e-1", attempt, len(text))
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> TokenEnd:
        async with aclosing(self._watch) as batches:
            async for frames in batches:
                for frame in frames:
                    if isinstance(frame.body, TokenAttemptStarted):
                        self.texts[frame.attempt] = ""
                    elif isinstance(frame.body, str):
                        assert frame.offset == len(self.texts[frame.attempt])
                        self.texts[frame.attempt] += frame.body
                    else:
                        return frame.body
        raise AssertionError("no end")


@in_virtual_time
async def test_all_viewers_of_a_node_share_one_stream_and_see_what_is_seen_at_the_owner() -> None:
    cluster = Cluster(2)
    viewers = [Viewer(cluster.nodes[node]) for node in (0, 1, 1, 1)]
    await asyncio.sleep(3)
    cluster.begin(0, 1)
    with cluster.nodes[0].open("e-1", 1, "m") as writer:
        for word in ["one ", "two ", "three"]:
            writer.append(word)
            await asyncio.sleep(0.7)
        viewers.append(Viewer(cluster.nodes[1], 1, "one "))
        await settle()
        cluster.complete("one two three")
        assert [await viewer.task for viewer in viewers] == [COMPLETED] * 5
    assert [viewer.texts for viewer in viewers] == [{1: "one two three"}] * 5
    assert cluster.streams == 1
    assert [relay.generations for relay in cluster.nodes] == [0, 0]


@in_virtual_time
async def test_a_stream_that_breaks_is_taken_up_where_the_copy_ends() -> None:
    cluster = Cluster(2)
    viewer = Viewer(cluster.nodes[1])
    cluster.begin(0, 1)
    with cluster.nodes[0].open("e-1", 1, "m") as writer:
        for number in range(10):
            writer.append(f"{number} ")
            await asyncio.sleep(0.3)
            cluster.cut.set()
            writer.append("cut ")
            await asyncio.sleep(0.3)
            cluster.cut.clear()
        cluster.complete("".join(f"{number} cut " for number in range(10)))
        assert await viewer.task == COMPLETED
    assert viewer.texts == {1: cluster.generation.text}
    assert cluster.streams >= 10


@in_virtual_time
async def test_the_next_attempt_is_shown_wherever_it_is_made() -> None:
    cluster = Cluster(3)
    viewers = [Viewer(relay) for relay in cluster.nodes]
    for attempt, node in ((1, 0), (2, 1), (3, 2)):
        cluster.begin(node, attempt)
        # The one before does not know that it was passed over, and writes on.
        writer = cluster.nodes[node].open("e-1", attempt, "m")
        writer.append(f"attempt {attempt}")
        await asyncio.sleep(3)
        cluster.owner = None
        if attempt < 3:
            writer.close()
        await asyncio.sleep(3)
    cluster.owner = 2
    cluster.complete("attempt 3, whole")
    assert [await viewer.task for viewer in viewers] == [COMPLETED] * 3
    writer.close()
    for viewer in viewers:
        assert viewer.texts == {1: "attempt 1", 2: "attempt 2", 3: "attempt 3, whole"}


@in_virtual_time
async def test_an_end_is_found_although_whoever_had_the_text_is_gone() -> None:
    cluster = Cluster(2)
    cluster.begin(0, 1)
    cluster.owner = None
    viewer = Viewer(cluster.nodes[1])
    await asyncio.sleep(1)
    cluster.complete("whole")
    assert await viewer.task == COMPLETED
