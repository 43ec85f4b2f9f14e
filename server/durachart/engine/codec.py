"""Snapshots as JSON data, for storing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durachart.engine.configuration import Configuration
from durachart.engine.errors import SnapshotInvalid
from durachart.engine.model import Machine, StateNode, get_proper_ancestors
from durachart.engine.snapshot import MISSING, Snapshot, Timer

FORMAT = 1
"""Version of the JSON form below."""


def snapshot_to_json(machine: Machine, snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON data, for storing.

    Args:
        machine: The definition it belongs to.
        snapshot: Any snapshot of it.

    Returns:
        An object with ``format``. States appear by id: of the configuration its leaves, in document order.
        Optional keys (``output``, ``error``) are absent when there is nothing to say. Values are shared
        with the snapshot.
    """
    configuration = snapshot.configuration
    inner = {node.parent for node in configuration.nodes} if configuration.is_regular else ()
    data: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine.id,
        "configuration": [node.id for node in configuration.nodes if node not in inner],
        "context": snapshot.context,
        "history": {name: [node.id for node in nodes] for name, nodes in snapshot.history_value.items()},
        "status": snapshot.status,
        "timers": [
            {
                "id": timer.id,
                "event": timer.event,
                "delay_ms": timer.delay_ms,
                "due_at_ms": timer.due_at_ms,
                "sequence": timer.sequence,
                "owner": timer.owner,
            }
            for timer in snapshot.timers
        ],
        "next_sequence": snapshot.next_sequence,
    }
    if not configuration.is_regular:
        data["irregular"] = True
    if snapshot.output is not MISSING:
        data["output"] = snapshot.output
    if snapshot.error is not None:
        data["error"] = snapshot.error
    return data


def snapshot_from_json(machine: Machine, data: Mapping[str, Any]) -> Snapshot:
    """The snapshot that ``snapshot_to_json`` wrote.

    Args:
        machine: The definition it belongs to.
        data: What was stored; values are shared with the snapshot.

    Raises:
        SnapshotInvalid: Another format, or states that this machine does not have or that cannot be active
            together.
    """
    found = data.get("format")
    if found != FORMAT:
        raise SnapshotInvalid(f"snapshot format {found!r} is unknown; this version reads format {FORMAT}")
    try:
        stored = [machine.by_id[name] for name in data["configuration"]]
        history = {
            machine.by_id[name].id: tuple(machine.by_id[recorded] for recorded in names)
            for name, names in data["history"].items()
        }
        timers = tuple(
            Timer(timer["id"] if timer["id"] is not None else f"#{timer['sequence']}", **timer)
            for timer in data["timers"]
        )
        return Snapshot(
            _configuration_of(machine, stored, is_whole=data.get("irregular", False)),
            data["context"],
            history,
            data["status"],
            data.get("output", MISSING),
            timers,
            data.get("error"),
            data["next_sequence"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SnapshotInvalid(
            f"the data is no snapshot of machine {machine.id!r}: {type(error).__name__} {error}"
        ) from error


def _configuration_of(machine: Machine, stored: Sequence[StateNode], *, is_whole: bool) -> Configuration:
    active = set(stored)
    if not is_whole:
        active.update([ancestor for leaf in stored for ancestor in get_proper_ancestors(leaf)])
    configuration = machine.configurations.intern(tuple(sorted(active, key=lambda node: node.index)))
    if not (is_whole or configuration.is_regular) or any(node.type == "history" for node in active):
        names = ", ".join(repr(node.id) for node in stored)
        raise SnapshotInvalid(f"these states of machine {machine.id!r} cannot be active together: {names}")
    return configuration
