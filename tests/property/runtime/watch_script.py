"""Random commands, and watchers that read when they like, break off anywhere and come back.

A run is a list of turns: something happens to the instances, or one watcher takes a message, or one breaks
off and goes on from one of the frames it had. In the end every watcher reads on until it has heard of
everything, and the journal says whether what it was told was true.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from durachart.runtime.commands import CreateInstance, DeleteInstance, SendEvent
from durachart.runtime.errors import DurachartError, InstanceNotFound
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import View, WatchFilter, WatchFrame, WatchSpec
from durachart.store.interface import Store
from durachart.store.keys import InstanceKey
from tests.property.runtime.watch_guarantees import (
    Connection,
    Happened,
    Key,
    Truth,
    Violation,
    change_of,
    frame_of,
    is_accepted,
    position_of,
    violations,
)
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import key

KEYS = [key(name) for name in ("a", "b", "c", "d", "e")]
TEAM_A = {KEYS[0], KEYS[1]}
EVENTS = ["GO", "GO", "ADD", "ADD", "ADD", "LEAVE", "LEAVE", "TELL", "PAID", "NOPE"]


class Watched(NamedTuple):
    """A way to watch, and what it means, said without the code under test."""

    spec: WatchSpec
    watched: Callable[[Key], bool] = lambda _key: True
    matches: Callable[[Happened], bool] = lambda _change: True


def _jobs(**given: Any) -> WatchSpec:
    return WatchSpec(filter=WatchFilter("", "job", **given), view=View.BASIC)


def _is_of_team_a(change: Happened) -> bool:
    return InstanceKey(*change.key) in TEAM_A


WAYS = [
    Watched(_jobs()),
    Watched(WatchSpec(tuple(KEYS[:3]), view=View.BASIC), lambda key: InstanceKey(*key) in KEYS[:3]),
    Watched(_jobs(state_ids=("job.working", "job.late")), matches=lambda change: change.value == '"working"'),
    Watched(_jobs(tags=("resting",)), matches=lambda change: change.value == '"idle"'),
    Watched(_jobs(labels={"team": "a"}), matches=_is_of_team_a),
    Watched(_jobs(status="done"), matches=lambda change: change.value == '"finished"'),
    Watched(
        _jobs(status="active", labels={"team": "a"}, tags=("resting",)),
        matches=lambda change: _is_of_team_a(change) and change.value == '"idle"',
    ),
]


class Reader:
    """One watcher: one that takes a message when it is told to, or one that waits for messages all the time.

    The latter is an outlet, open by chance: what happens is then put, or yielded.
    """

    def __init__(self, service: Service, watched: Watched, chance: Random, *, conflate: bool) -> None:
        self._service = service
        self.watched = watched
        self._conflate = conflate
        self._chance = chance
        self._waits = chance.random() < 0.5
        self.connections: list[Connection] = []
        self._batches: AsyncGenerator[list[WatchFrame], None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    @property
    def position(self) -> int:
        """Up to where it knows everything."""
        frames = self.connections[-1].frames if self.connections else []
        last = position_of(frames[-1].token) if frames else None
        return -1 if last is None or last.snapshot_of is not None else last.revision

    @property
    def is_open(self) -> bool:
        """See ``Outlet``."""
        return self._chance.random() < 0.7

    def put(self, response: list[WatchFrame], *, at_once: bool) -> None:
        """See ``Outlet``."""
        assert response
        self.connections[-1].frames += map(frame_of, response)
        self._arrived.set()

    async def read(self) -> None:
        """Take one message, or wait for one."""
        if self._batches is None:
            token = self._token()
            spec = self.watched.spec._replace(resume_token=token, conflate=self._conflate)
            self._batches = self._service.runtime.watch(spec, ADA, self if self._waits else None)
            self.connections.append(Connection(token, conflate=self._conflate))
            if self._waits:
                self._waiting = asyncio.create_task(self._wait(self._batches))
        if self._waiting is None:
            self.put(await anext(self._batches), at_once=True)
        else:
            self._arrived.clear()
            arriving = asyncio.create_task(self._arrived.wait())
            await asyncio.wait({arriving, self._waiting}, return_when=asyncio.FIRST_COMPLETED)
            arriving.cancel()
            if self._waiting.done():
                self._waiting.result()

    async def _wait(self, batches: AsyncGenerator[list[WatchFrame], None]) -> None:
        async for frames in batches:
            self.put(frames, at_once=True)

    def _token(self) -> str:
        if not self.connections:
            return ""
        last = self.connections[-1]
        return last.frames[-1].token if last.frames else last.resume_token

    async def break_off(self, chance: Random | None = None) -> None:
        """Lose the connection, and with it some of what came last."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait({self._waiting})
            self._waiting = None
        if self._batches is not None:
            await self._batches.aclose()
            self._batches = None
            frames = self.connections[-1].frames
            if chance is not None and frames:
                del frames[chance.randint(0, len(frames)) :]


class Script:
    """One run."""

    def __init__(self, chance: Random, make_store: Callable[[], Store], turns: int) -> None:
        self._chance = chance
        self._make_store = make_store
        self._turns = turns

    async def run(self) -> list[Violation]:
        """What was wrong; empty: nothing."""
        chance = self._chance
        settings = RuntimeSettings(
            log_entries=chance.choice([0, 6, 1_000]),
            watch_frames=chance.choice([1, 3, 64]),
            watch_pending=chance.choice([2, 5, 256]),
            progress_interval=timedelta(milliseconds=1),
        )
        async with serving(self._make_store, settings) as service:
            readers = [
                Reader(service, chance.choice(WAYS), chance, conflate=chance.random() < 0.4) for _ in range(4)
            ]
            try:
                for _ in range(self._turns):
                    await self._turn(service, readers)
                return await self._settle(service, readers)
            finally:
                for reader in readers:
                    await reader.break_off()

    async def _turn(self, service: Service, readers: list[Reader]) -> None:
        chance = self._chance
        which = chance.random()
        if which < 0.55:
            commands = [self._command(service) for _ in range(chance.choice([1, 1, 4, 12]))]
            for outcome in await asyncio.gather(*commands, return_exceptions=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, DurachartError):
                    raise outcome
        elif which < 0.9:
            await chance.choice(readers).read()
        else:
            await chance.choice(readers).break_off(chance)

    def _command(self, service: Service) -> Any:
        chance = self._chance
        of = chance.choice(KEYS)
        which = chance.random()
        if which < 0.2:
            labels = {"team": "a"} if of in TEAM_A else {"team": "b"}
            return service.runtime.create_instance(CreateInstance(of, labels=labels), ADA)
        if which < 0.27:
            return service.runtime.delete_instance(DeleteInstance(of), ADA)
        return service.runtime.send_event(
            SendEvent(of, chance.choice(EVENTS), '{"output":{"receipt":""}}'), ADA
        )

    async def _settle(self, service: Service, readers: list[Reader]) -> list[Violation]:
        changes = []
        for each in KEYS:
            try:
                changes += [change_of(entry) for entry in await service.journal(each) if is_accepted(entry)]
            except InstanceNotFound:
                continue
        newest = max((change.revision for change in changes), default=0)
        found = []
        for reader in readers:
            while reader.position < newest:
                await reader.read()
            truth = Truth(changes, watched=reader.watched.watched, matches=reader.watched.matches)
            found += violations(truth, reader.connections)
        return found
