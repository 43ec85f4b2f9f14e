"""Definitions from files."""

from __future__ import annotations

from pathlib import Path

from durachart.definitions.build import build_machine
from durachart.definitions.document import Document, Format, parse_document
from durachart.definitions.implementations import Plugins
from durachart.engine.model import Machine

FORMATS: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
"""How a definition is written, by the file's suffix."""


def load_document(path: Path) -> Document:
    """Read a definition document; by its suffix it is YAML (``.yaml``, ``.yml``) or else JSON.

    Raises:
        DefinitionInvalid: See ``parse_document``.
        OSError: The file cannot be read.
    """
    return parse_document(path.read_bytes(), FORMATS.get(path.suffix.lower(), "json"))


def load_machine(path: Path, *, plugins: Plugins | None = None) -> Machine:
    """Read a definition and build its machine in the ``xstate`` profile.

    Raises:
        DefinitionInvalid: See ``parse_document`` and ``build_machine``.
        OSError: The file cannot be read.
    """
    document = load_document(path)
    return build_machine(
        document.machine,
        document.implementations,
        plugins=plugins,
        machine_path=document.machine_path,
    )
