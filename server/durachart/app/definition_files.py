"""Definitions on disk: which files they are, and their JSON text as it is published."""

from __future__ import annotations

from pathlib import Path

from durachart.definitions.definition import canonical_json
from durachart.definitions.document import parse_document
from durachart.definitions.loader import FORMATS

FILE_NAMES = ("machine.yaml", "machine.yml", "machine.json")


class DefinitionAmbiguous(Exception):
    """A machine's directory holds more than one definition; the text names them."""


def definition_in(directory: Path) -> Path | None:
    """The definition in a machine's directory; None when it has none.

    Raises:
        DefinitionAmbiguous: It has several.
    """
    found = [directory / name for name in FILE_NAMES if (directory / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DefinitionAmbiguous(f"{directory} holds {names}: keep one of them")
    return found[0] if found else None


def definitions_below(directory: Path) -> list[Path]:
    """The definitions of all machines in ``directory``, by name.

    Raises:
        DefinitionAmbiguous: A machine has several.
        OSError: The directory cannot be read.
    """
    inner = sorted(path for path in directory.iterdir() if path.is_dir())
    return [path for path in map(definition_in, inner) if path is not None]


def definition_text(path: Path) -> str:
    """The JSON text of a definition: JSON as it is written, YAML translated with its keys in order.

    Raises:
        DefinitionInvalid: YAML that cannot be read. JSON is left for whoever receives it to judge.
        OSError: The file cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    if FORMATS.get(path.suffix.lower(), "json") == "json":
        return path.read_text(encoding="utf-8-sig")
    document = parse_document(path.read_bytes(), "yaml")
    # A bare config stays bare, so that findings point into what was written.
    return canonical_json(document.sections if document.machine_path else document.machine)
