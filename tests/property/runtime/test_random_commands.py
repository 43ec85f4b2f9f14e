"""Whatever is asked, in whatever order: the journal explains the state, and every answer is true.

A run is a list of rounds. The commands of a round are asked at the same time; between rounds time passes, in
either direction, and sometimes the server is started anew.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from google.protobuf.message import Message
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from durachart.engine.codec import snapshot_to_json
from durachart.engine.snapshot import Snapshot
from durachart.rpc import convert
from durachart.rpc.errors import error_of
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen.token_service_pb2 import StopGenerationResponse
from durachart.runtime.commands import (
    Caller,
    CreateInstance,
    DeleteInstance,
    EffectError,
    FailEffect,
    FinishEffect,
    FireTimer,
    RecordStep,
    RetryEffect,
    ReviveEffect,
    SendEvent,
    StopEffect,
)
from durachart.runtime.effect_views import LeasedEffect
from durachart.runtime.errors import DurachartError
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.verification.replay import repeat
from durachart.runtime.verification.store_verification import StoreVerifier
from durachart.runtime.views import Accepted, Created, Deleted, Stopped
from durachart.store.chain import first_broken
from durachart.store.interface import StoredInstance
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow
from durachart.store.sqlite.scan import scan_file
from durachart.store.sqlite.store import SqliteStore
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import SimulatedClock, job, key

KEYS = [key("a"), key("b")]
# Long enough for a patch to be worth it.
LONG_INPUT = '{"who":"' + "ada " * 50 + '"}'
EVENTS = {
    "GO": 5,
    "ADD": 5,
    "LEAVE": 3,
    "WAIT": 2,
    "PAID": 1,
    "NOTE": 1,
    "IF_POSITIVE": 1,
    "DIVIDE": 1,
    "FORBIDDEN": 1,
    "TELL": 1,
    "NOPE": 1,
}
DATA = {
    "": 10,
    '{"by":3}': 5,
    '{"by":"x"}': 1,
    '{"output":{"receipt":"r"}}': 1,
    "{": 1,
    '{"who":[1,{"a":null}]}': 1,
}
WORK = [
    *("lease", "lease", "complete", "complete_badly", "fail", "fail_as_the_policy_says", "reject", "retry"),
    *("revive", "revive", "record_step", "fire", "fire"),
]

Round = tuple[list[Any], int, bool]


class Script:
    """Makes rounds: commands asked together, how far the clock then moves, whether to start anew."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def rounds(self) -> list[Round]:
        chance = self._chance
        return [
            (
                [self._command() for _ in range(chance.randint(1, 8))],
                chance.choice([0, 1, 1_000, 30_000, 60_000, -5_000]),
                chance.random() < 0.15,
            )
            for _ in range(chance.randint(3, 14))
        ]

    def _command(self) -> Any:
        chance = self._chance
        request_id = chance.choice(["", "", "", f"r{chance.randrange(6)}"])
        which = chance.random()
        if which < 0.25:
            return chance.choice(WORK)
        if which < 0.3:
            return StopEffect(chance.choice(KEYS), request_id=request_id)
        if which < 0.34:
            expected = chance.choice([None, None, chance.randrange(4)])
            return DeleteInstance(chance.choice(KEYS), expected, request_id, chance.random() < 0.2)
        if which < 0.44:
            given = chance.choice([LONG_INPUT, LONG_INPUT, "", '{"who":1}', "["])
            labels = chance.choice([{}, {"team": "red"}])
            return CreateInstance(chance.choice(KEYS), given, request_id, labels)
        return SendEvent(
            chance.choice(KEYS),
            *chance.choices(list(EVENTS), list(EVENTS.values())),
            *chance.choices(list(DATA), list(DATA.values())),
            chance.choice([None, None, None, None, chance.randrange(5)]),
            request_id,
            chance.random() < 0.8,
            LONG_INPUT,
        )


class Run(NamedTuple):
    """What a run has heard so far."""

    answers: list[tuple[Any, Any]]
    leased: list[LeasedEffect]


async def _ask(service: Service, run: Run, command: Any) -> None:
    runtime = service.runtime
    answer: Any
    try:
        if isinstance(command, CreateInstance):
            answer = await runtime.create_instance(command, ADA)
        elif isinstance(command, SendEvent):
            answer = await runtime.send_event(command, ADA)
        elif isinstance(command, StopEffect):
            answer = await runtime.stop_effect(command, ADA)
        elif isinstance(command, DeleteInstance):
            answer = await runtime.delete_instance(command, ADA)
        else:
            answer = await _work(service, run, command)
    except DurachartError as error:
        answer = error
    run.answers.append((command, answer))


