"""A definition, ready to make instances of: the checked machine with its schemas, effects and identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from durachart.definitions.build import compile_machine
from durachart.definitions.document import Document, parse_document
from durachart.definitions.effect_spec import EffectSpec, parse_effects
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.expression_types import scopes_of
from durachart.definitions.findings import Finding
from durachart.definitions.implementations import Plugins
from durachart.definitions.publish import SECTIONS, check_document, plugin_uses, unimplemented
from durachart.definitions.report import Report
from durachart.definitions.schemas import Schemas, parse_schemas
from durachart.definitions.states import read_states
from durachart.definitions.uses import read_uses
from durachart.engine import Machine

Source = str | bytes | Mapping[str, Any] | Document
"""JSON text, JSON data or a parsed document; each of them a definition document or a bare XState config."""


class PublishedPlugins(Plugins, Protocol):
    """Trusted implementations that take part in a definition's identity."""

    def digest_of(self, used: Iterable[tuple[str, str]]) -> str:
        """Another text whenever one of these implementations may behave differently.

        Args:
            used: Pairs of ``guard``, ``action`` or ``delay`` and a name.
        """


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a machine, checked.

    Attributes:
        machine_id: ``machine.id`` of the document.
        machine: The built machine.
        document: ``{"machine", "implementations"?, "schemas"?, "effects"?}`` in this order, empty sections
            left out, everything inside as written. Not to be written to.
        content_hash: Hex SHA-256 of ``canonical_json(document)``, and of the plug-ins' digest if the machine
            uses any.
        schemas: Its compiled schemas.
        effects: How each action type that is an effect is run.
        warnings: What is probably a mistake, in document order.
        event_types: Sorted external event types that ``on`` or the schemas name, without wildcards.
        description: Of the root state; ``""`` without one.
    """

    machine_id: str
    machine: Machine
    document: Mapping[str, Any]
    content_hash: str
    schemas: Schemas
    effects: Mapping[str, EffectSpec]
    warnings: tuple[Finding, ...]
    event_types: tuple[str, ...]
    description: str

    def start_input(self, given: Any) -> Any:
        """The input an instance starts with: what was given, an empty object when that is nothing (``None``).

        So an expression may ask ``has(input.customer)`` of every instance.
        """
        return {} if given is None else given


def canonical_json(document: Mapping[str, Any]) -> str:
    """The text that stands for a document: without white space, keys in the order written.

    Keys are not sorted, because their order is part of the meaning: it decides which state comes first and
    which region enters first.
    """
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def load_definition(
    source: Source,
    *,
    plugins: PublishedPlugins | None = None,
    handlers: frozenset[str] | None = None,
) -> Definition:
    """Check a definition for publishing.

    Args:
        source: The definition.
        plugins: Trusted implementations by name.
        handlers: Effect handlers this server runs itself; others are warned of. ``None`` warns of none.

    Raises:
        DefinitionInvalid: With all findings, warnings included.
    """
    document, machine_path = _normalised(source)
    checked = check_document(document, machine_path=machine_path, plugins=plugins, handlers=handlers)
    if checked.machine is None or not checked.is_valid:
        raise DefinitionInvalid(checked.findings)
    return _definition(document, checked.machine, checked.schemas, checked.effects, checked.findings, plugins)


def check_definition(
    source: Source,
    *,
    plugins: PublishedPlugins | None = None,
    handlers: frozenset[str] | None = None,
) -> list[Finding]:
    """Everything ``load_definition`` finds, in document order; empty for a definition without a flaw.

    Never raises for a bad definition. Arguments are those of ``load_definition``.
    """
    try:
        document, machine_path = _normalised(source)
    except DefinitionInvalid as invalid:
        return list(invalid.findings)
    checked = check_document(document, machine_path=machine_path, plugins=plugins, handlers=handlers)
    return list(checked.findings)


def load_published(source: Source, *, plugins: PublishedPlugins | None = None) -> Definition:
    """Load a definition that was published before; it has no warnings.

    The release that published it has checked it. A later one may check more, and must not lock anybody out
    of instances that exist: only what cannot run is refused.

    Args:
        source: The definition as stored.
        plugins: Trusted implementations by name.

    Raises:
        DefinitionInvalid: It cannot run here.
    """
    document, machine_path = _normalised(source)
    report = Report()
    schemas = parse_schemas(document.get("schemas"), report.findings)
    effects = parse_effects(document.get("effects"), report.findings)
    config = document["machine"]
    states = read_uses(read_states(config, machine_path, Report())) if isinstance(config, Mapping) else []
    machine, findings = compile_machine(
        config,
        document.get("implementations"),
        plugins=plugins,
        scopes=scopes_of(schemas, states),
        machine_path=machine_path,
    )
    if machine is None:
        raise DefinitionInvalid(findings)
    return _definition(document, machine, schemas, effects, (), plugins)


def missing_implementations(definition: Definition, plugins: PublishedPlugins | None) -> str:
    """Why a definition that was published with plug-ins is not the same with these; one sentence."""
    names = unimplemented(definition.document, plugins)
    if names:
        return f"no plug-in here has {', '.join(names)}; start the server with the one that does"
    return (
        "the plug-ins it uses are not here, or not in the version it was published with; "
        "start the server with that version, or publish the definition again for new instances"
    )


def _normalised(source: Source) -> tuple[dict[str, Any], str]:
    """The document as ``Definition.document`` describes it, and where its author wrote the machine."""
    if isinstance(source, str | bytes):
        source = parse_document(source)
    if isinstance(source, Document):
        sections, machine_path = source.sections, source.machine_path
    elif "machine" in source:
        sections, machine_path = source, "/machine"
    else:
        sections, machine_path = {"machine": source}, ""
    known = {name: sections[name] for name in SECTIONS if name in sections and sections[name] != {}}
    unknown = {name: content for name, content in sections.items() if name not in SECTIONS}
    return {"machine": sections["machine"], **known, **unknown}, machine_path


def _definition(
    document: Mapping[str, Any],
    machine: Machine,
    schemas: Schemas,
    effects: Mapping[str, EffectSpec],
    findings: Sequence[Finding],
    plugins: PublishedPlugins | None,
) -> Definition:
    digest = hashlib.sha256(canonical_json(document).encode())
    if plugins is not None and (used := plugin_uses(document, plugins)):
        digest.update(b"\n" + plugins.digest_of(used).encode())
    named = {name for name in machine.event_types if not name.startswith("xstate.")}
    return Definition(
        machine_id=machine.id,
        machine=machine,
        document=document,
        content_hash=digest.hexdigest(),
        schemas=schemas,
        effects=effects,
        warnings=tuple(finding for finding in findings if finding.severity == "warning"),
        event_types=tuple(sorted(named | set(schemas.events))),
        description=machine.root.description,
    )
