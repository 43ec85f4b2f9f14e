"""Generations whose text people follow while the nodes that make it, and those that relay it, fail.

Every attempt at a generation is answered with a text of its own, so that text of two attempts is never taken
for that of one. What each viewer got must be, attempt by attempt, the beginning of one such text, without gap
or repetition, every attempt announced; and once it is told that the generation is complete, the text that is
stored.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from durachart_client import (
    AttemptStarted,
    Client,
    GenerationEnd,
    JournalEntry,
    RetryPolicy,
    ServerError,
    Text,
)
from durachart_client.gen import token_service_pb2 as pb
from durachart_client.gen import token_service_pb2_grpc as pb_grpc
from durachart_client.gen.types_pb2 import InstanceRef as InstanceName
from tests.acceptance.faults.streams import CHANNEL, RECONNECTING
from tests.acceptance.faults.streams_cluster import Cluster
from tests.processes import PATIENCE_S
from tests.providers.sse_server import Exchange

MACHINE_ID: Final = "tale"
MODEL: Final = "openai/teller"
DOCUMENT: Final[Mapping[str, Any]] = {
    "machine": {
        "id": MACHINE_ID,
        "initial": "telling",
        "states": {
            "telling": {
                "entry": {"type": "tell", "params": {"prompt": "a tale of storms and restarts"}},
                "on": {"TOLD": "told", "STOPPED": "stopped"},
            },
            "told": {"type": "final"},
            "stopped": {"type": "final"},
        },
    },
    "effects": {
        "tell": {
            "handler": "llm.generate",
            "done": "TOLD",
            "stopped": "STOPPED",
            "retry": {"max_attempts": 1_000, "initial_backoff_ms": 10, "max_backoff_ms": 10},
        }
    },
}
_WORDS, _WORD_EVERY_S = 60, 0.015
_VIEWERS: Final = 2
_LEAVES, _STOPPED = 0.05, 0.2
_PAUSE_S: Final = (0.02, 0.1)
# A node that is cut off from the others, and does not know it, has nothing to say.
_SILENCE_S: Final = 3.0
_GOES_ON: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
_OUTCOMES: Final = {"TOLD": "completed", "STOPPED": "stopped"}

Answer = TypeVar("Answer")


class Teller:
    """A provider that tells something else each time.

    Attributes:
        texts: What it set out to say.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def tell(self, exchange: Exchange) -> None:
        """Answer a request, word by word."""
        words = [f"{len(self.texts)}.{number} 😀 " for number in range(_WORDS)]
        self.texts.append("".join(words))
        await exchange.begin()
        for word in words:
            await exchange.event(_chunk(word))
            await asyncio.sleep(_WORD_EVERY_S)
        await exchange.event(_chunk("", "stop"))
        await exchange.event("[DONE]")


def _chunk(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "teller",
        "choices": [choice],
    }


@dataclass(slots=True)
class Viewed:
    """What one viewer got.

    Attributes:
        who: For people.
        texts: By attempt, in the order in which they came.
        outcome: How the generation was said to have ended; ``""``: it was not.
        wrong: What must not come.
    """

    who: str
    texts: dict[int, str] = field(default_factory=dict)
    outcome: str = ""
    wrong: list[str] = field(default_factory=list)


