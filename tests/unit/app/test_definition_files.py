"""Definitions are found by their place and read with their keys in order."""

import json
from pathlib import Path

import pytest

from durachart.app.definition_files import (
    DefinitionAmbiguous,
    definition_in,
    definition_text,
    definitions_below,
)
from durachart.definitions.errors import DefinitionInvalid


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_each_machine_has_a_directory(tmp_path: Path) -> None:
    b = write(tmp_path / "b" / "machine.json", "{}")
    a = write(tmp_path / "a" / "machine.yml", "x: 1")
    write(tmp_path / "c" / "README.md", "no machine")
    write(tmp_path / "machine.json", "{}")
    assert definitions_below(tmp_path) == [a, b]
    assert definition_in(tmp_path / "c") is None


def test_two_definitions_in_one_directory_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "machine.yaml", "x: 1")
    write(tmp_path / "machine.json", "{}")
    with pytest.raises(DefinitionAmbiguous, match=r"machine\.yaml and machine\.json: keep one"):
        definition_in(tmp_path)


def test_json_is_published_as_it_is_written(tmp_path: Path) -> None:
    text = '{ "machine":  {"id": "m"} , "oops": 1}'
    assert definition_text(write(tmp_path / "machine.json", "\ufeff" + text)) == text


def test_yaml_becomes_json_with_its_keys_in_order(tmp_path: Path) -> None:
    yaml = "machine:\n  id: m\n  states:\n    z: {on: {GO: a}}\n    a: {}\n  initial: z\nunknown: 1\n"
    text = definition_text(write(tmp_path / "machine.yaml", yaml))
    document = json.loads(text)
    assert list(document) == ["machine", "unknown"]
    assert list(document["machine"]["states"]) == ["z", "a"]
    assert document["machine"]["states"]["z"] == {"on": {"GO": "a"}}, "on is a key, not true"


def test_a_bare_yaml_config_stays_bare(tmp_path: Path) -> None:
    assert json.loads(definition_text(write(tmp_path / "machine.yaml", "id: m\n"))) == {"id": "m"}


def test_broken_yaml_has_findings(tmp_path: Path) -> None:
    with pytest.raises(DefinitionInvalid):
        definition_text(write(tmp_path / "machine.yaml", "a: [\n"))
