"""A real server under hostile use: what was acknowledged is there once, what was refused changed nothing.

The random parts are seeded; the seed is printed, and DURACHART_ATTACK_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sqlite3
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from durachart_client import (
    AttemptStarted,
    Client,
    GenerationEnd,
    InstanceState,
    JournalEntry,
    Snapshot,
    Synced,
    Text,
    Transition,
)
from durachart_client import errors as client_errors
from durachart_client.errors import (
    EventRefused,
    InstanceCorrupt,
    RequestIdReused,
    StoreUnavailable,
)
from tests.processes import Server

PATIENCE_S = 30
INSTANCES = 6
ALARMS = 20
ALARM_MS = 700

COUNTER: dict[str, Any] = {
    "machine": {
        "id": "counter",
        "initial": "counting",
        "context": {"count": 0, "ids": []},
        "states": {
            "counting": {
                "on": {"COUNT": {"actions": "count"}, "NEVER": {"guard": "never", "target": "counting"}}
            }
        },
    },
    "implementations": {
        "guards": {"never": "context.count < 0"},
        "actions": {
            "count": {"assign": {"count": "context.count + 1", "ids": "context.ids + [event.id]"}},
        },
    },
}

ALARM: dict[str, Any] = {
    "machine": {
        "id": "alarm",
        "initial": "set",
        "states": {"set": {"after": {str(ALARM_MS): "rung"}}, "rung": {"type": "final"}},
    }
}

STORY: dict[str, Any] = {
    "machine": {
        "id": "story",
        "initial": "idle",
        "context": {"texts": [], "stops": 0},
        "states": {
            "idle": {"on": {"TELL": "telling"}},
            "telling": {
                "entry": {"type": "tell", "params": {"prompt": "a story of 😀, storms and restarts"}},
                "on": {
                    "TOLD": {"target": "idle", "actions": "keep"},
                    "STOPPED": {"target": "idle", "actions": "stopped"},
                    "LEAVE": "idle",
                    "AGAIN": {"target": "telling", "reenter": True},
                },
            },
        },
    },
    "implementations": {
        "actions": {
            "keep": {"assign": {"texts": "context.texts + [event.output.text]"}},
            "stopped": {"assign": {"stops": "context.stops + 1"}},
        }
    },
    "effects": {
        "tell": {
            "handler": "llm.generate",
            "done": "TOLD",
            "stopped": "STOPPED",
            "cancel_on_exit": True,
        }
    },
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    """One server for every test that does not end it."""
    async with Server.running("--llm-token-delay-ms", "1") as running:
        yield running
        assert await running.stop() == 0
        assert "Traceback" not in running.stderr


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("DURACHART_ATTACK_SEED", "") or random.SystemRandom().randrange(10**6))
    print(f"DURACHART_ATTACK_SEED={chosen}")
    return chosen


async def _journal(client: Client, machine: str, instance: str) -> list[JournalEntry]:
    return [entry async for entry in client.journal(machine, instance, page_size=1_000)]


async def _require_agreement(client: Client, acknowledged: dict[str, set[str]]) -> dict[str, int]:
    """State, journal and what was acknowledged say the same of every counter; their versions."""
    versions: dict[str, int] = {}
    async for listed in client.instances("counter", view="full"):
        instance = listed.instance.instance_id
        entries = await _journal(client, "counter", instance)
        state = await client.get("counter", instance)
        context: Any = state.context
        assert len(set(context["ids"])) == len(context["ids"]), "an event was taken twice"
        assert acknowledged.get(instance, set()) <= set(context["ids"]), "an acknowledged event is lost"
        assert state.version == context["count"] == len(context["ids"])
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        accepted = [entry for entry in entries if entry.outcome == "accepted"]
        assert [entry.to_version for entry in accepted] == list(range(state.version + 1))
        told: list[Any] = [entry.data for entry in accepted[1:]]
        assert [data["id"] for data in told] == context["ids"]
        versions[instance] = state.version
    return versions


class _Watcher:
    """Follows all counters, leaves and comes back at random, and requires every version once."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._token = ""
        self.versions: dict[str, int] = {}

    async def follow(self, client: Client, until: dict[str, int] | None = None) -> None:
        while self.versions != until:
            stream = client.watch("counter", resume_token=self._token)
            async with aclosing(stream):
                async for event in stream:
                    self._token = event.resume_token
                    if isinstance(event, Snapshot):
                        self._see(event.state, resumed=False)
                    elif isinstance(event, Transition):
                        self._see(event.state, resumed=True)
                    elif self._dice.random() < 0.5:
                        break
                    if self._dice.random() < 0.02 or self.versions == until:
                        break

    def _see(self, state: InstanceState, *, resumed: bool) -> None:
        instance = state.instance.instance_id
        if resumed:
            assert state.version == self.versions.get(instance, -1) + 1, "a version is missing or came twice"
        self.versions[instance] = max(state.version, self.versions.get(instance, -1))


