"""Watchers that write down every frame they get, through whatever happens to the servers.

There are two kinds. A `RawWatch` speaks the contract itself: it goes on with the token of the last frame it
took, at whichever node comes next, and now and then leaves in the middle of a message, or begins anew. A
`ClientWatch` is our client, whose resuming is to be found out about. What both recorded is checked against
the journal (see ``tests.property.runtime.watch_guarantees``).
"""

from __future__ import annotations

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from durachart.store.schema import journal
from durachart_client import (
    Client,
    Gap,
    InstanceDeleted,
    InstanceRef,
    InstanceState,
    JournalEntry,
    RetryPolicy,
    Snapshot,
    Synced,
    Transition,
    Watch,
    WatchEvent,
)
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.gen import state_machine_service_pb2_grpc as pb_grpc
from durachart_client.gen.types_pb2 import InstanceRef as InstanceName
from tests.acceptance.faults.ledger import MACHINE_ID
from tests.processes import PATIENCE_S
from tests.property.runtime.watch_guarantees import (
    Connection,
    Frame,
    Happened,
    Key,
    Matches,
    Truth,
    Watched,
    frame_of,
    position_of,
    violations,
)

PROGRESS = timedelta(seconds=1)
"""How often watchers ask to hear that all is well; the shortest the server takes."""

CHANNEL: Final = (
    # Watchers share no line: what happens to one of them is not to happen to all.
    ("grpc.use_local_subchannel_pool", 1),
    # Little is on its way to a reader that is slow.
    ("grpc.http2.bdp_probe", 0),
)
RECONNECTING: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 200),
)
# Nodes live for seconds here: a client that waits as long as it usually may would miss most of it.
_SOON: Final = RetryPolicy(maximum_ms=200)
_SILENCE: Final = "silence"
_SILENCE_S: Final = 2.5 * PROGRESS.total_seconds()
_PAUSE_S: Final = (0.02, 0.1)
_GOES_ON: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_LEAVES, _BEGINS_ANEW = 0.01, 0.1
_MISSED_CALLS: Final = 300


@dataclass(frozen=True, slots=True)
class Subject:
    """What is watched, as asked for and as the journal is to be read.

    Attributes:
        name: For people.
        instance_ids: Named ones; none: all of the ledger's.
        state_ids: Only in these states.
        conflate: Whether a watcher that falls behind skips.
    """

    name: str
    instance_ids: tuple[str, ...] = ()
    state_ids: tuple[str, ...] = ()
    conflate: bool = False

    def request(self) -> pb.WatchStateRequest:
        """Without a token."""
        request = pb.WatchStateRequest(conflate=self.conflate)
        request.progress_interval.FromTimedelta(PROGRESS)
        if self.instance_ids:
            names = (InstanceName(machine_id=MACHINE_ID, instance_id=one) for one in self.instance_ids)
            request.instances.extend(names)
        else:
            request.filter.CopyFrom(pb.WatchFilter(machine_id=MACHINE_ID, state_ids=self.state_ids))
        return request

    def truth(self, changes: Sequence[Happened]) -> Truth:
        """What happened to it."""
        # States of the ledger are of one level: the value names the state.
        values = {json.dumps(one.rpartition(".")[2]) for one in self.state_ids}
        watched: Watched = lambda key: not self.instance_ids or key[2] in self.instance_ids  # noqa: E731
        matches: Matches = lambda change: not values or change.value in values  # noqa: E731
        return Truth(changes, watched=watched, matches=matches)


@dataclass(slots=True)
class Recorded:
    """What a watcher got.

    Attributes:
        connections: One after the other.
        losses: Why connections ended.
    """

    connections: list[Connection] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> Counter[str]:
        """How many frames of which kind."""
        return Counter(frame.kind for connection in self.connections for frame in connection.frames)


