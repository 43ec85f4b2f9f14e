"""Answers on stdin's lines {"contender", "machine", "events", "count"} with {"seconds"}: what they took.

Runs in the environment whose libraries are measured. Every contender gets the same machine and does the same
with each event; how it is driven is how its documentation drives it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[int], int]
Config = dict[str, Any]


def durachart(machine: Config, events: list[str]) -> Run:
    """Expressions in CEL, as they come over the network."""
    from bench.engine.machines import IMPLEMENTATIONS
    from durachart.definitions.build import build_machine

    return _durachart(build_machine(machine, IMPLEMENTATIONS), events)


def durachart_plugins(machine: Config, events: list[str]) -> Run:
    """Trusted implementations in Python."""
    from durachart.definitions.build import build_machine

    class Plugins:
        def __init__(self) -> None:
            self.guards = {"ready": lambda context, event, params, now_ms, budget: context["items"] > 0}
            self.actions = {"count": lambda context, event, params, now_ms, budget: {"n": context["n"] + 1}}
            self.delays: dict[str, Any] = {}

    implementations = {"actions": {"note": {"params": {}}}}
    return _durachart(build_machine(machine, implementations, plugins=Plugins()), events)


def _durachart(machine: Any, events: list[str]) -> Run:
    from durachart.engine import initial_macrostep, macrostep

    sent = [{"type": event} for event in events]
    snapshot = initial_macrostep(machine, now_ms=0).snapshot

    def run(count: int) -> int:
        nonlocal snapshot
        length = len(sent)
        for index in range(count):
            taken = macrostep(machine, snapshot, sent[index % length], now_ms=index)
            snapshot = taken.snapshot
        return int(snapshot.context["n"])

    return run


def xstate_statemachine(machine: Config, events: list[str]) -> Run:
    from xstate_statemachine import MachineLogic, SyncInterpreter, create_machine

    def count_up(interpreter: Any, context: Config, event: Any, action: Any) -> None:
        context["n"] += 1

    logic = MachineLogic(
        guards={"ready": lambda context, event: context["items"] > 0},
        actions={"count": count_up, "note": lambda *_: None},
    )
    service = SyncInterpreter(create_machine(machine, logic=logic)).start()

    def run(count: int) -> int:
        length = len(events)
        for index in range(count):
            service.send(events[index % length])
        return int(service.context["n"])

    return run


def transitions_library(machine: Config, events: list[str]) -> Run:
    from transitions import Machine
    from transitions.extensions import HierarchicalMachine

    class Model:
        def __init__(self) -> None:
            self.n = 0
            self.items = 3

        def ready(self) -> bool:
            return self.items > 0

        def count(self) -> None:
            self.n += 1

        def note(self) -> None:
            pass

    def states_of(config: Config) -> list[Config]:
        return [
            {
                "name": key,
                "on_enter": _listed(child.get("entry")),
                "on_exit": _listed(child.get("exit")),
                **({"children": states_of(child)} if "states" in child else {}),
                **(
                    {
                        "initial": list(child["states"])
                        if child.get("type") == "parallel"
                        else child["initial"]
                    }
                    if "states" in child
                    else {}
                ),
            }
            for key, child in config["states"].items()
        ]

    found = [
        {
            "trigger": event,
            "source": "_".join(path),
            "dest": None if target is None else "_".join([*path[:-1], target]),
            "conditions": ["ready"] if guard else [],
            "after": actions,
        }
        for path, event, target, guard, actions in _transitions(machine)
    ]
    model = Model()
    kind = HierarchicalMachine if "type" in json.dumps(machine) else Machine
    kind(
        model,
        states=states_of(machine),
        transitions=found,
        initial=machine["initial"],
        auto_transitions=False,
    )
    triggers = [getattr(model, event) for event in events]

    def run(count: int) -> int:
        length = len(triggers)
        for index in range(count):
            triggers[index % length]()
        return model.n

    return run


def python_statemachine(machine: Config, events: list[str]) -> Run:
    from statemachine.io import create_machine_class_from_definition

    class Model:
        def __init__(self) -> None:
            self.n = 0
            self.items = 3
            self.state = None

        def ready(self) -> bool:
            return self.items > 0

        def count(self) -> None:
            self.n += 1

        def note(self) -> None:
            pass

    def states_of(config: Config, path: list[str]) -> Config:
        found = {}
        for key, child in config["states"].items():
            here = [*path, key]
            state: Config = {
                "enter": _listed(child.get("entry")),
                "exit": _listed(child.get("exit")),
                "initial": config.get("initial") == key,
                "on": {},
            }
            for event, target, guard, actions in _declared(child):
                transition: Config = {"target": key if target is None else target, "on": actions}
                if target is None:
                    transition["internal"] = True
                if guard:
                    transition["cond"] = "ready"
                state["on"].setdefault(event, []).append(transition)
            if "states" in child:
                state["states"] = states_of(child, here)
                state["parallel"] = child.get("type") == "parallel"
            found[key] = state
        return found

    model = Model()
    service = create_machine_class_from_definition("Measured", states=states_of(machine, []))(model)

    def run(count: int) -> int:
        length = len(events)
        for index in range(count):
            service.send(events[index % length])
        return model.n

    return run


def sismic(machine: Config, events: list[str]) -> Run:
    from sismic.interpreter import Interpreter
    from sismic.io import import_from_yaml

    def state_of(key: str, config: Config) -> Config:
        state: Config = {"name": key}
        for word, ours in (("on entry", "entry"), ("on exit", "exit")):
            if ours in config:
                state[word] = _python(_listed(config[ours]))
        found = []
        for event, target, guard, actions in _declared(config):
            transition: Config = {"event": event}
            if target is not None:
                transition["target"] = target
            if guard:
                transition["guard"] = "items > 0"
            if actions:
                transition["action"] = _python(actions)
            found.append(transition)
        if found:
            state["transitions"] = found
        if "states" in config:
            children = [state_of(name, child) for name, child in config["states"].items()]
            if config.get("type") == "parallel":
                state["parallel states"] = children
            else:
                state["initial"] = config["initial"]
                state["states"] = children
        return state

    chart = {
        "statechart": {
            "name": machine["id"],
            "preamble": "n = 0\nitems = 3",
            "root state": {**state_of("root", {**machine, "on": {}})},
        }
    }
    interpreter = Interpreter(import_from_yaml(json.dumps(chart)))
    interpreter.execute()

    def run(count: int) -> int:
        length = len(events)
        for index in range(count):
            interpreter.queue(events[index % length]).execute()
        return int(interpreter.context["n"])

    return run


def _listed(actions: Any) -> list[str]:
    return [] if actions is None else [actions] if isinstance(actions, str) else actions


def _python(actions: list[str]) -> str:
    return "\n".join("n = n + 1" if action == "count" else "pass" for action in actions)


def _declared(config: Config) -> list[tuple[str, str | None, bool, list[str]]]:
    declared = []
    for event, transition in config.get("on", {}).items():
        read = {"target": transition} if isinstance(transition, str) else transition
        declared.append((event, read.get("target"), "guard" in read, _listed(read.get("actions"))))
    return declared


def _transitions(
    config: Config, path: tuple[str, ...] = ()
) -> list[tuple[list[str], str, str | None, bool, list[str]]]:
    found = []
    for key, child in config["states"].items():
        here = (*path, key)
        found += [([*here], *declared) for declared in _declared(child)]
        if "states" in child:
            found += _transitions(child, here)
    return found


CONTENDERS: dict[str, Callable[[Config, list[str]], Run]] = {
    "durachart (CEL)": durachart,
    "durachart (Python)": durachart_plugins,
    "transitions": transitions_library,
    "python-statemachine": python_statemachine,
    "sismic": sismic,
    "xstate-statemachine": xstate_statemachine,
}


def main() -> None:
    running: dict[str, Run] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = f"{asked['contender']} {asked['name']}"
        try:
            if key not in running:
                running[key] = CONTENDERS[asked["contender"]](asked["machine"], asked["events"])
            started = time.perf_counter()
            n = running[key](asked["count"])
            answer: Config = {"seconds": time.perf_counter() - started, "n": n}
        except Exception as error:  # noqa: BLE001 - a library that cannot run this machine is reported as such
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
