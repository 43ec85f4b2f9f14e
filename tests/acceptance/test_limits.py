"""Limits on definitions, at them and over them: in the library, and on a server whose events go on."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from durachart.app.checking import CheckingProcess
from durachart.definitions.definition import check_definition, load_definition
from durachart.definitions.document import parse_document
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.engine import MicrostepLimitExceeded, initial_macrostep, macrostep
from durachart.runtime.errors import ShuttingDown
from durachart_client import Client, EvaluationFailed, ServerError
from durachart_client import DefinitionInvalid as Refused
from tests.processes import Server

_T = TypeVar("_T")

LONG = timedelta(seconds=90)
DOOR: dict[str, Any] = {
    "id": "door",
    "initial": "shut",
    "states": {"shut": {"on": {"TURN": "open"}}, "open": {"on": {"TURN": "shut"}}},
}


def ring(states: int) -> dict[str, Any]:
    """A machine of so many states, the root included; NEXT leads from each to the one after it."""
    inner = states - 1
    return {
        "id": "ring",
        "initial": "s0",
        "states": {f"s{index}": {"on": {"NEXT": f"s{(index + 1) % inner}"}} for index in range(inner)},
    }


def nested(depth: int) -> dict[str, Any]:
    """A machine whose innermost state lies so deep below the root."""
    state: dict[str, Any] = {"on": {"UP": "#nested"}}
    for level in range(depth, 1, -1):
        state = {"initial": f"s{level}", "states": {f"s{level}": state}}
    return {"id": "nested", "initial": "s1", "states": {"s1": state}}


def countdown(steps: int) -> dict[str, Any]:
    """A machine that takes so many eventless steps when it gets GO."""
    return {
        "machine": {
            "id": "countdown",
            "initial": "idle",
            "context": {"left": 0},
            "states": {
                "idle": {"on": {"GO": {"target": "counting", "actions": "fill"}}},
                "counting": {"always": {"guard": "isLeft", "actions": "take"}},
            },
        },
        "implementations": {
            "guards": {"isLeft": "context.left > 0"},
            "actions": {
                "fill": {"assign": {"left": str(steps)}},
                "take": {"assign": {"left": "context.left - 1"}},
            },
        },
    }


def padded(size: int) -> str:
    """A definition of exactly so many bytes."""
    text = json.dumps({**DOOR, "description": ""})
    return json.dumps({**DOOR, "description": "x" * (size - len(text))})


def errors(source: Any) -> list[Finding]:
    return [finding for finding in check_definition(source) if finding.severity == "error"]


# --- the library


def test_fifty_thousand_states_are_taken_and_one_more_is_not() -> None:
    machine = load_definition(json.dumps(ring(50_000))).machine
    start = initial_macrostep(machine, now_ms=0).snapshot
    assert macrostep(machine, start, {"type": "NEXT"}, now_ms=0).snapshot.configuration.value == "s1"
    (found,) = errors(json.dumps(ring(50_001)))
    assert found.code == "too_many_states"
    assert found.message == "the machine has 50,001 states; at most 50,000 are taken"


def test_sixty_four_levels_are_taken_and_one_more_is_not() -> None:
    assert load_definition(nested(64)).machine.nodes[-1].depth == 64
    (found,) = errors(nested(65))
    assert found.code == "nested_too_deeply"
    assert found.message == "states are nested 65 deep; at most 64 are taken"


def test_ten_mebibytes_are_taken_and_one_byte_more_is_not() -> None:
    limit = 10 * 1024 * 1024
    assert load_definition(padded(limit)).machine_id == "door"
    (found,) = errors(padded(limit + 1))
    assert found.code == "document_too_large"
    assert found.message == "the document has 10,485,761 bytes; the limit is 10,485,760"


def test_a_thousand_microsteps_are_taken_and_one_more_is_not() -> None:
    for steps in (999, 1_000):
        machine = load_definition(countdown(steps)).machine
        start = initial_macrostep(machine, now_ms=0).snapshot
        if steps == 999:
            assert macrostep(machine, start, {"type": "GO"}, now_ms=0).snapshot.context == {"left": 0}
        else:
            with pytest.raises(MicrostepLimitExceeded, match="within 1000 microsteps"):
                macrostep(machine, start, {"type": "GO"}, now_ms=0)


def test_an_endless_start_is_found_when_it_is_published() -> None:
    endless = {"id": "m", "initial": "a", "states": {"a": {"always": "b"}, "b": {"always": "a"}}}
    assert "start_endless" in [finding.code for finding in errors(endless)]


def test_keys_and_ids_have_a_limit_because_places_are_named_by_them() -> None:
    assert not errors(json.dumps({**DOOR, "meta": {"k" * 1_024: 1}}))
    (found,) = errors(json.dumps({**DOOR, "meta": {"k" * 1_025: 1}}))
    assert (found.code, found.message) == (
        "key_too_long",
        "a key has 1,025 characters; at most 1,024 are taken",
    )
    found, *_ = errors({**DOOR, "states": {"shut": {"id": "i" * 2_049}}})
    assert found.code == "id_too_long"


def test_what_a_finding_quotes_is_shortened() -> None:
    found = check_definition(json.dumps({**DOOR, "on": {f"E{n}": "x" * 100_000 for n in range(50)}}))
    assert all(len(finding.message) <= 1_001 and len(finding.hint) <= 1_001 for finding in found)


def _wrapped(opening: str, inner: str, closing: str, times: int) -> str:
    return opening * times + inner + closing * times


def _guarded(expression: str) -> str:
    machine = {**DOOR, "on": {"ASK": {"guard": "g", "target": ".open"}}}
    return json.dumps({"machine": machine, "implementations": {"guards": {"g": expression}}})


def _with_context_schema(schema: str) -> str:
    return f'{{"machine": {json.dumps(DOOR)}, "schemas": {{"context": {schema}}}}}'


HOSTILE: dict[str, str] = {
    "objects in objects": _wrapped('{"a":', "1", "}", 500_000),
    "arrays never closed": "[" * 2_000_000,
    "arrays in arrays": _wrapped("[", "", "]", 1_000_000),
    "a number of a million digits": f'{{"id": {"9" * 1_000_000}}}',
    "half characters": '{"id": "' + r"\ud800" * 100_000 + '"}',
    "a key twice, often": "{" + ",".join(['"a": 1'] * 100_000) + "}",
    "a string of megabytes as everything": json.dumps(
        {"id": "x" * 3_000_000, "initial": "y" * 3_000_000, "on": {"E": "z" * 3_000_000}}
    ),
    "a thousand problems under a long key": json.dumps(
        {
            "id": "m",
            "initial": "a",
            "states": {"k" * 5_000_000: {"on": {f"E{n}": "no" for n in range(2_000)}}},
        }
    ),
    "long keys on the way to many states": json.dumps(
        json.loads(
            _wrapped(
                '{"initial": "a", "states": {"' + "k" * 900 + '": ',
                json.dumps({"states": {f"s{n}": {} for n in range(20_000)}}),
                "}}",
                40,
            )
        )
    ),
    "terms": _guarded(" || ".join(["context.n == 1"] * 100_000)),
    "parentheses": _guarded(_wrapped("(", "true", ")", 30_000)),
    "negations": _guarded("!" * 60_000 + "true"),
    "members of members": _guarded("context" + ".a" * 30_000 + " == 1"),
    "lists in lists": _guarded(_wrapped("[", "1", "]", 30_000) + " == []"),
    "conditions": _guarded(_wrapped("true ? ", "true", " : false", 4_000)),
    "many unused expressions": json.dumps(
        {"machine": DOOR, "implementations": {"guards": {f"g{n}": "1 < 2" for n in range(50_001)}}}
    ),
    "guards of guards": json.dumps(
        {
            "machine": DOOR,
            "implementations": {"guards": {f"g{n}": {"not": f"g{n + 1}"} for n in range(50_000)}},
        }
    ),
    "guards made of themselves doubled": json.dumps(
        {
            "machine": {**DOOR, "on": {"ASK": {"guard": "g63", "target": ".open"}}},
            "implementations": {
                "guards": {"g0": "true", **{f"g{n}": {"and": [f"g{n - 1}"] * 2} for n in range(1, 64)}}
            },
        }
    ),
    "a deep schema": _with_context_schema(_wrapped('{"items": ', "{}", "}", 190)),
    "a schema of references doubled": _with_context_schema(
        json.dumps(
            {
                "$defs": {
                    **{f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
                    "d40": {"type": "object"},
                },
                "$ref": "#/$defs/d0",
            }
        )
    ),
    "a schema with a hungry pattern": _with_context_schema(
        '{"properties": {"a": {"type": "string", "pattern": "(a{1000}){1000}"}}}'
    ),
    "many timers of one state": json.dumps({**DOOR, "after": {str(n): ".open" for n in range(1, 100_000)}}),
    "many targets, many times": json.dumps(
        {
            "id": "m",
            "type": "parallel",
            "states": {
                **{f"r{n}": {"initial": "a", "states": {"a": {}, "b": {}}} for n in range(300)},
                "x": {"on": {f"E{n}": {"target": [f"#m.r{k}.b" for k in range(300)]} for n in range(300)}},
            },
        }
    ),
    "many wildcards for many effects": json.dumps(
        {
            "machine": {**DOOR, "on": {f"a{n}.*": ".open" for n in range(5_000)}},
            "effects": {f"e{n}": {"handler": "log", "done": f"a{n}." + "." * 1_000} for n in range(5_000)},
        }
    ),
    "a hundred thousand transitions": json.dumps(
        {**DOOR, "on": {f"E{n}": {"target": ".open"} for n in range(100_000)}}
    ),
    "a hundred thousand transitions that lead nowhere": json.dumps(
        {**DOOR, "on": {f"E{n}": f"nowhere{n}" for n in range(100_000)}}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_answered(name: str) -> None:
    for finding in check_definition(HOSTILE[name]):
        assert len(finding.path) < 20_000


def test_problems_are_told_up_to_a_thousand() -> None:
    assert len(check_definition("{" + ",".join(f'"k{n}": 1, "k{n}": 2' for n in range(2_000)) + "}")) == 1_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: &a [x, x]\nb: *a", id="alias"),
        pytest.param(
            "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50)), id="billion laughs"
        ),
        pytest.param("[" * 100_000, id="flow"),
        pytest.param("{a: " * 100_000, id="flow of mappings"),
        pytest.param("- " * 100_000 + "a", id="dashes"),
        pytest.param("".join("  " * n + "a:\n" for n in range(700)), id="blocks"),
        pytest.param("x: " + "y" * 1024 * 1024, id="too large"),
        pytest.param("k" * 2_000 + ": 1", id="long key"),
        pytest.param("---\n" * 100_000, id="documents"),
    ],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(DefinitionInvalid):
        parse_document(text, "yaml")


# --- the process that checks


@asynccontextmanager
async def checking(**options: Any) -> AsyncIterator[CheckingProcess]:
    process = CheckingProcess((), ("log",), **options)
    try:
        yield process
    finally:
        process.close()


async def test_a_process_finds_what_a_thread_finds() -> None:
    good, bad = json.dumps(ring(100)), json.dumps({**ring(100), "extra": 1})
    async with checking() as process:
        assert process.pid is None, "nothing is started before it is needed"
        offer = await process.offer(good)
        first = process.pid
        definition = load_definition(good)
        assert (offer.machine_id, offer.content_hash) == ("ring", definition.content_hash)
        assert json.loads(offer.document) == dict(definition.document)
        assert json.loads(offer.event_types) == ["NEXT"]
        with pytest.raises(DefinitionInvalid) as refused:
            await process.offer(bad)
        assert list(refused.value.findings) == check_definition(bad) == await process.check(bad)
        assert (await process.check('{"id": "\ud800"}'))[0].code == "text_broken"
        assert process.pid == first, "it is kept for the next definition"


async def test_a_process_that_ended_meanwhile_is_replaced_in_silence() -> None:
    async with checking() as process:
        await process.check(json.dumps(DOOR))
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await process.check(json.dumps(DOOR)) == check_definition(json.dumps(DOOR))
        assert process.pid != first


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("false",), "check_ended", "exit code 1"),
        (("sh", "-c", "kill -9 $$"), "check_ended", "SIGKILL"),
        (("sleep", "60"), "check_too_long", "took more than 0.2 s"),
    ],
)
async def test_a_process_that_fails_is_a_finding(command: tuple[str, ...], code: str, words: str) -> None:
    async with checking(command=command, timeout_s=0.2) as process:
        (found,) = await process.check(json.dumps(DOOR))
        assert (found.code, found.severity) == (code, "error")
        assert words in found.message
        with pytest.raises(DefinitionInvalid):
            await process.offer(json.dumps(DOOR))


async def test_closing_answers_whoever_waits(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    async with checking(command=("sh", "-c", f"echo > {started}; exec sleep 60")) as process:
        waiting = asyncio.create_task(process.check(json.dumps(DOOR)))
        await asyncio.to_thread(started.read_text)
        process.close()
        with pytest.raises(ShuttingDown):
            await waiting


# --- the service


async def _turning(client: Client, work: Awaitable[_T]) -> tuple[_T | BaseException, int]:
    """The outcome of ``work``, and how many events of another machine were answered before it came."""
    task = asyncio.ensure_future(work)
    answered = 0
    while not task.done():
        await client.send("door", "d", "TURN")
        answered += not task.done()
    error = task.exception()
    return (task.result() if error is None else error), answered


@pytest.mark.timeout(300)
async def test_events_go_on_while_definitions_at_the_limit_are_published() -> None:
    async with Server.running() as server, Client(server.grpc, timeout=LONG) as client:
        await client.publish(DOOR)
        await client.create("door", "d")
        text = json.dumps(ring(50_000))
        validated, while_validating = await _turning(client, client.validate(text))
        published, while_publishing = await _turning(client, client.publish(text))
        created, while_compiling = await _turning(client, client.create("ring", "r"))
        for outcome in (validated, published, created):
            assert not isinstance(outcome, BaseException), outcome
        # One that stood still would answer a handful, those that came before and after.
        assert min(while_validating, while_compiling) > 20
        # Checked a moment ago, it is published at once.
        assert while_publishing > 0
        assert (await client.send("ring", "r", "NEXT")).state.value == "s1"
        assert (await client.publish(text)).created is False
        assert await client.validate(padded(10 * 1024 * 1024)) is not None


async def test_over_a_limit_the_service_says_which_and_by_how_much() -> None:
    async with Server.running() as server, Client(server.grpc, timeout=LONG) as client:
        for definition, sentence in (
            (ring(50_001), "the machine has 50,001 states; at most 50,000 are taken"),
            (nested(65), "states are nested 65 deep; at most 64 are taken"),
            (
                {"machine": DOOR, "implementations": {"guards": {f"g{n}": "true" for n in range(20_001)}}},
                "there are 20,001 expressions; at most 20,000 are taken",
            ),
            (
                json.dumps({**DOOR, "states": {f"s{n}": {} for n in range(600_000)}}),
                "the document has at least 1,200,003 values; at most 1,000,000 are taken",
            ),
        ):
            with pytest.raises(Refused) as refused:
                await client.publish(definition)
            assert [finding.message for finding in refused.value.findings] == [sentence]
        with pytest.raises(ServerError, match="10485761 bytes long; at most 10485760 are taken"):
            await client.publish(padded(10 * 1024 * 1024 + 1))
        await client.publish(countdown(1_000))
        await client.create("countdown", "c")
        with pytest.raises(EvaluationFailed, match="within 1000 microsteps"):
            await client.send("countdown", "c", "GO")
        assert (await client.get("countdown", "c")).value == "idle"


def _checking_processes(server: Server) -> list[int]:
    """The processes that check definitions for a server."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [int(pid) for path in children for pid in path.read_text(encoding="ascii").split()]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="other systems cannot wait for any process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("state", ["idle", "busy"])
async def test_the_checking_process_ends_with_its_server(number: signal.Signals, state: str) -> None:
    async with Server.running("--drain-ms", "100") as server, Client(server.grpc, timeout=LONG) as client:
        assert _checking_processes(server) == [], "nothing is started before it is needed"
        await client.validate(ring(2_000))
        (pid,) = _checking_processes(server)
        waiting = None
        if state == "busy":
            waiting = asyncio.create_task(client.validate(ring(50_000)))
            await client.validate(DOOR)  # by then the other one has arrived
        ended = os.pidfd_open(pid)
        try:
            await server.stop(number)
            assert (await asyncio.to_thread(select.select, [ended], [], [], 30))[0] == [ended]
        finally:
            os.close(ended)
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