async def _attack(
    client: Client, worker: str, dice: random.Random, acknowledged: dict[str, set[str]]
) -> None:
    """Send events, some of them cancelled, out of time or repeated; until the server is gone."""
    number = 0
    while True:
        number += 1
        instance = f"c{dice.randrange(INSTANCES)}"
        request_id = f"{worker}-{number}"
        kind = dice.choice(["COUNT"] * 6 + ["NEVER", "UNKNOWN"])
        for last in (False, True):
            sending = client.send(
                "counter",
                instance,
                kind,
                {"id": request_id},
                request_id=request_id,
                create_if_missing=True,
                timeout=timedelta(seconds=5 if last else dice.choice([0.001, 0.003, 5])),
            )
            task = asyncio.ensure_future(sending)
            if not last and dice.random() < 0.3:
                await asyncio.wait([task], timeout=dice.random() * 0.005)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                this = asyncio.current_task()
                if this is None or this.cancelling():
                    raise
                continue
            except EventRefused:
                break
            except client_errors.DeadlineExceeded:
                continue
            acknowledged.setdefault(instance, set()).add(request_id)
            break


async def _require_alarms(client: Client) -> None:
    """Every alarm rings once, and none before its time."""
    names = [f"a{number}" for number in range(ALARMS)]
    async with aclosing(client.watch("alarm", *names, end_on_final=True)) as watch:
        async for _ in watch:
            pass
    for name in names:
        created, rung = await _journal(client, "alarm", name)
        assert (rung.cause, rung.outcome) == ("timer", "accepted")
        assert rung.created_at - created.created_at >= timedelta(milliseconds=ALARM_MS)


async def test_a_kill_under_fire_loses_nothing_and_repeats_nothing(tmp_path: Path, seed: int) -> None:
    """Events, watches and timers, over two lives of the server."""
    acknowledged: dict[str, set[str]] = {}
    watchers = [_Watcher(random.Random(f"{seed} watcher {number}")) for number in range(3)]
    data = ("--data-dir", str(tmp_path / "data"))
    async with Server.running(*data) as server, Client(server.grpc) as client:
        await client.publish(COUNTER)
        await client.publish(ALARM)
        for number in range(ALARMS):
            await client.create("alarm", f"a{number}")
        attackers = [
            asyncio.ensure_future(
                _attack(client, f"w{number}", random.Random(f"{seed} {number}"), acknowledged)
            )
            for number in range(12)
        ]
        following = [asyncio.ensure_future(watcher.follow(client)) for watcher in watchers]
        async with asyncio.timeout(PATIENCE_S):
            while sum(map(len, acknowledged.values())) < 150:
                # What paces this is an event of its own; it also proves that the server lives.
                paced = await client.send(
                    "counter", "pace", "COUNT", {"id": uuid.uuid4().hex}, create_if_missing=True
                )
                assert paced.changed
                for task in (*attackers, *following):
                    if task.done():
                        task.result()
        server.kill()
        for task in (*attackers, *following):
            task.cancel()
        ended = await asyncio.gather(*attackers, *following, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, AssertionError)], ended
        assert "Traceback" not in server.stderr
    async with Server.running(*data) as server, Client(server.grpc) as client, asyncio.timeout(PATIENCE_S):
        versions = await _require_agreement(client, acknowledged)
        await asyncio.gather(*(watcher.follow(client, until=versions) for watcher in watchers))
        await _require_alarms(client)
        assert await server.stop() == 0
        assert "Traceback" not in server.stderr


