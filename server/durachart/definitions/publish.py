"""The publish profile: everything a definition must satisfy before instances may be made of it.

Building (``build``) refuses what XState refuses. On top of that come the checks of this package's other
modules, each of which reads the document or the built machine and adds to one report: all problems are told
at once, in document order. ``codes`` lists every code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from durachart.definitions.build import compile_machine
from durachart.definitions.effect_spec import EffectSpec, parse_effects
from durachart.definitions.expression_types import check_types, scopes_of
from durachart.definitions.findings import Finding
from durachart.definitions.implementations import MAX_TOO_LARGE, Plugins, within_expression_limit
from durachart.definitions.lint import check_derived_data, check_trivial, check_write_frequency
from durachart.definitions.names import check_integers, check_machine_id, check_names
from durachart.definitions.references import References
from durachart.definitions.report import MAX_FINDINGS, Report
from durachart.definitions.schemas import Schemas, parse_schemas
from durachart.definitions.shapes import check_shapes
from durachart.definitions.states import read_states, within_limits
from durachart.definitions.topology import check_topology
from durachart.definitions.trial import check_start
from durachart.definitions.uses import State, read_uses
from durachart.engine import Machine

SECTIONS: Final = ("machine", "implementations", "schemas", "effects")
_LIMITS: Final = frozenset({"id_too_long", "schema_too_large"})
"""Findings after which looking further could take as long as for a definition that is not over a limit."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a document was found to be.

    Attributes:
        machine: The built machine; ``None`` when it cannot be built.
        schemas: The schemas that could be compiled.
        effects: The effects that could be read, by action type.
        findings: Everything found, in document order; at most ``MAX_FINDINGS``.
    """

    machine: Machine | None
    schemas: Schemas
    effects: Mapping[str, EffectSpec]
    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Whether no finding refuses the definition."""
        return self.machine is not None and all(finding.severity != "error" for finding in self.findings)


def check_document(
    document: Mapping[str, Any],
    *,
    machine_path: str = "/machine",
    plugins: Plugins | None = None,
    handlers: frozenset[str] | None = None,
) -> Checked:
    """Check a definition document as the service does before it publishes it.

    Args:
        document: ``{"machine", "implementations"?, "schemas"?, "effects"?}``.
        machine_path: Where the machine stands in the document as its author wrote it: ``""`` for a bare
            config.
        plugins: Trusted implementations by name.
        handlers: Effect handlers this server runs itself; others are warned of. ``None`` warns of none.

    Returns:
        What it is; never raises for a bad document.
    """
    report = Report()
    _check_sections(document, report)
    config = document.get("machine", {})
    implementations = document.get("implementations", {})
    reading = Report()
    if not (
        within_expression_limit(implementations, "/implementations", reading)
        and within_limits(config, machine_path, reading)
    ):
        return Checked(None, Schemas(), {}, tuple(reading.findings))
    schemas = parse_schemas(document.get("schemas"), report.findings)
    if _over_a_limit(report.findings):
        return Checked(None, schemas, {}, _merged(document, machine_path, (), report.findings))
    sources = read_states(config, machine_path, reading) if isinstance(config, Mapping) else []
    if _over_a_limit(reading.findings):
        return Checked(None, schemas, {}, _merged(document, machine_path, reading.findings, report.findings))
    effects = parse_effects(document.get("effects"), report.findings, handlers=handlers)
    states = read_uses(sources)
    machine, built = compile_machine(
        config,
        implementations,
        plugins=plugins,
        scopes=scopes_of(schemas, states),
        machine_path=machine_path,
        sources=sources,
    )
    if sum(finding.code == "expression_too_large" for finding in built) >= MAX_TOO_LARGE:
        return Checked(
            None, schemas, effects, _merged(document, machine_path, [*reading.findings, *built], ())
        )
    if reading.failed:
        machine = None
    sections = implementations if isinstance(implementations, Mapping) else {}
    if states:
        check_machine_id(config, machine_path, report)
        check_integers(config, machine_path, report)
        _check_written(states, sections, effects, document, plugins, schemas, report)
    if machine is not None:
        _check_built(machine, states, sections, report)
        if not any(finding.severity == "error" for finding in report.findings):
            needs_input = bool(machine.context_entries) and _may_read_input(sections, plugins)
            check_start(machine, schemas, machine_path, "/schemas", report, needs_input=needs_input)
    findings = _merged(document, machine_path, [*reading.findings, *built], report.findings)
    return Checked(machine, schemas, effects, findings)


def _over_a_limit(findings: Iterable[Finding]) -> bool:
    return any(finding.code in _LIMITS for finding in findings)


