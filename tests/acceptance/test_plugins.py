"""Trusted Python in machines, on real servers: what it decides, how it fails, what its absence does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from durachart_client import (
    Client,
    DefinitionInvalid,
    EvaluationFailed,
    EventNotAllowed,
    GuardRejected,
    ImplementationMissing,
    InstanceState,
)
from tests.processes import ROOT, Server, run_cli

EXAMPLE = ROOT / "examples" / "parcel"
PATIENCE_S = 30

RULES = """
import sys
from durachart.plugins import EffectFailed, Plugin

plugin = Plugin("gate-rules", version="{version}")

@plugin.guard("mayPass")
def may_pass(step):
    match step.event["key"]:
        case "raise":
            raise ValueError("no such key")
        case "leave":
            sys.exit(3)
        case "wrong":
            return "yes"
        case "write":
            step.context["passed"] = 100
        case "recurse":
            return may_pass(step)
    return step.event["key"] == "right"

@plugin.action("count")
def count(step):
    if step.event.get("bad"):
        return {{"passed": {{1, 2}}}}
    return {{"passed": step.context["passed"] + 1}}

@plugin.effect("gate.ring")
async def ring(call):
    if call.attempt == 1:
        raise EffectFailed("BUSY", "The bell is busy.")
    return {{"rang": call.params["times"], "attempt": call.attempt}}
"""
GATE: Mapping[str, Any] = {
    "machine": {
        "id": "gate",
        "initial": "shut",
        "context": {"passed": 0, "rang": None},
        "states": {
            "shut": {
                "on": {
                    "PASS": {"guard": "mayPass", "actions": "count"},
                    "RING": {"actions": "ringBell"},
                    "RANG": {"target": "open", "actions": "keep"},
                }
            },
            "open": {},
        },
    },
    "implementations": {
        "actions": {
            "ringBell": {"params": {"times": "context.passed"}},
            "keep": {"assign": {"rang": "event.output"}},
        }
    },
    "effects": {"ringBell": {"handler": "gate.ring", "done": "RANG", "retry": {"initial_backoff_ms": 1}}},
}
DOOR: Mapping[str, Any] = {
    "machine": {
        "id": "door",
        "initial": "shut",
        "states": {"shut": {"on": {"OPEN": "open"}}, "open": {"on": {"SHUT": "shut"}}},
    }
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A directory with the module ``gate_rules``, and room for a server's data."""
    write_rules(tmp_path, "1")
    (tmp_path / "machines").mkdir()
    return tmp_path


def write_rules(directory: Path, version: str) -> None:
    (directory / "gate_rules.py").write_text(RULES.format(version=version), encoding="utf-8")


