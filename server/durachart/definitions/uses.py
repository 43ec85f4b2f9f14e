"""The candidates, actions and guards of a machine as written, each with its place.

The checks of the publish profile read the document rather than the built model, because what they look for (a
misspelt key, a v4 word, a candidate behind one that always passes) is exactly what building leaves behind.
What has the wrong shape is skipped here; ``shapes`` reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from durachart.definitions.findings import pointer
from durachart.definitions.states import StateSource
from durachart.engine.model import StateNode

Slot = Literal["on", "after", "always", "onDone", "entry", "exit", "initial"]


@dataclass(slots=True, eq=False)
class State:
    """One state as written, with everything in it that the checks look at, read once.

    Attributes:
        node: The state of the built machine, or of one that could not be built.
        config: Its part of the document.
        path: JSON pointer to that part.
        candidates: Its transitions: ``on``, ``after``, ``always``, ``onDone``, each in the order written.
        actions: Every use of an action in it.
        guards: Every use of a guard in it.
    """

    node: StateNode
    config: Mapping[str, Any]
    path: str
    candidates: list[Candidate] = field(default_factory=list)
    actions: list[Use] = field(default_factory=list)
    guards: list[Use] = field(default_factory=list)


# Not frozen: a large machine has half a million of them, and a frozen one takes three times as long to make.
@dataclass(slots=True, eq=False)
class Candidate:
    """One candidate transition as written. Not written to.

    Attributes:
        state: The state that declares it.
        slot: Where in that state: ``on``, ``after``, ``always`` or ``onDone``.
        descriptor: Its key in ``on`` or ``after``; ``""`` for the others.
        path: JSON pointer of the candidate.
        config: As written: a string, an object, or anything wrong.
        is_last: Whether no other candidate follows it.
    """

    state: State
    slot: Slot
    descriptor: str
    path: str
    config: object
    is_last: bool

    @property
    def guard(self) -> object:
        """The guard as written; ``None`` without one."""
        return self.config.get("guard") if isinstance(self.config, dict) else None

    @property
    def targets(self) -> list[tuple[str, str]]:
        """The targets that are strings and not empty, each with its JSON pointer."""
        if isinstance(self.config, str):
            return [(self.config, self.path)] if self.config else []
        if not isinstance(self.config, dict):
            return []
        target = self.config.get("target")
        if isinstance(target, list):
            return [
                (item, f"{self.path}/target/{index}")
                for index, item in enumerate(target)
                if isinstance(item, str) and item
            ]
        return [(target, self.path + "/target")] if isinstance(target, str) and target else []


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One use of an action or a guard.

    Attributes:
        slot: Where in its state.
        candidate: The transition it belongs to; ``None`` for entry, exit and ``initial.actions``.
        path: JSON pointer of the use.
        name: Its type.
        params: Its static parameters; ``None`` when there are none or they are no object.
    """

    slot: Slot
    candidate: Candidate | None
    path: str
    name: str
    params: dict[str, Any] | None


def read_uses(sources: Iterable[StateSource]) -> list[State]:
    """Every state with what is in it, in document order."""
    states = []
    for source in sources:
        state = State(source.node, source.config, source.path)
        state.candidates.extend(_read_candidates(state))
        _read_actions(state)
        _read_guards(state)
        states.append(state)
    return states


def _read_candidates(state: State) -> Iterator[Candidate]:
    keyed: tuple[Slot, ...] = ("on", "after")
    for slot in keyed:
        mapping = state.config.get(slot)
        if isinstance(mapping, dict):
            for key, value in mapping.items():
                yield from _candidates(state, slot, key, value, f"{state.path}/{slot}{pointer(key)}")
    single: tuple[Slot, ...] = ("always", "onDone")
    for slot in single:
        if slot in state.config:
            yield from _candidates(state, slot, "", state.config[slot], f"{state.path}/{slot}")


def _candidates(state: State, slot: Slot, descriptor: str, value: object, path: str) -> Iterator[Candidate]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            is_last = index == len(value) - 1
            yield Candidate(state, slot, descriptor, f"{path}/{index}", item, is_last)
    else:
        yield Candidate(state, slot, descriptor, path, value, is_last=True)


def _read_actions(state: State) -> None:
    own: tuple[Slot, ...] = ("entry", "exit")
    for slot in own:
        if slot in state.config:
            _add_actions(state, slot, None, state.config[slot], f"{state.path}/{slot}")
    initial = state.config.get("initial")
    if isinstance(initial, dict):
        _add_actions(state, "initial", None, initial.get("actions"), f"{state.path}/initial/actions")
    for candidate in state.candidates:
        if isinstance(candidate.config, dict) and "actions" in candidate.config:
            actions = candidate.config["actions"]
            _add_actions(state, candidate.slot, candidate, actions, candidate.path + "/actions")


def _add_actions(state: State, slot: Slot, candidate: Candidate | None, value: object, path: str) -> None:
    for place, item in listed(value, path):
        use = _use(slot, candidate, item, place)
        if use is not None:
            state.actions.append(use)


def listed(value: object, path: str) -> list[tuple[str, object]]:
    """What may be written alone or as a list, as (JSON pointer, item); ``None`` is nothing."""
    if isinstance(value, list):
        return [(f"{path}/{index}", item) for index, item in enumerate(value)]
    return [] if value is None else [(path, value)]


def _read_guards(state: State) -> None:
    for candidate in state.candidates:
        if candidate.guard is not None:
            use = _use(candidate.slot, candidate, candidate.guard, candidate.path + "/guard")
            if use is not None:
                state.guards.append(use)


def _use(slot: Slot, candidate: Candidate | None, value: object, path: str) -> Use | None:
    if isinstance(value, str):
        return Use(slot, candidate, path, value, None)
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        params = value.get("params")
        name: str = value["type"]
        return Use(slot, candidate, path, name, params if isinstance(params, dict) else None)
    return None
