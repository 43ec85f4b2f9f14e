"""The tree of states, read from a machine config: what kind each is, its id, where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from durachart.definitions.findings import pointer
from durachart.definitions.report import Report
from durachart.engine.model import NodeType, StateNode

DEFAULT_MACHINE_ID = "(machine)"
MAX_NESTING = 64
MAX_STATES = 50_000
MAX_ID_LENGTH = 2_048
"""Characters of an id, and of the keys that lead to a state, joined by dots."""

_ARRAY_INDEX = re.compile(r"0|[1-9]\d{0,9}")
_MAX_ARRAY_INDEX = 2**32 - 2


@dataclass(frozen=True, slots=True)
class StateSource:
    """A state and the config it was read from.

    Attributes:
        node: The state; transitions and actions are added later.
        config: Its part of the document.
        path: JSON pointer to that part.
    """

    node: StateNode
    config: Mapping[str, Any]
    path: str


def javascript_order(keys: Iterable[str]) -> list[str]:
    """The keys as JavaScript iterates them: array indexes first, ascending, then the others as written."""
    written = list(keys)
    indexes = [key for key in written if _ARRAY_INDEX.fullmatch(key) and int(key) <= _MAX_ARRAY_INDEX]
    if not indexes:
        return written
    first = set(indexes)
    return sorted(indexes, key=int) + [key for key in written if key not in first]


_OBJECT = (dict, Mapping)
"""An object of JSON; a dict, which it nearly always is, is told at once, where ``Mapping`` asks around."""


def within_limits(config: object, path: str, report: Report) -> bool:
    """Whether a machine has no more states, and no deeper ones, than can be read; reports it if not.

    Only counts, so that what is refused is refused at once.
    """
    count, depth = 0, 0
    level: list[Any] = [config]
    while level:
        count += len(level)
        depth += 1
        level = [
            child
            for state in level
            if isinstance(state, _OBJECT) and (states := state.get("states")) and isinstance(states, _OBJECT)
            for child in states.values()
        ]
    if count > MAX_STATES:
        found = f"the machine has {count:,} states; at most {MAX_STATES:,} are taken"
        report.error("too_many_states", path, found, "make machines of its parts")
    elif depth - 1 > MAX_NESTING:
        found = f"states are nested {depth - 1} deep; at most {MAX_NESTING} are taken"
        report.error("nested_too_deeply", path, found)
    return count <= MAX_STATES and depth - 1 <= MAX_NESTING


def read_states(config: Mapping[str, Any], path: str, report: Report) -> list[StateSource]:
    """Every state in document order, the root first; none when there are too many or too deep ones.

    What is no object is reported and read as an empty one.
    """
    if not within_limits(config, path, report):
        return []
    machine_id = _id_of(config, path, report) or DEFAULT_MACHINE_ID
    sources: list[StateSource] = []
    by_id: dict[str, StateSource] = {}
    pending: list[tuple[str, Mapping[str, Any], str, str, StateNode | None]] = [
        (machine_id, config, path, machine_id, None)
    ]
    while pending:
        key, state, state_path, default_id, parent = pending.pop()
        node_id = default_id if parent is None else _id_of(state, state_path, report) or default_id
        children = _children_of(state, state_path, report)
        node_type = _type_of(state, state_path, report, has_children=bool(children), is_root=parent is None)
        node = StateNode(len(sources), node_id, key, node_type, parent)
        source = StateSource(node, state, state_path)
        if len(default_id) > MAX_ID_LENGTH or len(node_id) > MAX_ID_LENGTH:
            # Each state below would repeat it.
            found = f"a state's id has {max(len(default_id), len(node_id)):,} characters"
            report.error("id_too_long", state_path, f"{found}; at most {MAX_ID_LENGTH:,} are taken")
            children = []
        known = by_id.setdefault(node_id, source)
        if known is not source:
            report.error(
                "id_duplicate",
                pointer_below(state_path, "id") if "id" in state else state_path,
                f"the id {node_id!r} is taken by the state at {known.path or '/'}",
                "give each state an id of its own",
            )
        sources.append(source)
        for child_key, child in reversed(children):
            child_path = pointer_below(state_path, "states", child_key)
            pending.append((child_key, child, child_path, f"{default_id}.{child_key}", node))
    _link(sources)
    return sources


def pointer_below(path: str, *keys: str | int) -> str:
    """The pointer to a place below ``path``."""
    return path + pointer(*keys)


def _id_of(state: Mapping[str, Any], path: str, report: Report) -> str:
    """The state's own id, ``""`` without one."""
    own = state.get("id", "")
    if isinstance(own, str):
        return own
    report.error("id_not_string", pointer_below(path, "id"), f"an id must be a string, not {kind_of(own)}")
    return ""


def _children_of(state: Mapping[str, Any], path: str, report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    states = state.get("states")
    if not is_given(states):
        return []
    if not isinstance(states, Mapping):
        report.error(
            "states_not_object",
            pointer_below(path, "states"),
            f"`states` must be an object of states by name, not {kind_of(states)}",
        )
        return []
    children = []
    for key in javascript_order(states):
        child = states[key]
        if not isinstance(child, Mapping):
            report.error(
                "state_not_object",
                pointer_below(path, "states", key),
                f"a state must be an object, not {kind_of(child)}",
                "write `{}` for a state without anything in it",
            )
            child = {}  # it is there all the same: what names it is not wrong for that
        children.append((key, child))
    return children


def _type_of(
    state: Mapping[str, Any], path: str, report: Report, *, has_children: bool, is_root: bool
) -> NodeType:
    declared = state.get("type")
    if not is_given(declared):
        return "compound" if has_children else "history" if is_given(state.get("history")) else "atomic"
    known: tuple[NodeType, ...] = get_args(NodeType)
    if declared in known and not (declared == "history" and is_root):
        node_type: NodeType = declared
        return node_type
    hint = report.suggest(declared, known) if isinstance(declared, str) else ""
    report.error(
        "type_unknown",
        pointer_below(path, "type"),
        f"{declared!r} is no type of state here",
        hint or f"one of {', '.join(known)}; leave it out where `states` says it",
    )
    return "compound" if has_children else "atomic"


def _link(sources: Iterable[StateSource]) -> None:
    """Make every state know its children and its last descendant."""
    children: dict[StateNode, dict[str, StateNode]] = {}
    nodes = [source.node for source in sources]
    for node in nodes:
        if node.parent is not None:
            children.setdefault(node.parent, {})[node.key] = node
    for node in reversed(nodes):
        own = children.get(node, {})
        node.children = own
        node.regions = tuple(child for child in own.values() if child.type != "history")
        node.histories = tuple(child for child in own.values() if child.type == "history")
        if node.parent is not None:
            node.parent.last = max(node.parent.last, node.last)


def is_given(value: object) -> bool:
    """Whether JavaScript takes a value for true, as XState does where a key is optional: ``{}`` is one."""
    return value is not None and value is not False and value not in ("", 0)


def kind_of(value: object) -> str:
    """What a JSON value is, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "an array"
