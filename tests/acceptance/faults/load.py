"""Clients that send events through whatever happens to the server, and write down what they saw.

A request is sent again, under its id, until it is answered: after a lost connection, a refused one, a
deadline. Each attempt is a call of the history. Beside events there are reads, events that must be refused,
some that expect a version, and now and then the repetition of a request that was answered long ago.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from durachart_client import (
    Client,
    EventRefused,
    InstanceExists,
    InstanceState,
    RetryPolicy,
    ServerError,
    Snapshot,
    Transition,
    VersionConflict,
)
from tests.acceptance.faults.ledger import MACHINE_ID, Cause, Ledger
from tests.acceptance.faults.linearizability import Answer, Call, Read, Request
from tests.processes import PATIENCE_S

_ONCE: Final = RetryPolicy(max_attempts=1)
# A server that is back is to be found at once.
_CHANNEL: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
)
# After these it is not known whether the call took effect.
_UNKNOWN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"})
_PAUSE_S: Final = (0.02, 0.1)

READ, AGAIN, EXPECTING = "read", "again", "expecting"
_MIX: Final = {
    "ADD": 58,
    EXPECTING: 12,
    "NOTE": 6,
    "REMARK": 3,
    "ARM": 7,
    "BREAK": 2,
    "NOPE": 2,
    READ: 7,
    AGAIN: 3,
}
_BAD_ADD: Final = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """What a load looks like.

    Attributes:
        writers: Clients that each wait for an answer before they go on.
        rate: Events per second that all of them aim at together.
        hot: Instances that half of the events go to.
        spread: Instances that share the other half.
        timeout_ms: Deadline of one call.
        posts: Whether some events ask for effects that a worker of its own runs.
    """

    writers: int = 16
    rate: float = 400.0
    hot: int = 2
    spread: int = 40
    timeout_ms: int = 3_000
    posts: bool = False


@dataclass(slots=True)
class History:
    """What clients saw, in the order in which they saw it.

    Attributes:
        calls: Every attempt at every request.
        reads: Every state that was asked for and shown.
        watched: What one watch over all instances showed, by instance: versions and the states there.
        failures: How often a call failed with which code and reason.
        messages: One message of each of these failures.
    """

    calls: list[Call] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    watched: defaultdict[str, list[tuple[int, Ledger]]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def answered(self) -> set[str]:
        """Ids of the requests that were answered."""
        return {call.request.request_id for call in self.calls if call.answer is not None}


class Load:
    """Writers on one server; `start` them, `stop` them, and read ``history``."""

    def __init__(self, addresses: Sequence[str], seed: int, name: str, shape: Shape | None = None) -> None:
        """Prepare.

        Args:
            addresses: Servers of one database, each ``HOST:PORT``; the writers are dealt out to them, and a
                request that one of them does not answer goes on to the next.
            seed: Of what is asked, and of whom.
            name: Begins every instance id and request id.
            shape: None: as it is by default.
        """
        self.history = History()
        self.shape = shape or Shape()
        self._chance = random.Random(seed)
        self._name = name
        self._addresses = addresses
        self._hot = [f"{name}-hot-{number}" for number in range(self.shape.hot)]
        self._spread = [f"{name}-{number}" for number in range(self.shape.spread)]
        self._versions: dict[str, int] = {}
        self._being_made: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked: list[Request] = []
        self._numbers = 0
        self._answers = 0
        self._next_at = 0.0
        self._stopping = False
        self._writers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None

    @property
    def instance_ids(self) -> list[str]:
        """Of all its instances, whether they were made yet or not."""
        return [*self._hot, *self._spread]

    def start(self) -> None:
        """Begin to send."""
        self._next_at = time.monotonic()
        self._watcher = asyncio.create_task(self._watch())
        for number in range(self.shape.writers):
            self._writers.append(asyncio.create_task(self._write(number)))

    async def stop(self) -> None:
        """Begin nothing new, and wait until what was begun is answered; raises what broke a writer."""
        self._stopping = True
        await asyncio.gather(*self._writers)

    async def stop_watching(self, versions: Mapping[str, int]) -> None:
        """Wait until the watch has shown these versions, by instance, and end it; raises what broke it."""
        assert self._watcher is not None
        watched = self.history.watched
        try:
            async with asyncio.timeout(PATIENCE_S):
                while any(not watched[one] or watched[one][-1][0] < at for one, at in versions.items()):
                    if self._watcher.done():
                        break
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass  # What it has not shown is found when all is compared.
        self._watcher.cancel()
        with suppress(asyncio.CancelledError):
            await self._watcher

    async def wait_calls(self, count: int) -> None:
        """Wait until ``count`` more calls have ended; raises what broke a writer."""
        await self._wait(lambda: len(self.history.calls), count)

    async def wait_answers(self, count: int) -> None:
        """Wait until ``count`` more calls have been answered; raises what broke a writer."""
        await self._wait(lambda: self._answers, count)

    async def wait_failures(self, which: tuple[str, str], count: int) -> None:
        """Wait until ``count`` more calls have failed like this; raises what broke a writer."""
        await self._wait(lambda: self.history.failures[which], count)

    async def _wait(self, what: Callable[[], int], count: int) -> None:
        wanted = what() + count
        async with asyncio.timeout(PATIENCE_S):
            while what() < wanted:
                broken = [each for each in self._writers if each.done()]
                if broken:
                    await asyncio.gather(*broken)
                await asyncio.sleep(0.01)

    async def repeat(self, count: int) -> None:
        """Send up to ``count`` requests that were answered again, over what is there now."""
        async with self._clients(0) as clients:
            for request in self._chance.sample(self._asked, min(count, len(self._asked))):
                await self._ask(clients, request)

    @asynccontextmanager
    async def _clients(self, number: int) -> AsyncIterator[deque[Client]]:
        """A client for each server; the first is the one to ask first."""
        timeout = timedelta(milliseconds=self.shape.timeout_ms)
        async with AsyncExitStack() as stack:
            clients = deque(
                [
                    await stack.enter_async_context(
                        Client(address, retry=_ONCE, timeout=timeout, options=_CHANNEL)
                    )
                    for address in self._addresses
                ]
            )
            clients.rotate(number)
            yield clients

    async def _write(self, number: int) -> None:
        async with self._clients(number) as clients:
            while not self._stopping:
                await self._pace()
                instance_id = self._chance.choice(self._hot if self._chance.random() < 0.5 else self._spread)
                await self._make(clients, instance_id)
                (what,) = self._chance.choices(list(_MIX), list(_MIX.values()))
                if what == "NOTE" and self.shape.posts and self._chance.random() < 0.7:
                    what = "POST"
                if what == READ:
                    await self._read(clients, instance_id)
                elif what == AGAIN and self._asked:
                    await self._ask(clients, self._chance.choice(self._asked))
                else:
                    await self._ask(clients, self._request(instance_id, what))

    async def _watch(self) -> None:
        ours = frozenset(self.instance_ids)
        timeout = timedelta(seconds=PATIENCE_S)
        async with Client(self._addresses[0], timeout=timeout, options=_CHANNEL) as client:
            async for event in client.watch(MACHINE_ID):
                if isinstance(event, Snapshot | Transition) and event.state.instance.instance_id in ours:
                    seen = self.history.watched[event.state.instance.instance_id]
                    seen.append((event.state.version, _shown(event.state)))

    async def _pace(self) -> None:
        now = time.monotonic()
        # What was missed while nobody answered is not made up for.
        self._next_at = max(self._next_at, now - 0.2) + 1 / self.shape.rate
        if self._next_at > now:
            await asyncio.sleep(self._next_at - now)

    async def _make(self, clients: deque[Client], instance_id: str) -> None:
        if instance_id in self._versions:
            return
        async with self._being_made[instance_id]:
            if instance_id not in self._versions:
                request = Request(instance_id, f"{instance_id}-create", Cause("create", ""))
                await self._ask(clients, request)

    def _request(self, instance_id: str, what: str) -> Request:
        self._numbers += 1
        number = self._numbers
        event_type, expected = what, None
        if what in (EXPECTING, AGAIN):
            event_type = "ADD"
            expected = self._versions.get(instance_id) if what == EXPECTING else None
        elif what == "ADD" and self._chance.random() < _BAD_ADD:
            number = -number
        cause = Cause("event", event_type, number)
        return Request(instance_id, f"{self._name}-{self._numbers}", cause, expected)

    async def _ask(self, clients: deque[Client], request: Request) -> None:
        """Send a request until it is answered."""
        while True:
            began = time.monotonic()
            answer: Answer | None
            try:
                answer = await self._send(clients[0], request)
            except ServerError as error:
                self._count(error)
                answer = self._refusal(error)
            self.history.calls.append(Call(request, began, time.monotonic(), answer))
            if answer is not None:
                self._answers += 1
                break
            clients.rotate()
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))
        if not answer.replayed:
            self._asked.append(request)
        if answer.version is not None:
            known = self._versions.get(request.instance_id, 0)
            self._versions[request.instance_id] = max(known, answer.version)

    async def _send(self, client: Client, request: Request) -> Answer:
        instance_id, request_id, cause, expected = request
        if cause.kind == "create":
            created = await client.create(MACHINE_ID, instance_id, request_id=request_id)
            return Answer("", created.state.version, _shown(created.state), created.replayed)
        accepted = await client.send(
            MACHINE_ID,
            instance_id,
            cause.event_type,
            {"n": cause.n},
            expected_version=expected,
            request_id=request_id,
        )
        return Answer("", accepted.state.version, _shown(accepted.state), accepted.replayed)

    def _refusal(self, error: ServerError) -> Answer | None:
        """The answer that an error is; None: it is not known what became of the call."""
        if isinstance(error, EventRefused):
            return Answer(error.reason, error.version, None, error.replayed)
        if isinstance(error, VersionConflict):
            return Answer(error.reason, error.actual, None, error.replayed)
        if isinstance(error, InstanceExists):
            return Answer(error.reason, None, None, error.replayed)
        if error.code not in _UNKNOWN:
            raise error
        return None

    async def _read(self, clients: deque[Client], instance_id: str) -> None:
        began = time.monotonic()
        try:
            state = await clients[0].get(MACHINE_ID, instance_id)
        except ServerError as error:
            self._count(error)
            if error.code not in _UNKNOWN:
                raise
            clients.rotate()
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))
            return
        read = Read(instance_id, began, time.monotonic(), state.version, _shown(state))
        self.history.reads.append(read)
        self._versions[instance_id] = max(self._versions.get(instance_id, 0), state.version)

    def _count(self, error: ServerError) -> None:
        which = (error.code, error.reason)
        self.history.failures[which] += 1
        self.history.messages.setdefault(which, error.message)


def _shown(state: InstanceState) -> Ledger:
    return Ledger.shown(state.value, state.context)