def serving(directory: Path, *arguments: str) -> Any:
    """A server with its data, machines and modules in ``directory``."""
    return Server.running(
        *("--data-dir", str(directory / "data")),
        *("--machines", str(directory / "machines")),
        *arguments,
        env={"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
    )


async def test_what_python_decides_is_durable_and_how_it_fails_is_journaled(rules: Path) -> None:
    """B7: invalid events are refused in words, failures are reported, and the server goes on."""
    async with serving(rules, "--plugins", "gate_rules") as server, Client(server.grpc) as client:
        assert (await client.publish(GATE)).warnings == ()
        await client.create("gate", "g")
        assert (await client.send("gate", "g", "PASS", {"key": "right"})).state.context == {
            "passed": 1,
            "rang": None,
        }
        with pytest.raises(GuardRejected):
            await client.send("gate", "g", "PASS", {"key": "none"})
        before = await client.get("gate", "g")
        for data, complaint in (
            ({"key": "raise"}, "guard 'mayPass' of plug-in 'gate-rules' raised ValueError: no such key"),
            ({"key": "leave"}, "guard 'mayPass' of plug-in 'gate-rules' raised SystemExit: 3"),
            ({"key": "wrong"}, "guard 'mayPass' of plug-in 'gate-rules' gave str, not True or False"),
            ({"key": "write"}, "guard 'mayPass' of plug-in 'gate-rules' raised TypeError"),
            ({"key": "recurse"}, "guard 'mayPass' of plug-in 'gate-rules' raised RecursionError"),
            ({}, "guard 'mayPass' of plug-in 'gate-rules' raised KeyError: 'key'"),
            (
                {"key": "right", "bad": True},
                "action 'count' of plug-in 'gate-rules' gave what the context cannot hold",
            ),
        ):
            with pytest.raises(EvaluationFailed) as refused:
                await client.send("gate", "g", "PASS", data)
            assert complaint in refused.value.message
            newest = await anext(aiter(client.journal("gate", "g", newest_first=True)))
            found = (newest.outcome, newest.reason, newest.data)
            assert found == ("refused", "EVALUATION_FAILED", data or None)
            assert complaint in newest.message
        with pytest.raises(EventNotAllowed, match="PUSH"):
            await client.send("gate", "g", "PUSH")
        after = await client.get("gate", "g")
        assert (after.version, after.value, after.context) == (before.version, before.value, before.context)
        assert (await client.send("gate", "g", "PASS", {"key": "right"})).state.context["passed"] == 2


LAMP_RULES = """
from durachart.plugins import Plugin

plugin = Plugin("lamp-rules", version="1")

@plugin.guard("hasPower")
def has_power(step):
    return step.event["volts"] >= step.params["volts"]

@plugin.action("note")
def note(step):
    return {"log": [*step.context["log"], step.params["text"]]}

@plugin.delay("patience")
def patience(step):
    return 1 if "hurry" in step.context["log"] else 3_600_000
"""
LAMP: Mapping[str, Any] = {
    "id": "lamp",
    "initial": "off",
    "context": {"log": []},
    "states": {
        "off": {
            "entry": {"type": "note", "params": {"text": "off"}},
            "on": {"PRESS": {"guard": {"type": "hasPower", "params": {"volts": 200}}, "target": "#bright"}},
        },
        "lit": {
            "id": "lit",
            "initial": "dim",
            "entry": {"type": "note", "params": {"text": "lit"}},
            "states": {"dim": {}, "full": {"id": "bright"}},
            "on": {
                "DIM": {"target": ".dim", "reenter": False},
                "AGAIN": {"target": "#bright", "reenter": True},
                "HURRY": {
                    "target": "#lit",
                    "reenter": True,
                    "actions": {"type": "note", "params": {"text": "hurry"}},
                },
            },
            "after": {"patience": "off"},
        },
    },
}


async def test_guards_actions_and_delays_take_their_part_in_entries_and_targets(tmp_path: Path) -> None:
    """B6."""
    (tmp_path / "lamp_rules.py").write_text(LAMP_RULES, encoding="utf-8")
    (tmp_path / "machines").mkdir()
    async with serving(tmp_path, "--plugins", "lamp_rules") as server, Client(server.grpc) as client:
        await client.publish(LAMP)
        await client.create("lamp", "l")
        with pytest.raises(GuardRejected) as refused:
            await client.send("lamp", "l", "PRESS", {"volts": 110})
        assert refused.value.guards == ("hasPower",)
        for event, value, log in (
            ("PRESS", {"lit": "full"}, ["off", "lit"]),
            ("DIM", {"lit": "dim"}, ["off", "lit"]),
            ("AGAIN", {"lit": "full"}, ["off", "lit", "lit"]),
            ("HURRY", {"lit": "dim"}, ["off", "lit", "lit", "hurry", "lit"]),
        ):
            state = (await client.send("lamp", "l", event, {"volts": 230})).state
            assert (state.value, state.context) == (value, {"log": log}), event
        async with asyncio.timeout(PATIENCE_S), aclosing(client.watch("lamp", "l")) as watch:
            async for frame in watch:
                state = getattr(frame, "state", None)
                if state is not None and state.value == "off":
                    assert state.context == {"log": [*log, "off"]}
                    break


async def test_a_handler_runs_its_effects_again_until_they_succeed(rules: Path) -> None:
    async with serving(rules, "--plugins", "gate_rules") as server, Client(server.grpc) as client:
        await client.publish(GATE)
        await client.create("gate", "g")
        await client.send("gate", "g", "PASS", {"key": "right"})
        await client.send("gate", "g", "RING")
        state = await _wait_for(client, "g", "open")
        assert state.context == {"passed": 1, "rang": {"rang": 1, "attempt": 2}}


async def _wait_for(client: Client, instance: str, value: str) -> InstanceState:
    async with asyncio.timeout(PATIENCE_S), aclosing(client.watch("gate", instance)) as watch:
        async for event in watch:
            state: InstanceState | None = getattr(event, "state", None)
            if state is not None and state.value == value:
                return state
    raise AssertionError("the watch ended")


@pytest.mark.parametrize("instead", ["nothing", "another version"])
async def test_without_the_plugin_its_machine_alone_stands_still(rules: Path, instead: str) -> None:
    async with serving(rules, "--plugins", "gate_rules") as server, Client(server.grpc) as client:
        await client.publish(GATE)
        await client.publish(DOOR)
        await client.create("gate", "g")
        await client.create("door", "d")
        await client.send("gate", "g", "PASS", {"key": "right"})
    write_rules(rules, "2")
    arguments = ("--plugins", "gate_rules") if instead == "another version" else ()
    async with serving(rules, *arguments) as server, Client(server.grpc) as client:
        for call in (
            client.send("gate", "g", "PASS", {"key": "right"}),
            client.get("gate", "g"),
            client.create("gate", "another"),
        ):
            with pytest.raises(ImplementationMissing) as missing:
                await call
            named = "no plug-in here has guard 'mayPass', action 'count'"
            assert (named if instead == "nothing" else "not in the version") in missing.value.message
        assert (await client.send("door", "d", "OPEN")).state.value == "open"
        assert [machine.machine_id async for machine in client.machines()] == ["door", "gate"]
        assert (await client.machine("gate")).definition["machine"] == GATE["machine"]
        listed = [state async for state in client.instances("gate")]
        assert [(state.instance.instance_id, state.version) for state in listed] == [("g", 1)]
        if instead == "nothing":
            with pytest.raises(DefinitionInvalid, match="mayPass"):
                await client.publish(GATE)
        else:
            assert (await client.publish(GATE)).machine.version == 2
            assert (await client.create("gate", "another")).state.machine_version == 2
    write_rules(rules, "1")
    async with serving(rules, "--plugins", "gate_rules") as server, Client(server.grpc) as client:
        sent = await client.send("gate", "g", "PASS", {"key": "right"})
        assert (sent.state.version, sent.state.context) == (2, {"passed": 2, "rang": None})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "--plugins: the module 'my_rules' cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "--plugins: the module 'my_rules' cannot be imported: ZeroDivisionError: division by zero"),
        (
            "from durachart.plugins import Plugin\n"
            "a, b = Plugin('a', version='1'), Plugin('b', version='1')\n"
            "for plugin in (a, b):\n    plugin.guard('isOpen')(lambda step: True)\n",
            "the plug-ins 'a' and 'b' both have the guard 'isOpen'",
        ),
        (
            "from durachart.plugins import Plugin\nplugin = Plugin('a')\n"
            "@plugin.effect('log')\nasync def log(call): ...\n",
            "the plug-in 'a' has the effect 'log', which is built in",
        ),
    ],
)
async def test_plugins_that_cannot_be_used_keep_the_server_from_starting(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "my_rules.py").write_text(text, encoding="utf-8")
    environment = {"PYTHONPATH": str(tmp_path), "DURACHART_PLUGINS": "my_rules"}
    server = await Server.start(tmp_path, env=environment)
    assert await server.wait() == 1
    errors = [line for line in server.stderr.splitlines() if line]
    assert len(errors) == 1, server.stderr
    assert sentence in errors[0]