def _may_read_input(implementations: Mapping[str, Any], plugins: Plugins | None) -> bool:
    """Whether anything could ask for the input: its name stands somewhere, or there are plug-ins."""
    if plugins is not None and (plugins.guards or plugins.actions or plugins.delays):
        return True
    return "input" in json.dumps(implementations)


def plugin_uses(document: Mapping[str, Any], plugins: Plugins) -> frozenset[tuple[str, str]]:
    """What the machine names that is not in the document but in a plug-in: pairs of kind and name."""
    if not (plugins.guards or plugins.actions or plugins.delays):
        return frozenset()
    return _references(document, plugins).find_plugin_uses()


def unimplemented(document: Mapping[str, Any], plugins: Plugins | None) -> list[str]:
    """The guards, actions and delays that nobody implements, as words for a message.

    Of these an action alone may be published: nobody runs it then.
    """
    return _references(document, plugins).find_unimplemented()


def _references(document: Mapping[str, Any], plugins: Plugins | None) -> References:
    config = document.get("machine")
    effects = document.get("effects")
    implementations = document.get("implementations")
    return References(
        read_uses(read_states(config, "", Report())) if isinstance(config, Mapping) else [],
        implementations if isinstance(implementations, Mapping) else {},
        "",
        parse_effects(effects, []) if isinstance(effects, Mapping) else {},
        "",
        plugins,
        Report(),
    )


def _check_sections(document: Mapping[str, Any], report: Report) -> None:
    for key in document:
        if key not in SECTIONS:
            hint = report.suggest(key, SECTIONS) or f"a definition has {', '.join(SECTIONS)}"
            report.error("unknown_key", f"/{key}", f"a definition has no section {key!r}", hint)


def _check_written(
    states: Sequence[State],
    implementations: Mapping[str, Any],
    effects: Mapping[str, EffectSpec],
    document: Mapping[str, Any],
    plugins: Plugins | None,
    schemas: Schemas,
    report: Report,
) -> None:
    """The checks of what is written, which need no machine."""
    path = "/implementations"
    actions = implementations.get("actions")
    named = set(actions) if isinstance(actions, Mapping) else set()
    named.update(document["effects"] if isinstance(document.get("effects"), Mapping) else ())
    named.update(() if plugins is None else plugins.actions)
    check_shapes(states, frozenset(named), report)
    check_names(states, report)
    References(states, implementations, path, effects, "/effects", plugins, report).check()
    check_types(states, implementations, path, schemas, report)
    if isinstance(actions, Mapping):
        check_derived_data(states, actions, path + "/actions", report)


def _check_built(
    machine: Machine, states: Sequence[State], implementations: Mapping[str, Any], report: Report
) -> None:
    check_topology(states, report)
    check_trivial(states, report)
    delays = implementations.get("delays")
    check_write_frequency(states, delays if isinstance(delays, Mapping) else {}, report)


def _merged(
    document: Mapping[str, Any], machine_path: str, built: Iterable[Finding], checked: Iterable[Finding]
) -> tuple[Finding, ...]:
    """All findings in document order, one error for each place that building could not read."""
    findings = list(built)
    broken = {finding.path for finding in findings if finding.severity == "error"}
    findings += [
        finding for finding in checked if finding.severity == "warning" or finding.path not in broken
    ]
    whole = document if machine_path else document.get("machine", {})
    order = _DocumentOrder(whole)
    # Every problem once, in document order; of equal places errors first.
    unique = list(dict.fromkeys(findings))
    unique.sort(key=lambda finding: (order.position(finding.path), finding.severity != "error"))
    if len(unique) > MAX_FINDINGS:
        errors = [finding for finding in unique if finding.severity == "error"]
        warnings = [finding for finding in unique if finding.severity == "warning"]
        unique = (errors + warnings)[:MAX_FINDINGS]
    return tuple(unique)


class _DocumentOrder:
    """Where a JSON pointer leads, as numbers that compare in document order."""

    def __init__(self, document: object) -> None:
        self._document = document
        self._indexes: dict[int, dict[str, int]] = {}

    def position(self, path: str) -> tuple[int, ...]:
        """The index of each step; a step that does not exist ends the path."""
        found: list[int] = []
        value: object = self._document
        for token in path.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping) and key in value:
                found.append(self._index_of(value, key))
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                found.append(int(key))
                value = value[int(key)]
            else:
                break
        return tuple(found)

    def _index_of(self, value: Mapping[str, Any], key: str) -> int:
        indexes = self._indexes.get(id(value))
        if indexes is None:
            indexes = self._indexes[id(value)] = {name: index for index, name in enumerate(value)}
        return indexes[key]