class Tale:
    """One generation, those who follow it, and perhaps somebody who stops it."""

    def __init__(self, cluster: Cluster, instance_id: str, seed: int) -> None:
        self.instance_id = instance_id
        self.viewed: list[Viewed] = []
        self.losses: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = random.Random(seed)

    async def run(self) -> None:
        """Begin it, and follow it to its end."""
        await self._ask(lambda client: client.create(MACHINE_ID, self.instance_id, request_id="begin"))
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for number in range(_VIEWERS):
                group.create_task(self._view(number))
            group.create_task(self._view_by_client())
            if self._chance.random() < _STOPPED:
                group.create_task(self._stop())

    async def view_late(self) -> None:
        """Follow it from the beginning at every node, after its end."""
        for number, address in enumerate(self._cluster.addresses):
            viewed = Viewed(f"{self.instance_id}, late viewer {number}")
            self.viewed.append(viewed)
            async with asyncio.timeout(PATIENCE_S):
                lost = await self._follow(viewed, address, 0, 0, leaves=0.0)
            assert not lost, f"{viewed.who}: {lost}"

    async def _stop(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, 1.5 * _WORDS * _WORD_EVERY_S))
        await self._ask(
            lambda client: client.stop_generation(MACHINE_ID, self.instance_id, request_id="stop")
        )

    async def _ask(self, call: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Call one node after the other until it is answered."""
        addresses = list(self._cluster.addresses)
        self._chance.shuffle(addresses)
        timeout, once = timedelta(seconds=1), RetryPolicy(max_attempts=1)
        async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    Client(address, timeout=timeout, retry=once, options=RECONNECTING)
                )
                for address in addresses
            ]
            while True:
                try:
                    return await call(clients[0])
                except ServerError as error:
                    if error.code not in _GOES_ON:
                        raise
                clients.append(clients.pop(0))
                await asyncio.sleep(self._chance.uniform(*_PAUSE_S))

    async def _view(self, number: int) -> None:
        viewed = Viewed(f"{self.instance_id}, viewer {number}")
        self.viewed.append(viewed)
        attempt = 0
        while not viewed.outcome:
            address = self._chance.choice(self._cluster.addresses)
            attempt = max(viewed.texts, default=0)
            offset = len(viewed.texts.get(attempt, ""))
            self.losses[await self._follow(viewed, address, attempt, offset, leaves=_LEAVES)] += 1
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))

    async def _follow(self, viewed: Viewed, address: str, attempt: int, offset: int, *, leaves: float) -> str:
        """Follow until the connection ends; the return value says why it did, ``""``: all was said."""
        request = pb.WatchTokensRequest(
            instance=InstanceName(machine_id=MACHINE_ID, instance_id=self.instance_id),
            attempt=attempt,
            offset=offset,
        )
        reading = _Reading(viewed, attempt, offset)
        async with grpc.aio.insecure_channel(address, options=CHANNEL) as channel:
            stub: Any = pb_grpc.TokenServiceStub(channel)  # type: ignore[no-untyped-call]
            call = stub.WatchTokens(request)
            try:
                while True:
                    async with asyncio.timeout(_SILENCE_S):
                        message = await call.read()
                    if message is grpc.aio.EOF:
                        return "" if viewed.outcome else "ended"
                    for frame in message.frames:
                        reading.take(frame)
                        if not viewed.outcome and self._chance.random() < leaves:
                            return "left"
            except TimeoutError:
                return "silence"
            except grpc.aio.AioRpcError as error:
                if error.code().name not in _GOES_ON:
                    raise
                return str(error.code().name)
            finally:
                call.cancel()

    async def _view_by_client(self) -> None:
        viewed = Viewed(f"{self.instance_id}, our client")
        self.viewed.append(viewed)
        timeout, soon = timedelta(seconds=PATIENCE_S), RetryPolicy(maximum_ms=200)
        options = (*CHANNEL, *RECONNECTING, ("grpc.keepalive_time_ms", 10_000))
        async with (
            Client(self._cluster.roving.address, timeout=timeout, retry=soon, options=options) as client,
            aclosing(client.watch_tokens(MACHINE_ID, self.instance_id)) as stream,
        ):
            async for event in stream:
                match event:
                    case AttemptStarted(attempt=attempt):
                        if attempt <= max(viewed.texts, default=0):
                            viewed.wrong.append(f"attempt {attempt} begins after {list(viewed.texts)}")
                        viewed.texts[attempt] = ""
                    case Text(attempt=attempt, offset=offset, text=text):
                        if attempt not in viewed.texts:
                            viewed.wrong.append(f"text of attempt {attempt}, which was not announced")
                        elif offset != len(viewed.texts[attempt]):
                            viewed.wrong.append(f"text at {offset} after {len(viewed.texts[attempt])}")
                        viewed.texts[attempt] = viewed.texts.get(attempt, "") + text
                    case GenerationEnd(outcome=outcome):
                        viewed.outcome = outcome

    def contradictions(self, entries: Sequence[JournalEntry], teller: Teller) -> Iterator[str]:
        """What viewers got and should not have.

        Args:
            entries: The instance's journal.
            teller: Whose texts they are.
        """
        ends = [entry for entry in entries if entry.outcome == "accepted" and entry.event_type in _OUTCOMES]
        if len(ends) != 1:
            yield f"{self.instance_id} ended {len(ends)} times"
            return
        outcome = _OUTCOMES[ends[0].event_type]
        data: Any = ends[0].data
        stored = data["output"]["text"] if outcome == "completed" else None
        if stored is not None and stored not in teller.texts:
            yield f"{self.instance_id}: what is stored was never told: {stored!r}"
        longest: dict[int, str] = {}
        for viewed in self.viewed:
            for attempt, text in viewed.texts.items():
                longest[attempt] = max(longest.get(attempt, ""), text, key=len)
        for attempt, text in longest.items():
            if text and not any(told.startswith(text) for told in teller.texts):
                yield f"{self.instance_id}: attempt {attempt} was never told: {text!r}"
        for viewed in self.viewed:
            yield from (f"{viewed.who}: {one}" for one in viewed.wrong)
            if viewed.outcome != outcome:
                yield f"{viewed.who} was told that it was {viewed.outcome or 'never ended'}, not {outcome}"
            last = viewed.texts[max(viewed.texts)] if viewed.texts else ""
            if stored is not None and last != stored:
                yield f"{viewed.who} got {last!r}, not {stored!r}"
            for attempt, text in viewed.texts.items():
                if not longest[attempt].startswith(text):
                    yield f"{viewed.who} got another text of attempt {attempt} than others: {text!r}"


class _Reading:
    """The frames of one connection, as they come."""

    def __init__(self, viewed: Viewed, attempt: int, offset: int) -> None:
        self._viewed = viewed
        self._attempt = attempt
        self._offset = offset

    def take(self, frame: pb.TokenFrame) -> None:
        """Check a frame against what it must follow, and keep what it says."""
        viewed, kind = self._viewed, frame.WhichOneof("body")
        if viewed.outcome:
            viewed.wrong.append(f"{kind} after the end")
        if kind == "end":
            outcome = pb.TokenEnd.Outcome.Name(frame.end.outcome)
            viewed.outcome = outcome.removeprefix("OUTCOME_").lower()
            return
        if frame.attempt < self._attempt:
            viewed.wrong.append(f"{kind} of attempt {frame.attempt} after {self._attempt}")
        elif kind == "started":
            if frame.attempt == self._attempt:
                viewed.wrong.append(f"attempt {frame.attempt} announced, which goes on")
            viewed.texts[frame.attempt] = ""
            self._attempt, self._offset = frame.attempt, 0
        else:
            if frame.attempt != self._attempt:
                viewed.wrong.append(f"text of attempt {frame.attempt}, which was not announced")
                self._attempt, self._offset = frame.attempt, frame.offset
            if frame.offset != self._offset or frame.next_offset != frame.offset + len(frame.text):
                viewed.wrong.append(f"text at {frame.offset}..{frame.next_offset} after {self._offset}")
            self._offset = frame.next_offset
            viewed.texts[frame.attempt] = viewed.texts.get(frame.attempt, "") + frame.text


class Tales:
    """One tale after the other, some at a time, until told to end.

    Attributes:
        told: All of them.
    """

    def __init__(self, cluster: Cluster, name: str, seed: int, at_once: int = 4) -> None:
        self.told: list[Tale] = []
        self._cluster = cluster
        self._name = name
        self._chance = random.Random(seed)
        self._at_once = at_once
        self._stopping = False
        self._tellers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tellers = [asyncio.create_task(self._tell()) for _ in range(self._at_once)]

    async def stop(self) -> None:
        """Let those that were begun come to their end; raises what broke one."""
        self._stopping = True
        await asyncio.gather(*self._tellers)

    async def _tell(self) -> None:
        while not self._stopping:
            tale = Tale(self._cluster, f"{self._name}-tale-{len(self.told)}", self._chance.randrange(2**32))
            self.told.append(tale)
            await tale.run()

    async def check(self, teller: Teller) -> str:
        """Follow all of them once more, and compare; raises AssertionError with what is wrong."""
        wrong: list[str] = []
        async with Client(self._cluster.addresses[0]) as client:
            for tale in self.told:
                await tale.view_late()
                entries = [entry async for entry in client.journal(MACHINE_ID, tale.instance_id)]
                wrong += tale.contradictions(entries, teller)
        assert not wrong, f"{len(wrong)} broken promises:\n" + "\n".join(wrong[:20])
        outcomes = Counter(tale.viewed[0].outcome for tale in self.told)
        attempts = sum(max(viewed.texts, default=0) > 1 for tale in self.told for viewed in tale.viewed[:1])
        losses: Counter[str] = Counter()
        for tale in self.told:
            losses += tale.losses
        return (
            f"{len(self.told)} generations ({dict(outcomes)}; {attempts} begun again), {len(teller.texts)} "
            f"attempts; connections ended: {dict(losses)}"
        )


async def publish(address: str) -> None:
    """Have the machine known."""
    async with Client(address) as client:
        await client.publish(json.dumps(DOCUMENT))
