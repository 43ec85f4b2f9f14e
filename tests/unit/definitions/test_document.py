"""Definition documents: JSON and YAML text to data."""

import json

import pytest

from durachart.definitions.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_YAML_BYTES,
    parse_data,
    parse_document,
)
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.loader import load_document, load_machine


def refused(text, written_in="json"):
    with pytest.raises(DefinitionInvalid) as caught:
        parse_document(text, written_in)
    return caught.value.findings


def test_a_document_has_its_machine_under_machine():
    document = parse_document('{"machine": {"id": "m"}, "implementations": {"guards": {}}, "schemas": {}}')
    assert (document.machine, document.machine_path) == ({"id": "m"}, "/machine")
    assert document.implementations == {"guards": {}}


def test_a_bare_machine_config_is_a_document_too():
    document = parse_document(b'\xef\xbb\xbf{"id": "m"}')
    assert (document.machine, document.machine_path, document.implementations) == ({"id": "m"}, "", {})


def test_keys_keep_their_order():
    assert list(parse_data('{"b": 1, "a": 2, "c": 3}')) == ["b", "a", "c"]
    assert list(parse_data("b: 1\na: 2\nc: 3", "yaml")) == ["b", "a", "c"]


def test_a_repeated_key_is_refused_with_its_place():
    findings = refused(
        '{"machine": {"states": [{"a": {}, "b": 1, "a": 2}]}, "machine": {"x": {"y": 1, "y": 1}}}'
    )
    assert [(finding.code, finding.path) for finding in findings] == [
        ("key_repeated", "/machine"),
        ("key_repeated", "/machine/x/y"),
    ]
    (finding,) = refused("machine:\n  a: 1\n  a: 2", "yaml")
    assert finding.code == "key_repeated"
    assert "line 3, column 3" in finding.message


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('{"a": ', "json_malformed", "line 1, column 7"),
        ("[1]", "document_not_object", "an array"),
        ("7", "document_not_object", "a number"),
        ('{"a": 1e999}', "number_too_large", "1e999"),
        ('{"a": NaN}', "number_too_large", "NaN"),
        ('{"a": ' + "9" * 5_000 + "}", "number_too_large", "digits"),
        ('{"a": "\\ud800"}', "text_broken", "half a character"),
        (b'{"a": "\xff"}', "text_broken", "byte 7"),
        ('{"a": "\ud800"}', "text_broken", "offset 7"),
        ("[" * 100_000, "nested_too_deeply", str(MAX_DEPTH)),
        ('{"a":' * 300 + "1" + "}" * 300, "nested_too_deeply", str(MAX_DEPTH)),
        (" " * (MAX_BYTES + 1), "document_too_large", "10,485,761"),
        (b" " * (MAX_BYTES + 1), "document_too_large", "10,485,761"),
    ],
)
def test_json_that_cannot_be_read_is_refused(text, code, message):
    (finding,) = refused(text)
    assert finding.code == code
    assert message in finding.message


def test_a_surrogate_pair_is_one_character():
    assert parse_data('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_yaml_is_read_by_its_core_schema():
    text = """
      on: {E: b}
      yes: no
      off: ~
      empty:
      after: {1000: a, 0x10: 0x10}
      numbers: [1, -2, 0o17, 1.5, 1e3, .5, 007, 1_000, 12:30:00, 2024-01-01]
      booleans: [true, False, TRUE, y]
      quoted: ["1", 'true', !!str 5]
      text: |
        two
        lines
    """
    assert parse_data(text, "yaml") == {
        "on": {"E": "b"},
        "yes": "no",
        "off": None,
        "empty": None,
        "after": {"1000": "a", "0x10": 16},
        "numbers": [1, -2, 15, 1.5, 1000.0, 0.5, 7, "1_000", "12:30:00", "2024-01-01"],
        "booleans": [True, False, True, "y"],
        "quoted": ["1", "true", "5"],
        "text": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x {k: 1}\nb: *x", "yaml_alias"),
        ("a: !!python/object:os.system x", "yaml_tag"),
        ("a: !!set {x}", "yaml_tag"),
        ("a: 1\n---\nb: 2", "document_count"),
        ("", "document_count"),
        ("? [a]\n: 1", "yaml_key"),
        ("a: 1e999", "number_too_large"),
        ("a: [1", "yaml_malformed"),
        ("a: \x00", "yaml_malformed"),
        ("[" * 300 + "]" * 300, "nested_too_deeply"),
        ("#" * (MAX_YAML_BYTES + 1), "document_too_large"),
        ("- a", "document_not_object"),
    ],
)
def test_yaml_that_cannot_be_read_is_refused(text, code):
    (finding,) = refused(text, "yaml")
    assert finding.code == code


def test_a_file_is_read_by_its_suffix(tmp_path):
    config = {"id": "m", "initial": "a", "states": {"a": {}}}
    (tmp_path / "m.json").write_text(json.dumps(config))
    (tmp_path / "m.yaml").write_text("id: m\ninitial: a\nstates: {a: {}}")
    assert load_document(tmp_path / "m.json") == load_document(tmp_path / "m.yaml")
    assert load_machine(tmp_path / "m.yaml").id == "m"
    with pytest.raises(FileNotFoundError):
        load_document(tmp_path / "none.json")