class Watching(ABC):
    """A watcher that runs by itself; `start` it, `wait_through` to where it has to come, `stop` it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.recorded = Recorded()
        self._settling = False
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _run(self) -> None:
        """Watch, for ever."""

    @property
    @abstractmethod
    def token(self) -> str:
        """Where it would go on."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{type(self).__name__} of {self.subject.name}"

    @property
    def position(self) -> int:
        """The revision up to which everything was taken; -1: not even snapshots were."""
        if not self.token:
            return -1
        position = position_of(self.token)
        return position.revision if position.snapshot_of is None else -1

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def wait_synced(self) -> None:
        """Wait until snapshots were taken; raises what broke the watcher."""
        await self.wait_until(lambda: self.position >= 0, "synced")

    def settle(self) -> None:
        """Leave no more, and begin anew no more."""
        self._settling = True

    async def wait_through(self, revision: int) -> None:
        """Wait until everything up to ``revision`` was taken; raises what broke the watcher."""
        await self.wait_until(lambda: self.position >= revision, f"at {revision}")

    async def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; raises what broke the watcher."""
        assert self._task is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    if self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(
                f"{self.name} is not {what}: it is at {self.position}, after {self.recorded.losses}"
            ) from None

    async def stop(self) -> None:
        """End it."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    def contradictions(self, changes: Sequence[Happened]) -> list[str]:
        """What it got and should not have, or the other way round."""
        broken = violations(self.subject.truth(changes), self.recorded.connections)
        return [f"{self.name}: {one.guarantee}: {one.sentence}" for one in broken]


class RawWatch(Watching):
    """Speaks the contract itself, and goes from node to node."""

    def __init__(
        self, subject: Subject, addresses: Sequence[str], seed: int, *, pace: Callable[[], int] | None = None
    ) -> None:
        """Prepare.

        Args:
            subject: What is watched.
            addresses: Nodes of one database; each connection goes to the next one.
            seed: Of when it leaves.
            pace: What it falls behind: counts the load's calls, of which some hundred pass before each
                connection; None: it does not.
        """
        super().__init__(subject)
        self._token = ""
        self._addresses = addresses
        self._chance = random.Random(seed)
        self._next = self._chance.randrange(len(addresses))
        self._pace = pace

    @property
    def token(self) -> str:
        """Of the last frame taken."""
        return self._token

    async def _run(self) -> None:
        while True:
            await self._fall_behind()
            if not self._settling and self._chance.random() < _BEGINS_ANEW:
                self._token = ""
            connection = Connection(self._token, conflate=self.subject.conflate)
            self.recorded.connections.append(connection)
            address = self._addresses[self._next % len(self._addresses)]
            self._next += 1
            async with grpc.aio.insecure_channel(address, options=CHANNEL) as channel:
                self.recorded.losses[await self._read(connection, channel)] += 1
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))

    async def _fall_behind(self) -> None:
        if self._pace is not None and self._token:
            until = self._pace() + _MISSED_CALLS
            while self._pace() < until and not self._settling:  # noqa: ASYNC110 - time is what passes
                await asyncio.sleep(0.01)

    async def _read(self, connection: Connection, channel: grpc.aio.Channel) -> str:
        """Record until the connection ends; the return value says why it did."""
        request = self.subject.request()
        request.resume_token = connection.resume_token
        stub: Any = pb_grpc.StateMachineServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.WatchState(request)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return "ended"
                taken = [frame_of(frame) for frame in message.frames]
                leaves = not self._settling and self._chance.random() < _LEAVES
                if leaves:
                    taken = taken[: self._chance.randint(1, len(taken))]
                for frame in taken:
                    connection.frames.append(frame)
                    self._token = frame.token
                if leaves:
                    return "left"
        except TimeoutError:
            return _SILENCE
        except grpc.aio.AioRpcError as error:
            if error.code() not in _GOES_ON:
                raise
            return str(error.code().name)
        finally:
            call.cancel()