async def _work(service: Service, run: Run, what: str) -> None:
    runtime = service.runtime
    if what == "lease":
        run.leased.extend(
            await runtime.lease_effects(
                ["payments.charge", "mail.send"], limit=2, holder="w", lease=timedelta(seconds=30)
            )
        )
    elif what == "fire":
        for due in await runtime.timers.due(10):
            await runtime.timers.fire(FireTimer(due.key, due.uid, due.timer_key, due.sequence))
    elif run.leased:
        leased = run.leased[-1]
        place = (leased.key, leased.effect_id, leased.lease_token)
        error = EffectError("X", "It failed.")
        if what == "revive":
            await runtime.outbox.revive(ReviveEffect(leased.key, leased.effect_id), ADA)
        elif what == "record_step":
            await runtime.outbox.record_step(RecordStep(*place, "step", "completed", "1"))
        elif what == "fail_as_the_policy_says":
            await runtime.outbox.fail(FailEffect(*place, error), Caller("w"))
        elif what == "retry":
            await runtime.retry_effect(RetryEffect(*place, error, 1_000))
        elif what.startswith("complete"):
            output = '{"receipt":"abc"}' if what == "complete" else "7"
            await runtime.finish_effect(FinishEffect(*place, "completed", output), Caller("w"))
        else:
            outcome: Any = "failed" if what == "fail" else "rejected"
            await runtime.finish_effect(FinishEffect(*place, outcome, error=error), Caller("w"))


async def _run(path: Path, script: Sequence[Round], bounds: RuntimeSettings) -> None:
    clock = SimulatedClock()
    run = Run([], [])
    remaining = list(script)
    while remaining:
        async with serving(lambda: SqliteStore(path), bounds, clock=clock) as service:
            restart = False
            while remaining and not restart:
                commands, passes_ms, restart = remaining.pop(0)
                await asyncio.gather(*(_ask(service, run, command) for command in commands))
                clock.now += passes_ms
    async with serving(lambda: SqliteStore(path), bounds, clock=clock) as service:
        for each in KEYS:
            await _check_instance(service, each, run)
        await _check_answers_again(service, run)
        await _verify(path)


async def _verify(path: Path) -> None:
    """What ``durachart verify`` finds, while the server runs."""
    scan = scan_file(path)
    verifier = StoreVerifier(scan)
    try:
        assert [problem async for found in verifier.problems() for problem in found] == []
    finally:
        await scan.close()
    assert not verifier.counts.skipped


def _replayed(rows: Sequence[JournalRow]) -> dict[int, Any]:
    """The snapshot at every version as JSON data, from the causes in an instance's rows."""
    snapshot: Snapshot | None = None
    versions: dict[int, Any] = {}
    for row in rows:
        if row.outcome == "accepted":
            snapshot = repeat(job(), snapshot, row).snapshot
            versions[row.to_version] = json.loads(json.dumps(snapshot_to_json(job().machine, snapshot)))
    return versions


async def _check_instance(service: Service, of: InstanceKey, run: Run) -> None:
    store: Any = service.store
    entries = await store.list_journal(of, from_seq=1, limit=10_000)
    rows: list[JournalRow] = [entry.row for entry in entries]
    purged = _purged(run, of)
    first = rows[0].seq if rows and purged else 1
    assert [row.seq for row in rows] == list(range(first, first + len(rows)))
    assert first_broken(rows) is None
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(rows))
    assert all(row.from_version == row.to_version and row.reason for row in rows if row.outcome == "refused")
    lives: dict[str, list[JournalRow]] = {}
    for row in rows:
        if row.outcome == "accepted":
            lives.setdefault(row.uid, []).append(row)
    for number, life in enumerate(lives.values()):
        versions = [row.to_version for row in life]
        begins = 0 if number or not purged else versions[0]
        assert versions == list(range(begins, begins + len(life)))
        assert all(row.cause != "delete" for row in life[:-1])
    _check_acknowledged(of, rows, run)
    stored = await store.get_instance(of)
    timers = await store.due_timers(2**60, 1_000)
    armed = {(row.timer_key, row.due_at_ms) for row in timers if row.key == of}
    if stored is None:
        assert all(life[-1].cause == "delete" for life in lives.values())
        assert armed == set()
        return
    *ended, last = lives.items()
    assert all(life[-1].cause == "delete" for _, life in ended)
    assert last[0] == stored.row.uid
    await _check_states(service, stored, last[1], armed)


