"""What a machine may do and probably should not: derived data in its context, no decisions, floods of writes.

These are warnings. Each says what was seen, not what must follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from durachart.definitions.findings import pointer
from durachart.definitions.report import Report
from durachart.definitions.transitions import delay_of_key
from durachart.definitions.uses import Candidate, State
from durachart.engine.model import StateNode, is_descendant
from durachart.expressions import CompileError, compile_expression

FAST_MS: Final = 1_000
"""Delays below this many milliseconds are fast for something that is written to disk each time."""

_PATH: Final = re.compile(r"[\w.\[\]\"' ]+")
_STREAM_WORDS: Final = frozenset(
    (
        "TICK MOUSEMOVE POINTERMOVE SCROLL KEYPRESS KEYDOWN KEYUP KEYSTROKE TYPING CURSOR TOKEN CHUNK FRAME "
        "PROGRESS HEARTBEAT PING DRAG RESIZE SAMPLE TELEMETRY POSITION"
    ).split()
)
_STREAM_PAIRS: Final = frozenset(
    {
        "MOUSE MOVE",
        "MOUSE MOVED",
        "POINTER MOVE",
        "KEY PRESS",
        "KEY DOWN",
        "KEY UP",
        "KEY STROKE",
        "CURSOR MOVED",
    }
)


def check_derived_data(
    states: Sequence[State], actions: Mapping[str, Any], path: str, report: Report
) -> None:
    """Report context keys whose every computed value follows from the rest of the context alone.

    Args:
        states: Every state.
        actions: The section ``implementations.actions``.
        path: JSON pointer of that section.
        report: Receives the warnings.
    """
    used = {use.name for state in states for use in state.actions}
    computed: dict[str, list[tuple[str, str, bool]]] = {}
    for name, body in actions.items():
        entries = body.get("assign") if isinstance(body, Mapping) and name in used else None
        if not isinstance(entries, Mapping):
            continue
        for key, text in entries.items():
            if isinstance(text, str):
                verdict = _derives(key, text)
                if verdict is not None:
                    computed.setdefault(key, []).append(
                        (f"{path}{pointer(name)}/assign{pointer(key)}", text, verdict)
                    )
    for key, entries_of_key in computed.items():
        if all(derived for _, _, derived in entries_of_key):
            place, text, _ = entries_of_key[0]
            shown = text if len(text) <= 60 else text[:57] + "…"
            report.warning(
                "derived_data",
                place,
                f"`context.{key}` is only ever computed from the rest of the context (`{shown}`)",
                "leave it out and compute it where it is read: stored, it can fall out of step",
            )


def _derives(key: str, text: str) -> bool | None:
    """Whether ``text`` computes ``key`` from other keys of the context; ``None`` for a constant."""
    try:
        expression = compile_expression(text)
    except CompileError:
        return False
    references = expression.references
    if not references:
        return None
    own = f"context.{key}"
    for reference in references:
        if not reference.startswith("context.") or reference == own or reference.startswith(own + "."):
            return False
    # A bare path copies a value as it is now, which cannot be computed later.
    return not _PATH.fullmatch(text.strip())


def check_trivial(states: Sequence[State], report: Report) -> None:
    """Report a machine that decides nothing: one state, or two that only alternate."""
    root = states[0]
    leaves = [state for state in states if not state.node.children and state.node.type != "history"]
    if len(leaves) == 1:
        report.warning(
            "machine_trivial",
            root.path,
            "the machine has one state, so it can refuse nothing by where it stands",
            "a record with a version may be enough",
        )
        return
    decides = any(
        state.config.get(key)
        for state in states
        for key in ("after", "always", "onDone", "entry", "exit", "tags", "meta")
    ) or any(
        isinstance(candidate.config, dict)
        and (candidate.config.get("guard") or candidate.config.get("actions"))
        for state in states
        for candidate in state.candidates
    )
    if (
        len(leaves) == 2
        and len(states) == 3
        and not decides
        and all(leaf.node.type == "atomic" for leaf in leaves)
    ):
        report.warning(
            "machine_trivial",
            root.path,
            "the machine alternates between two states without a guard, an action or a timer",
            "a flag in the entity's own record may be enough",
        )


def check_write_frequency(states: Sequence[State], delays: Mapping[str, Any], report: Report) -> None:
    """Report timers that come round many times a second, and events whose names speak of a stream.

    Args:
        states: Every state; their nodes are those of the built machine.
        delays: The section ``implementations.delays``.
        report: Receives the warnings.
    """
    _check_fast_loops(states, delays, report)
    for state in states:
        for candidate in state.candidates:
            if candidate.slot == "on" and not candidate.targets and _speaks_of_stream(candidate.descriptor):
                report.warning(
                    "high_frequency",
                    candidate.path,
                    f"the name {candidate.descriptor!r} suggests a stream of small updates, and each "
                    "accepted event is written to disk with a journal row",
                    "send what was reached, not every step of the way",
                )


def _speaks_of_stream(event_type: str) -> bool:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", event_type).upper()
    parts = [part for part in re.split(r"[^A-Z0-9]+", words) if part]
    pairs = {f"{first} {second}" for first, second in pairwise(parts)}
    return bool(_STREAM_WORDS.intersection(parts) or _STREAM_PAIRS & pairs)


def _check_fast_loops(states: Sequence[State], delays: Mapping[str, Any], report: Report) -> None:
    """Report ``after`` transitions faster than ``FAST_MS`` from which such transitions alone lead back."""
    fast: list[tuple[Candidate, float]] = []
    for state in states:
        for candidate in state.candidates:
            delay = _milliseconds(candidate, delays) if candidate.slot == "after" else None
            if delay is not None and delay < FAST_MS:
                fast.append((candidate, delay))
    if not fast:
        return
    edges: dict[StateNode, set[StateNode]] = {}
    for candidate, _ in fast:
        edges.setdefault(candidate.state.node, set()).update(_arrivals(candidate))
    for candidate, delay in fast:
        if any(_leads_to(edges, start, candidate.state.node) for start in _arrivals(candidate)):
            report.warning(
                "high_frequency",
                candidate.path,
                f"this timer comes round again after {delay:g} ms, and each time is written to disk "
                "with a journal row",
                f"use a delay of {FAST_MS} ms or more, or let an effect do the polling",
            )


def _milliseconds(candidate: Candidate, delays: Mapping[str, Any]) -> float | None:
    written = delay_of_key(candidate.descriptor)
    if written is not None:
        return written
    named = delays.get(candidate.descriptor)
    return named if isinstance(named, int | float) and not isinstance(named, bool) else None


def _arrivals(candidate: Candidate) -> set[StateNode]:
    """The states that are entered, so that their timers run anew, when the candidate is taken."""
    source = candidate.state.node
    written = delay_of_key(candidate.descriptor)
    key = candidate.descriptor if written is None else written
    arrived: set[StateNode] = set()
    for transition in source.on.get(f"xstate.after.{key}.{source.id}", ()):
        for target in transition.targets or ():
            if target is not source or transition.reenter:
                arrived.add(target)
            arrived.update(_starts_with(target))
            ancestor = target.parent
            while ancestor is not None and ancestor is not source and not is_descendant(source, ancestor):
                arrived.add(ancestor)
                ancestor = ancestor.parent
    return arrived


def _starts_with(node: StateNode) -> set[StateNode]:
    """The states below ``node`` that are entered with it."""
    found: set[StateNode] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        below = (
            current.regions if current.type == "parallel" else [current.initial] if current.initial else []
        )
        pending.extend(child for child in below if child not in found)
        found.update(below)
    return found


def _leads_to(edges: Mapping[StateNode, set[StateNode]], start: StateNode, goal: StateNode) -> bool:
    seen: set[StateNode] = set()
    pending = [start]
    while pending:
        node = pending.pop()
        if node is goal:
            return True
        if node not in seen:
            seen.add(node)
            pending.extend(edges.get(node, ()))
    return False