# --- the example


def test_the_example_is_valid_with_its_plugin_and_not_without() -> None:
    assert run_cli(None, "validate", "machine.yaml", "--plugins", "parcel_rules", cwd=EXAMPLE).returncode == 0
    without = run_cli(None, "validate", "machine.yaml", "--json", cwd=EXAMPLE)
    assert without.returncode == 6
    codes = {finding["code"] for finding in json.loads(without.stdout)["findings"]}
    assert {"guard_missing", "delay_missing"} <= codes


def test_the_example_runs_as_its_page_says() -> None:
    day_ms = 24 * 60 * 60 * 1000
    events = [
        {"type": "ADD", "weight_g": 1500},
        {"type": "QUOTE", "zone": "near"},
        {"$advance_ms": 2 * day_ms},  # simulated time begins on a Thursday
        {"type": "SHIP"},
        {"$advance_ms": 2 * day_ms},
        {"type": "SHIP"},
        {"type": "BOOKED", "output": {"tracking": "T"}},
        {"$advance_ms": 3 * day_ms},
    ]
    done = run_cli(
        None,
        *("simulate", "machine.yaml", "--events", "-", "--json"),
        input=json.dumps(events),
        cwd=EXAMPLE,
        env={"DURACHART_PLUGINS": "parcel_rules", "PYTHONPATH": os.fspath(EXAMPLE)},
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["value"] for record in records] == [
        *("packing", "packing", "quoted", "quoted", "quoted", "quoted", "booking", "underway", "lost")
    ]
    assert records[4]["outcome"] == "refused"
    assert records[2]["context"]["price_cents"] == {"before": 0, "after": 450}
    assert records[6]["effects"] == [{"type": "bookCarrier", "params": {"price_cents": 450}}]
    assert records[7]["context"]["tracking"]["after"] == "T"


async def test_the_example_is_served(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(EXAMPLE)}
    arguments = ("--plugins", "parcel_rules", "--machines", str(EXAMPLE.parent))
    async with Server.running(*arguments, env=environment) as server, Client(server.grpc) as client:
        await client.create("parcel", "p")
        await client.send("parcel", "p", "ADD", {"weight_g": 2000})
        quoted = await client.send("parcel", "p", "QUOTE", {"zone": "far"})
        assert (quoted.state.value, quoted.state.context["price_cents"]) == ("quoted", 1800)
        await client.send("parcel", "p", "UNPACK")
        with pytest.raises(EvaluationFailed, match="'quotePrice' of plug-in 'parcel-rules' raised KeyError"):
            await client.send("parcel", "p", "QUOTE", {"zone": "moon"})
        assert (await client.get("parcel", "p")).value == "packing"