async def _check_states(
    service: Service, stored: StoredInstance, life: list[JournalRow], armed: set[tuple[str, int]]
) -> None:
    versions = _replayed(life)
    last = json.loads(stored.row.internals)
    assert {**last, "context": json.loads(stored.row.context)} == versions[stored.row.version]
    assert stored.row.version == len(life) - 1
    # Every version can be read back from the journal alone.
    entries = await service.store.read_results(stored.row.key, life[0].seq, life[-1].seq)
    for transition in await service.runtime._history.transitions(entries):
        snapshot = versions[transition.instance.version]
        assert json.loads(transition.instance.context_json) == snapshot["context"]
        assert json.loads(transition.instance.internals_json)["timers"] == snapshot["timers"]
    assert armed == {(timer["id"], timer["due_at_ms"]) for timer in last["timers"]}


def _purged(run: Run, of: InstanceKey) -> bool:
    return any(
        isinstance(command, DeleteInstance)
        and command.key == of
        and command.purge
        and isinstance(answer, Deleted)
        for command, answer in run.answers
    )


def _check_acknowledged(of: InstanceKey, rows: Sequence[JournalRow], run: Run) -> None:
    made = {(row.uid, row.to_version): row for row in rows if row.outcome == "accepted"}
    purged = _purged(run, of)
    for command, answer in run.answers:
        if isinstance(answer, Accepted | Created) and command.key == of:
            row = made.get((answer.state.uid, answer.state.version))
            if row is None:
                assert purged
            elif isinstance(answer, Accepted):
                assert (row.event_type, row.data) == (command.event_type, command.data_json)
                assert answer.state.value_json == row.to_value
            else:
                assert row.cause == "create"
        elif isinstance(answer, Deleted) and command.key == of:
            row = made.get((answer.state.uid, answer.state.version + 1))
            assert purged if row is None else row.cause == "delete"
    events_by_request = Counter(row.request_id for row in rows if row.request_id and row.cause == "event")
    assert all(count == 1 for count in events_by_request.values())


async def _check_answers_again(service: Service, run: Run) -> None:
    """Ask again what was asked with a request id: the same bytes but for ``replayed``; nothing happens."""
    newest = await service.store.newest_revision()
    for command, answer in run.answers:
        recorded = getattr(command, "request_id", "") and (
            not isinstance(answer, DurachartError) or hasattr(answer, "replayed")
        )
        if not recorded or _purged(run, command.key):
            continue
        again = Run([], [])
        await _ask(service, again, command)
        (_, repeated) = again.answers[0]
        assert _on_the_wire(repeated) == _on_the_wire(_as_replayed(answer))
    assert await service.store.newest_revision() == newest


def _as_replayed(answer: Any) -> Any:
    if isinstance(answer, DurachartError):
        answer.replayed = True  # type: ignore[attr-defined]
        return answer
    return answer._replace(replayed=True) if hasattr(answer, "replayed") else answer


def _on_the_wire(answer: Any) -> bytes:
    """An answer as callers get it."""
    if isinstance(answer, Exception):
        return error_of(answer, "test").status().SerializeToString(deterministic=True)
    if isinstance(answer, Accepted):
        return convert.accepted(answer).SerializeToString(deterministic=True)
    made: Message
    if isinstance(answer, Created):
        made = pb.CreateInstanceResponse(state=convert.instance_state(answer.state), replayed=answer.replayed)
    elif isinstance(answer, Stopped):
        state = convert.instance_state(answer.state)
        made = StopGenerationResponse(state=state, stopped=answer.stopped, effect_id=answer.effect_id)
    else:
        assert isinstance(answer, Deleted)
        made = pb.DeleteInstanceResponse(state=convert.instance_state(answer.state), replayed=answer.replayed)
    return made.SerializeToString(deterministic=True)


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 2**32), st.booleans())
def test_the_journal_explains_the_state_and_every_answer_is_true(seed: int, sparing: bool) -> None:
    bounds = RuntimeSettings()
    if sparing:
        bounds = RuntimeSettings(whole_context_bytes=0, snapshot_every=4, cached_instances=1, max_batch=3)
    script = Script(Random(seed)).rounds()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory) / "store.db", script, bounds))