async def test_one_request_id_has_one_answer_whatever_else_is_asked_with_it(
    server: Server, seed: int
) -> None:
    dice = random.Random(seed)
    async with Client(server.grpc) as client, asyncio.timeout(PATIENCE_S):
        await client.publish(COUNTER)
        for number in range(10):

            async def ask(body: str, instance: str = f"i{number}") -> tuple[str, bool, int]:
                if body == "create":
                    created = await client.create("counter", instance, request_id="same")
                    return body, created.replayed, created.state.version
                accepted = await client.send(
                    "counter", instance, "COUNT", {"id": body}, request_id="same", create_if_missing=True
                )
                return body, accepted.replayed, accepted.state.version

            bodies = [dice.choice(["create", "a", "b"]) for _ in range(10)]
            answers = await asyncio.gather(*map(ask, bodies), return_exceptions=True)
            given = [answer for answer in answers if not isinstance(answer, RequestIdReused)]
            assert all(isinstance(answer, tuple) for answer in given), answers
            assert len({(answer[0], answer[2]) for answer in given if isinstance(answer, tuple)}) == 1
            assert sum(1 for answer in given if isinstance(answer, tuple) and not answer[1]) == 1
            assert len(answers) - len(given) == sum(
                1 for body in bodies if isinstance(given[0], tuple) and body != given[0][0]
            )


async def test_a_full_disk_refuses_and_heals(tmp_path: Path) -> None:
    acknowledged: dict[str, set[str]] = {"c0": set()}
    data = tmp_path / "data"
    async with Server.running("--data-dir", str(data)) as server, Client(server.grpc) as client:
        await client.publish(COUNTER)
        size = max(path.stat().st_size for path in data.iterdir())
        _limit_files(server, size + 100_000)
        refused = ""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(StoreUnavailable):
                while True:
                    refused = f"full-{len(acknowledged['c0'])}"
                    # On a busy machine a second may pass without an answer: asked again, by the same id.
                    with suppress(client_errors.DeadlineExceeded):
                        await _count(client, refused, timeout=timedelta(seconds=1))
                        acknowledged["c0"].add(refused)
            # Reads go on, and what was refused changed nothing.
            versions = await _require_agreement(client, acknowledged)
            assert versions == {"c0": len(acknowledged["c0"])}
            _limit_files(server, resource.RLIM_INFINITY)
            answer = await _count(client, refused, timeout=timedelta(seconds=10))
            assert not answer.replayed
            acknowledged["c0"].add(refused)
            await _require_agreement(client, acknowledged)
            assert await server.stop() == 0


async def _count(client: Client, request_id: str, *, timeout: timedelta) -> Any:
    return await client.send(
        "counter",
        "c0",
        "COUNT",
        {"id": request_id, "padding": "x" * 20_000},
        request_id=request_id,
        create_if_missing=True,
        timeout=timeout,
    )


