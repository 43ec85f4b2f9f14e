"""Names that XState takes in silence and nobody can have meant: dots in keys, stray wildcards, odd delays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from durachart.definitions.findings import pointer
from durachart.definitions.report import Report
from durachart.definitions.states import javascript_order
from durachart.definitions.transitions import delay_of_key
from durachart.definitions.uses import State
from durachart.engine.model import is_wildcard

MAX_MACHINE_ID: Final = 128
MAX_EVENT_TYPE: Final = 256
MAX_DELAY_MS: Final = 2**52
"""About 140,000 years: from any now on, the instant is one that JSON numbers hold exactly."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1
_V4_EVENTS: Final = {
    "done.state.": "xstate.done.state.",
    "done.invoke.": "an effect's `done` event",
    "error.platform.": "an effect's `failed` event",
}

_SENT: Final = ("xstate.done.state.", "xstate.after.")
"""What the interpreter sends, where there are no actors."""


def check_machine_id(config: Mapping[str, Any], path: str, report: Report) -> None:
    """Report a machine without an id, or with one that callers could not write."""
    machine_id = config.get("id")
    if machine_id is None:
        report.error(
            "machine_id_missing",
            path,
            "the machine has no `id`, and it is published under its id",
            'add `"id"` to the machine',
        )
    elif isinstance(machine_id, str) and not 0 < len(machine_id) <= MAX_MACHINE_ID:
        report.error(
            "machine_id_invalid", path + "/id", f"a machine's id has 1 to {MAX_MACHINE_ID} characters"
        )
    elif isinstance(machine_id, str) and _CONTROL.search(machine_id):
        report.error("machine_id_invalid", path + "/id", "a machine's id has no control characters")


def check_integers(config: Mapping[str, Any], path: str, report: Report) -> None:
    """Report integers that no instance could store: what is kept has integers of 64 bits."""
    pending: list[tuple[str, object]] = [(path, config)]
    while pending:
        place, value = pending.pop()
        items: Iterable[tuple[object, object]]
        if isinstance(value, Mapping):
            items = value.items()
        elif isinstance(value, list):
            items = enumerate(value)
        else:
            items = ()
        for key, child in items:
            if isinstance(child, Mapping | list):
                pending.append((place + pointer(key), child))
            elif type(child) is int and not _SMALLEST <= child <= _LARGEST:
                report.error(
                    "number_too_large",
                    place + pointer(key),
                    "the integer does not fit into 64 bits",
                    "write it as a string, or with a decimal point",
                )


def check_names(states: Iterable[State], report: Report) -> None:
    """Report ids, state keys, event types and delays that do something else than they seem to."""
    # A machine has few event types, and a large one names them half a million times.
    sound: set[str] = set()
    for state in states:
        _check_id(state, report)
        _check_keys(state, report)
        _check_descriptors(state, sound, report)
        _check_delays(state, report)


def _check_id(state: State, report: Report) -> None:
    written = state.config.get("id")
    if state.node.parent is not None and isinstance(written, str) and "." in written:
        report.warning(
            "id_with_dot",
            state.path + "/id",
            f"the id {written!r} holds a dot, at which targets are split",
            "write the dot as `\\.` in every target, or choose an id without one",
        )


def _check_keys(state: State, report: Report) -> None:
    children = state.config.get("states")
    if not isinstance(children, Mapping):
        return
    for key in children:
        if not key or "." in key:
            report.error(
                "state_key_invalid",
                f"{state.path}/states{pointer(key)}",
                f"the state key {key!r} cannot be written in a target, which is split at dots",
                "use a key without dots",
            )
    if javascript_order(children) != list(children):
        report.warning(
            "state_key_integer",
            state.path + "/states",
            "keys that are whole numbers come first in document order, whatever is written",
            "begin each key with a letter",
        )


def _check_descriptors(state: State, sound: set[str], report: Report) -> None:
    """Report the descriptors of a state, but for those that are known to be ``sound``."""
    on = state.config.get("on")
    if not isinstance(on, Mapping):
        return
    for descriptor in on:
        if descriptor in sound:
            continue
        if _is_sound(descriptor):
            sound.add(descriptor)
            continue
        path = f"{state.path}/on{pointer(descriptor)}"
        if "*" in descriptor.split(".") and not is_wildcard(descriptor):
            report.error(
                "wildcard_misplaced",
                path,
                f"{descriptor!r} matches no event but one of that very name: `*` counts at the end alone",
                "write `*`, or a prefix with `.*` at its end",
            )
        elif "*" in descriptor and not is_wildcard(descriptor):
            report.warning(
                "wildcard_misplaced",
                path,
                f"{descriptor!r} matches the event of that very name alone",
                "`*` stands for a whole part between dots: `a.*`",
            )
        elif len(descriptor) > MAX_EVENT_TYPE:
            report.error("event_invalid", path, f"an event type has at most {MAX_EVENT_TYPE} characters")
        elif _CONTROL.search(descriptor):
            report.error("event_invalid", path, "an event type has no control characters")
        if descriptor.startswith("xstate.") and not _is_sent_by_the_interpreter(descriptor):
            report.warning(
                "event_never_sent",
                path,
                f"nothing sends {descriptor!r}: types beginning with `xstate.` belong to the interpreter",
                "choose another name; for the ends of states and delays there are `onDone` and `after`",
            )
        for prefix, instead in _V4_EVENTS.items():
            if descriptor.startswith(prefix):
                report.warning(
                    "v4_event",
                    path,
                    f"{descriptor!r} is an event of XState v4; nothing sends it",
                    f"use {instead}",
                )


def _is_sound(descriptor: str) -> bool:
    """Whether there is certainly nothing to say about a descriptor."""
    return (
        "*" not in descriptor
        and len(descriptor) <= MAX_EVENT_TYPE
        and not _CONTROL.search(descriptor)
        and not descriptor.startswith(("xstate.", *_V4_EVENTS))
    )


def _is_sent_by_the_interpreter(descriptor: str) -> bool:
    """Whether an event of the interpreter can match a descriptor, or a wildcard."""
    if not is_wildcard(descriptor):
        return descriptor.startswith(_SENT)
    stem = descriptor.removesuffix("*")
    return any(stem.startswith(prefix) or prefix.startswith(stem) for prefix in _SENT)


def _check_delays(state: State, report: Report) -> None:
    after = state.config.get("after")
    if not isinstance(after, Mapping):
        return
    for key in after:
        milliseconds = delay_of_key(key)
        if milliseconds is None:
            continue
        problem = "milliseconds are 0 or more" if not key.strip() else delay_problem(milliseconds)
        if problem:
            path = f"{state.path}/after{pointer(key)}"
            report.error("delay_invalid", path, f"{key[:40]!r} is no delay: {problem}")


def delay_problem(delay: object) -> str:
    """What is wrong with a delay that is written as a number; ``""``: nothing, or it is no number."""
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        return ""
    if delay < 0:
        return "milliseconds are 0 or more"
    return f"at most {MAX_DELAY_MS} milliseconds can be waited" if delay > MAX_DELAY_MS else ""