class ClientWatch(Watching):
    """Our client, at one address; all it shows is one connection."""

    def __init__(self, subject: Subject, address: str) -> None:
        super().__init__(subject)
        self._address = address
        self._watch: Watch | None = None
        self._connection = Connection(conflate=subject.conflate)
        self.recorded.connections.append(self._connection)

    @property
    def token(self) -> str:
        """The client's."""
        return self._watch.resume_token if self._watch is not None else ""

    async def _run(self) -> None:
        timeout = timedelta(seconds=PATIENCE_S)

        def interrupted(why: Exception, _wait: timedelta) -> None:
            self.recorded.losses[_SILENCE if "silent" in str(why) else type(why).__name__] += 1

        options = (*CHANNEL, *RECONNECTING)
        async with Client(self._address, timeout=timeout, retry=_SOON, options=options) as client:
            instances = [InstanceRef(MACHINE_ID, one) for one in self.subject.instance_ids]
            watch = client.watch(
                "" if instances else MACHINE_ID,
                instances=instances,
                state_ids=self.subject.state_ids,
                conflate=self.subject.conflate,
                progress_interval=PROGRESS,
                on_interrupt=interrupted,
            )
            async with watch:
                self._watch = watch
                async for event in watch:
                    self._connection.frames.append(_recorded(event))
        raise AssertionError(f"{self.name} has ended")

    @property
    def silences(self) -> int:
        """How often it has given a connection up because it heard nothing."""
        return self.recorded.losses[_SILENCE]

    async def wait_silence(self, before: int) -> None:
        """Wait until it has given up one more than ``before``; raises what broke it."""
        await self.wait_until(lambda: self.silences > before, "aware of the silence")

    async def stop(self) -> None:
        """End it; where it stands then is the last thing recorded."""
        await super().stop()
        if self.token:
            self._connection.frames.append(Frame("progress", self.token))


def _recorded(event: WatchEvent) -> Frame:
    """An event of our client as a frame."""
    token = event.resume_token
    match event:
        case Snapshot(state=state):
            return _shown("snapshot", token, state)
        case Gap(state=state, previous_version=previous, matches=matches):
            gap = _shown("gap", token, state)
            return gap._replace(previous_version=-1 if previous is None else previous, matches=matches)
        case Transition(state=state, entry=entry, matches=matches):
            change = _change_of(entry)._replace(
                version=state.version, value=_written(state.value), uid=state.uid
            )
            return Frame("transition", token, change, matches=matches)
        case InstanceDeleted(entry=entry):
            return Frame("deleted", token, _change_of(entry))
        case Synced():
            return Frame("synced", token)
    raise AssertionError(f"not asked for: {event}")


def _shown(kind: Any, token: str, state: InstanceState) -> Frame:
    return Frame(kind, token, None, _key(state.instance), state.uid, state.version, _written(state.value))


def _change_of(entry: JournalEntry) -> Happened:
    value = _written(entry.to_value) if entry.cause != "delete" else ""
    key = _key(entry.instance)
    return Happened(entry.revision, key, entry.uid, entry.from_version, entry.to_version, value, entry.cause)


def _key(instance: InstanceRef) -> Key:
    return instance.namespace, instance.machine_id, instance.instance_id


def _written(value: object) -> str:
    """JSON as the server writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


async def changes(engine: AsyncEngine) -> list[Happened]:
    """Every change of an instance of the ledger."""
    own = journal.c
    rows = select(
        own.revision,
        own.namespace,
        own.machine_id,
        own.instance_id,
        own.uid,
        own.from_version,
        own.to_version,
        own.to_value,
        own.cause,
    ).where(own.machine_id == MACHINE_ID, own.outcome == "accepted")
    async with engine.connect() as connection:
        return [
            Happened(
                row.revision,
                (row.namespace, row.machine_id, row.instance_id),
                row.uid,
                row.from_version,
                row.to_version,
                row.to_value if row.cause != "delete" else "",
                row.cause,
            )
            for row in await connection.execute(rows)
        ]


async def newest_revision(engine: AsyncEngine) -> int:
    """Of the last change of the ledger."""
    own = journal.c
    newest = select(func.max(own.revision)).where(own.machine_id == MACHINE_ID, own.outcome == "accepted")
    async with engine.connect() as connection:
        return int((await connection.execute(newest)).scalar() or 0)