def _limit_files(server: Server, size: int) -> None:
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_a_broken_row_breaks_its_own_instance_alone(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    broken = {
        "c0": ("context", "{"),
        "c1": ("internals", "{}"),
        "c2": ("labels", "["),
        "c3": ("context", "[]"),
    }
    async with Server.running(*data) as server, Client(server.grpc) as client:
        await client.publish(COUNTER)
        for number in range(5):
            await client.create("counter", f"c{number}", labels={"number": str(number)})
        assert await server.stop() == 0
    with closing(sqlite3.connect(tmp_path / "data" / "durachart.db")) as database, database:
        for instance, (column, text) in broken.items():
            database.execute(f"UPDATE instances SET {column} = ? WHERE instance_id = ?", (text, instance))
    async with (
        Server.running(*data) as server,
        Client(server.grpc) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        for instance in broken:
            with pytest.raises(InstanceCorrupt):
                await client.get("counter", instance)
            with pytest.raises(InstanceCorrupt):
                await client.send("counter", instance, "COUNT", {"id": "x"})
        assert (await client.send("counter", "c4", "COUNT", {"id": "x"})).state.version == 1
        for view in ("basic", "full"):
            listed = [state async for state in client.instances("counter", view=view)]
            assert [state.instance.instance_id for state in listed] == [f"c{number}" for number in range(5)]
        async with aclosing(client.watch("counter")) as watch:
            seen = [event async for event in _until_synced(watch)]
        assert len(seen) == 5
        assert "Traceback" not in server.stderr


async def _until_synced(watch: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for event in watch:
        if isinstance(event, Synced):
            return
        yield event


async def test_a_generation_ends_once_however_it_is_raced(server: Server, seed: int) -> None:
    async with Client(server.grpc) as client, asyncio.timeout(PATIENCE_S):
        await client.publish(STORY)
        await asyncio.gather(
            *(
                _race_generations(client, f"s{number}", random.Random(f"{seed} {number}"))
                for number in range(10)
            )
        )
        assert "Traceback" not in server.stderr


async def _race_generations(client: Client, instance: str, dice: random.Random) -> None:
    await client.create("story", instance)
    stopped: list[str] = []
    viewed: list[tuple[str, GenerationEnd]] = []
    for _ in range(3):
        await client.send("story", instance, "TELL")
        viewers = [asyncio.ensure_future(_view(client, instance, dice)) for _ in range(2)]
        # Some way into the text: nothing, a few words, or the end.
        async with aclosing(client.watch_tokens("story", instance)) as ahead:
            for _ in range(dice.randrange(12)):
                with suppress(StopAsyncIteration):
                    await anext(ahead)
        doing = dice.choices(["stop", "stop", "LEAVE", "AGAIN", "TELL"], k=dice.randrange(4))
        answers = await asyncio.gather(*(_act(client, instance, what) for what in doing))
        stopped += [answer for answer in answers if answer]
        viewed += await asyncio.gather(*viewers)
        async with aclosing(client.watch("story", instance)) as watch:
            async for event in watch:
                if isinstance(event, Snapshot | Transition) and event.state.value == "idle":
                    break
    entries = await _journal(client, "story", instance)
    told = {
        _effect(entry): entry
        for entry in entries
        if (entry.event_type, entry.outcome) == ("TOLD", "accepted")
    }
    stops = [_effect(e) for e in entries if (e.event_type, e.outcome) == ("STOPPED", "accepted")]
    assert Counter(stops) == Counter(stopped)
    assert max(Counter(stops).values(), default=1) == 1, "stopped twice"
    assert not told.keys() & set(stops)
    context: Any = (await client.get("story", instance)).context
    assert (len(context["texts"]), context["stops"]) == (len(told), len(stops))
    for text, end in viewed:
        if end.effect_id in told:
            data: Any = told[end.effect_id].data
            assert (end.outcome, text) == ("completed", data["output"]["text"])
        else:
            assert end.outcome == ("stopped" if end.effect_id in stops else "cancelled")


def _effect(entry: JournalEntry) -> str:
    data: Any = entry.data
    return str(data["effect_id"])


async def _act(client: Client, instance: str, what: str) -> str:
    """Stop, or send an event; the effect that this call stopped."""
    if what == "stop":
        answer = await client.stop_generation("story", instance)
        return answer.effect_id if answer.stopped else ""
    with suppress(EventRefused):
        await client.send("story", instance, what)
    return ""


async def _view(client: Client, instance: str, dice: random.Random) -> tuple[str, GenerationEnd]:
    """One generation's text, left and taken up again at random, required to have no gap."""
    text, effect_id, attempt = "", "", 0
    while True:
        stream = client.watch_tokens("story", instance, effect_id, attempt=attempt, offset=len(text))
        async with aclosing(stream):
            async for event in stream:
                effect_id = event.effect_id
                if isinstance(event, AttemptStarted):
                    text, attempt = "", event.attempt
                elif isinstance(event, Text):
                    assert event.offset == len(text), "a gap in the text"
                    text, attempt = text + event.text, event.attempt
                elif isinstance(event, GenerationEnd):
                    return text, event
                if dice.random() < 0.1:
                    break


async def test_hostile_values_get_a_typed_refusal_and_change_nothing(server: Server) -> None:
    texts = [
        "NaN",
        "1e400",
        "9" * 30,
        '"\\ud800"',
        "[" * 65 + "]" * 65,
        "[" * 100_000,
        '"' + "x" * 300_000 + '"',
    ]
    async with Client(server.grpc) as client, asyncio.timeout(PATIENCE_S):
        await client.publish(COUNTER)
        await client.create("counter", "c")
        for text in texts:
            with pytest.raises(client_errors.PayloadInvalid):
                await _raw_send(client, '{"id":' + text + "}")
        for name in ("ü😀", "a/b", "'; DROP TABLE instances;--", "\u2028", "__proto__", "x" * 256):
            await client.create("counter", name)
            assert (
                await client.send("counter", name, "COUNT", {"id": name})
            ).state.instance.instance_id == name
        for name in ("", "x" * 257, "\x00", "\n"):
            with pytest.raises(client_errors.RequestInvalid):
                await client.create("counter", name)
        assert (await client.get("counter", "c")).version == 0
        assert len(await _journal(client, "counter", "c")) == 1 + len(texts)
        assert "Traceback" not in server.stderr


async def _raw_send(client: Client, data_json: str) -> None:
    """Send text as it is, which the client's own methods never would."""
    from durachart_client.gen import state_machine_service_pb2 as contract

    request = contract.SendEventRequest()
    request.instance.machine_id, request.instance.instance_id = "counter", "c"
    request.event.type, request.event.data_json = "COUNT", data_json
    await client._read(client._stubs.instances.SendEvent, request)


async def test_a_client_that_is_misused_says_so(server: Server) -> None:
    async with asyncio.timeout(PATIENCE_S):
        outside = Client(server.grpc)
        with pytest.raises(RuntimeError):
            await outside.get("order", "x")
        with pytest.raises(RuntimeError):
            outside.watch("order")
        async with Client(server.grpc) as client:
            await client.publish(COUNTER)
            await client.create("counter", "misused")
            left = client.watch("counter", "misused")
            async for _ in left:
                break
            await left.aclose()
            assert [event async for event in left] == []
            waiting = client.watch("counter", "misused")
            async for event in waiting:
                if isinstance(event, Synced):
                    break
            first = asyncio.ensure_future(anext(waiting))
            second = asyncio.ensure_future(anext(waiting))
            with pytest.raises(RuntimeError):
                await second
            await client.send("counter", "misused", "COUNT", {"id": "1"})
            assert isinstance(await first, Transition)
            open_at_the_end = asyncio.ensure_future(anext(waiting))
            cancelled = asyncio.ensure_future(anext(client.watch("counter")))
            cancelled.cancel()
        with pytest.raises(StopAsyncIteration):
            await open_at_the_end
        with pytest.raises(RuntimeError):
            await client.get("counter", "misused")
