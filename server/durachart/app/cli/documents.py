"""Definitions and event scripts as they are named on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durachart.app.cli.arguments import read_text
from durachart.app.cli.exits import ExitCode, Failure
from durachart.app.definition_files import (
    DefinitionAmbiguous,
    definition_in,
    definition_text,
    definitions_below,
)
from durachart.definitions.definition import load_published
from durachart.definitions.document import parse_data
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.definitions.loader import FORMATS
from durachart.engine import Machine
from durachart.plugins.collection import PluginCollection
from durachart.plugins.errors import PluginsUnusable


@dataclass(frozen=True, slots=True)
class LoadedMachine:
    """A machine to simulate.

    Attributes:
        machine: What to run.
        guards: The definition's guards by name, as written.
        no_input: The input of an instance that is given none.
    """

    machine: Machine
    guards: Mapping[str, Any]
    no_input: Any


def find_definition(source: str) -> Path:
    """The definition that ``source`` names: a file, a directory with one, a machine in ``./machines``.

    Raises:
        Failure: There is none.
    """
    path = Path(source)
    if path.is_file():
        return path
    try:
        for directory in (path, Path("machines", source)):
            found = definition_in(directory)
            if found is not None:
                return found
    except DefinitionAmbiguous as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    raise Failure(
        ExitCode.NOT_FOUND,
        f"there is no definition {source!r}: name a file, a directory that holds machine.yaml, "
        "or a machine in ./machines",
    )


def find_definitions(source: str) -> list[Path]:
    """The definitions that ``source`` names: as ``find_definition``, or all in a directory of machines.

    Raises:
        Failure: There is none.
    """
    path = Path(source)
    try:
        if path.is_dir() and definition_in(path) is None and (inner := definitions_below(path)):
            return inner
    except DefinitionAmbiguous as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    except OSError as error:
        raise Failure(
            ExitCode.USAGE, f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from error
    return [find_definition(source)]


def text_to_publish(path: Path) -> str:
    """The JSON text of the definition in ``path``.

    Raises:
        Failure: It cannot be read.
    """
    try:
        return definition_text(path)
    except DefinitionInvalid as error:
        raise invalid_definition(path, error.findings) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Failure(ExitCode.USAGE, f"cannot read {path}: {why}") from error
    except UnicodeDecodeError as error:
        raise Failure(ExitCode.INVALID, f"cannot read {path}: it is not UTF-8 text") from error


def load_machine(path: Path, plugins: PluginCollection | None = None) -> LoadedMachine:
    """Read a definition as XState would: what cannot run is refused, the rest of publishing not asked for.

    Args:
        path: The definition.
        plugins: Trusted implementations by name; None: there are none.

    Raises:
        Failure: It cannot be read or run.
    """
    text = text_to_publish(path)
    try:
        definition = load_published(text, plugins=plugins)
    except DefinitionInvalid as error:
        raise invalid_definition(path, error.findings) from error
    implementations = definition.document.get("implementations", {})
    guards = implementations.get("guards", {}) if isinstance(implementations, Mapping) else {}
    return LoadedMachine(definition.machine, guards, definition.start_input(None))


def use_plugins(modules: Sequence[str]) -> PluginCollection:
    """The plug-ins of these modules and of installed packages.

    Raises:
        Failure: They cannot be used.
    """
    from durachart.plugins.loading import load_plugins

    try:
        return load_plugins(modules)
    except PluginsUnusable as error:
        raise Failure(ExitCode.UNEXPECTED, str(error)) from error


def invalid_definition(path: Path | str, findings: Iterable[Finding]) -> Failure:
    """The failure that lists what is wrong with a definition."""
    errors = [finding for finding in findings if finding.severity == "error"]
    count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
    listed = "".join(f"\n  {finding}" for finding in errors)
    return Failure(
        ExitCode.INVALID,
        f"the definition {path} has {count}:{listed}",
        data={"findings": [_finding_data(finding) for finding in errors]},
    )


def _finding_data(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "path": finding.path,
        "message": finding.message,
        "hint": finding.hint,
        "severity": finding.severity,
    }


def read_events(source: str) -> list[Mapping[str, Any]]:
    """The items of an event script: a JSON or YAML list, or JSON lines.

    A string stands for an event of that type.

    Args:
        source: A file, or ``-`` for standard input.

    Raises:
        Failure: It cannot be read, or an item is neither an event nor ``{"$advance_ms": N}``.
    """
    text = sys.stdin.read() if source == "-" else read_text(Path(source))
    items = _items(text, source)
    return [_item(number, item, source) for number, item in enumerate(items, start=1)]


def input_name(source: str) -> str:
    """``source`` as a sentence calls it: a file, or ``-``."""
    return "standard input" if source == "-" else source


def _items(text: str, source: str) -> list[Any]:
    form = FORMATS.get(Path(source).suffix.lower())
    try:
        data = parse_data(text, form or "json")
    except DefinitionInvalid as error:
        lines = _json_lines(text)
        if lines is not None:
            return lines
        listed = _yaml_list(text) if form is None else None
        if listed is None:
            wanted = "" if form else "neither JSON, JSON lines nor a YAML list; as JSON: "
            sentence = f"{input_name(source)}: {wanted}{error.findings[0].message}"
            raise Failure(ExitCode.INVALID, sentence) from error
        return listed
    return data if isinstance(data, list) else [data]


def _yaml_list(text: str) -> list[Any] | None:
    """What a name does not tell apart; nearly any text is YAML of some kind, but hardly a list."""
    try:
        data = parse_data(text, "yaml")
    except DefinitionInvalid:
        return None
    return data if isinstance(data, list) else None


def _json_lines(text: str) -> list[Any] | None:
    """One JSON value a line; None when some line is not."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError:
        return None


def _item(number: int, item: Any, source: str) -> Mapping[str, Any]:
    if isinstance(item, str):
        return {"type": item}
    if isinstance(item, dict) and (isinstance(item.get("type"), str) or "$advance_ms" in item):
        return item
    raise Failure(
        ExitCode.INVALID,
        f'item {number} of {input_name(source)} is neither an event with a `type` nor {{"$advance_ms": N}}',
    )
