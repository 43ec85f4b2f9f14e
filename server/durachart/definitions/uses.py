"""The candidates, actions and guards of a machine as written, each with its place.

The checks of the publish profile read the document rather than the built model, because what they look for (a
misspelt key, a v4 word, a candidate behind one that always passes) is exactly what building leaves behind.
What has the wrong shape is skipped here; ``shapes`` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from durachart.definitions.findings import pointer
from durachart.definitions.states import StateSource

Slot = Literal["on", "after", "always", "onDone", "entry", "exit", "initial"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One candidate transition as written.

    Attributes:
        state: The state that declares it.
        slot: Where in that state: ``on``, ``after``, ``always`` or ``onDone``.
        descriptor: Its key in ``on`` or ``after``; ``""`` for the others.
        path: JSON pointer of the candidate.
        config: As written: a string, an object, or anything wrong.
        is_last: Whether no other candidate follows it.
    """

    state: StateSource
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
        state: The state in which it stands.
        slot: Where in that state.
        candidate: The transition it belongs to; ``None`` for entry, exit and ``initial.actions``.
        path: JSON pointer of the use.
        name: Its type.
        params: Its static parameters; ``None`` when there are none or they are no object.
    """

    state: StateSource
    slot: Slot
    candidate: Candidate | None
    path: str
    name: str
    params: dict[str, Any] | None


def read_candidates(state: StateSource) -> Iterator[Candidate]:
    """Every candidate of a state: ``on``, ``after``, ``always``, ``onDone``, each in the order written."""
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


def _candidates(
    state: StateSource, slot: Slot, descriptor: str, value: object, path: str
) -> Iterator[Candidate]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            is_last = index == len(value) - 1
            yield Candidate(state, slot, descriptor, f"{path}/{index}", item, is_last)
    else:
        yield Candidate(state, slot, descriptor, path, value, is_last=True)


def read_actions(state: StateSource) -> Iterator[Use]:
    """Every use of an action in a state, wherever it stands."""
    own: tuple[Slot, ...] = ("entry", "exit")
    for slot in own:
        yield from _actions(state, slot, None, state.config.get(slot), f"{state.path}/{slot}")
    initial = state.config.get("initial")
    if isinstance(initial, dict):
        yield from _actions(state, "initial", None, initial.get("actions"), f"{state.path}/initial/actions")
    for candidate in read_candidates(state):
        if isinstance(candidate.config, dict):
            actions = candidate.config.get("actions")
            yield from _actions(state, candidate.slot, candidate, actions, candidate.path + "/actions")


def _actions(
    state: StateSource, slot: Slot, candidate: Candidate | None, value: object, path: str
) -> Iterator[Use]:
    for place, item in listed(value, path):
        use = _use(state, slot, candidate, item, place)
        if use is not None:
            yield use


def listed(value: object, path: str) -> list[tuple[str, object]]:
    """What may be written alone or as a list, as (JSON pointer, item); ``None`` is nothing."""
    if isinstance(value, list):
        return [(f"{path}/{index}", item) for index, item in enumerate(value)]
    return [] if value is None else [(path, value)]


def read_guards(state: StateSource) -> Iterator[Use]:
    """Every use of a guard in a state."""
    for candidate in read_candidates(state):
        use = _use(state, candidate.slot, candidate, candidate.guard, candidate.path + "/guard")
        if use is not None:
            yield use


def _use(state: StateSource, slot: Slot, candidate: Candidate | None, value: object, path: str) -> Use | None:
    if isinstance(value, str):
        return Use(state, slot, candidate, path, value, None)
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        params = value.get("params")
        name: str = value["type"]
        return Use(state, slot, candidate, path, name, params if isinstance(params, dict) else None)
    return None
