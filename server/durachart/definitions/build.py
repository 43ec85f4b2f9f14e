"""From a machine config and its implementations to the engine's model, in the ``xstate`` profile.

Everything XState accepts and Durachart can run is built; what XState refuses is refused here, with every
problem at once. ``invoke`` becomes effects, missing implementations are allowed. What else a published
definition must satisfy is checked on top of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.definitions.implementations import (
    UNTYPED,
    Implementations,
    Plugins,
    Scopes,
    within_expression_limit,
)
from durachart.definitions.report import Report
from durachart.definitions.states import StateSource, kind_of, pointer_below, read_states
from durachart.definitions.targets import Targets
from durachart.definitions.transitions import TransitionReader
from durachart.engine.model import Machine, StateNode

MAX_DEFAULT_ENTRY = 200
"""How many states may follow from one another by default, history nodes included, when one is entered."""


def build_machine(
    machine_config: object,
    implementations: object = None,
    *,
    plugins: Plugins | None = None,
    scopes: Scopes = UNTYPED,
    machine_path: str = "/machine",
    implementations_path: str = "/implementations",
) -> Machine:
    """Build a machine.

    Args:
        machine_config: An XState v5 machine config, as JSON data.
        implementations: The named implementations, as JSON data; ``None``: there are none.
        plugins: Trusted implementations by name, where the document has none.
        scopes: What expressions may refer to, and their types.
        machine_path: JSON pointer to the config in its document, for findings.
        implementations_path: The same for the implementations.

    Raises:
        DefinitionInvalid: With every problem found.
    """
    machine, findings = compile_machine(
        machine_config,
        implementations,
        plugins=plugins,
        scopes=scopes,
        machine_path=machine_path,
        implementations_path=implementations_path,
    )
    if machine is None:
        raise DefinitionInvalid(findings)
    return machine


def compile_machine(
    machine_config: object,
    implementations: object = None,
    *,
    plugins: Plugins | None = None,
    scopes: Scopes = UNTYPED,
    machine_path: str = "/machine",
    implementations_path: str = "/implementations",
    sources: Sequence[StateSource] | None = None,
) -> tuple[Machine | None, list[Finding]]:
    """Build a machine if possible, and say everything that is wrong or doubtful about it.

    Arguments are those of ``build_machine``. ``sources`` are the states, if ``read_states`` has read them
    before; what it reported is then not repeated.

    Returns:
        The machine, ``None`` if a finding is an error; the findings in the order found.
    """
    report = Report()
    if implementations is None:
        implementations = {}
    if not isinstance(machine_config, Mapping):
        report.error(
            "machine_not_object", machine_path, f"a machine is an object, not {kind_of(machine_config)}"
        )
    if not isinstance(implementations, Mapping):
        report.error(
            "implementation_malformed",
            implementations_path,
            f"implementations are an object, not {kind_of(implementations)}",
        )
    if not isinstance(machine_config, Mapping) or not isinstance(implementations, Mapping):
        return None, report.findings
    if not within_expression_limit(implementations, implementations_path, report):
        return None, report.findings
    if sources is None:
        sources = read_states(machine_config, machine_path, report)
    if not sources:
        return None, report.findings
    targets = Targets({source.node.id: source.node for source in sources}, report)
    named = Implementations(implementations, implementations_path, report, plugins, scopes)
    named.compile_all(targets)
    reader = TransitionReader(targets, named, report)
    for source in sources:
        reader.read(source)
    context = _context(machine_config, machine_path, report)
    entries = named.context_entries()
    if not report.failed:
        _check_default_entry(sources, report)
    if report.failed:
        return None, report.findings
    machine = Machine(
        [source.node for source in sources],
        context=context,
        context_entries=entries,
        event_types=reader.event_types,
        make_budget=named.make_budget,
    )
    return machine, report.findings


def _context(config: Mapping[str, Any], path: str, report: Report) -> dict[str, Any]:
    context = config.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        report.error(
            "context_not_object",
            pointer_below(path, "context"),
            f"the context must be an object, not {kind_of(context)}",
        )
        return {}
    return context


def _check_default_entry(sources: Iterable[StateSource], report: Report) -> None:
    """Report history nodes that lead back to themselves, or chains of defaults too long to follow.

    Only a history node can lead elsewhere than down, so a circle holds one. What it remembers counts as well:
    then it leads to its parent's children.
    """
    depth: dict[_Entry, int] = {}
    paths = {source.node: source.path for source in sources}
    for start in paths:
        open_entries: list[tuple[_Entry, bool]] = [((start, False), False)]
        entered: set[_Entry] = set()
        while open_entries:
            entry, followed = open_entries.pop()
            node = entry[0]
            if followed:
                entered.discard(entry)
                depth[entry] = 1 + max((depth.get(following, 0) for following in _defaults(entry)), default=0)
                if depth[entry] > MAX_DEFAULT_ENTRY:
                    depth[entry] = 0
                    report.error(
                        "default_entry_too_long",
                        paths[node],
                        f"more than {MAX_DEFAULT_ENTRY} states follow from one another by default",
                    )
            elif entry in entered:
                report.error(
                    "default_entry_circular",
                    paths[node],
                    f"entering state {node.id!r} leads back to it for ever",
                    "give the history state a `target` that is not on its own way in",
                )
                return
            elif entry not in depth:
                entered.add(entry)
                open_entries.append((entry, True))
                open_entries.extend((following, False) for following in _defaults(entry))


_Entry = tuple[StateNode, bool]
"""Entering a state, or (true) any of its children."""


def _defaults(entry: _Entry) -> list[_Entry]:
    """What may follow when a state is entered without further direction."""
    node, any_child = entry
    if any_child or node.type == "parallel":
        return [(region, False) for region in node.regions]
    if node.type == "compound":
        return [] if node.initial is None else [(node.initial, False)]
    if node.type != "history" or node.parent is None:
        return []
    following: list[_Entry] = [(node.parent, True)]
    if node.default_targets is not None:
        following.extend((target, False) for target in node.default_targets)
    elif node.parent.initial is not None:
        following.append((node.parent.initial, False))
    return following
