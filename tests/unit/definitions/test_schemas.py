"""The ``schemas`` section: what validators promise, and what is refused before it is compiled (A5, A11)."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.definitions.findings import Finding
from durachart.definitions.schemas import MAX_VIOLATIONS, Schemas, Violation, parse_schemas

REF = {"$ref": "#/$defs/a"}


def parse(section: object) -> tuple[Schemas, list[Finding]]:
    findings: list[Finding] = []
    return parse_schemas(section, findings), findings


def codes(section: object) -> list[tuple[str, str]]:
    return [(finding.code, finding.path) for finding in parse(section)[1]]


def event_schema(schema: Any) -> Schemas:
    schemas, findings = parse({"events": {"E": schema}})
    assert findings == []
    return schemas


def test_payload_that_fits_has_no_violation() -> None:
    schemas = event_schema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert schemas.validate_event("E", {"n": 1}) == []


def test_violation_names_the_place_inside_the_payload() -> None:
    schemas = event_schema({"properties": {"items": {"items": {"properties": {"a/b": {"type": "integer"}}}}}})
    assert schemas.validate_event("E", {"items": [{}, {"a/b": "x"}]}) == [
        Violation("/items/1/a~1b", '"x" is not of type "integer"')
    ]


def test_event_without_schema_is_unrestricted() -> None:
    assert event_schema({"required": ["n"]}).validate_event("OTHER", {"anything": [1]}) == []
    assert Schemas().validate_event("E", {}) == []


def test_context_input_and_output_have_their_own_schemas() -> None:
    schemas, findings = parse(
        {"context": {"required": ["c"]}, "input": {"required": ["i"]}, "output": {"required": ["o"]}}
    )
    assert findings == []
    assert [v.message for v in schemas.validate_context({})] == ['"c" is a required property']
    assert [v.message for v in schemas.validate_input({})] == ['"i" is a required property']
    assert [v.message for v in schemas.validate_output({})] == ['"o" is a required property']
    assert (
        Schemas().validate_context({}) == Schemas().validate_input(None) == Schemas().validate_output(1) == []
    )


def test_formats_are_checked() -> None:
    schemas = event_schema({"properties": {"at": {"type": "string", "format": "date-time"}}})
    assert schemas.validate_event("E", {"at": "2025-03-01T10:00:00Z"}) == []
    assert [v.path for v in schemas.validate_event("E", {"at": "tomorrow"})] == ["/at"]


def test_boolean_schemas_allow_everything_or_nothing() -> None:
    assert event_schema(True).validate_event("E", {"x": 1}) == []
    assert len(event_schema(False).validate_event("E", {})) == 1


def test_violations_are_bounded_in_number_and_length() -> None:
    schemas = event_schema({"properties": {"l": {"items": {"type": "integer"}}, "s": {"type": "integer"}}})
    assert len(schemas.validate_event("E", {"l": ["x"] * 100})) == MAX_VIOLATIONS
    [violation] = schemas.validate_event("E", {"s": "y" * 10_000})
    assert len(violation.message) < 200
    assert violation.message.endswith('is not of type "integer"')


def test_large_wrong_payload_is_told_in_one_sentence() -> None:
    schemas = event_schema({"properties": {"l": {"items": {"type": "string"}}}})
    assert [v.path for v in schemas.validate_event("E", {"l": list(range(20_000))})] == [""]


def test_schema_that_doubles_with_depth_judges_shallow_payloads_and_refuses_deep_ones() -> None:
    twice = {
        "oneOf": [
            {"properties": {"x": REF}, "required": ["x"]},
            {"properties": {"x": REF}, "maxProperties": 0},
        ]
    }
    schemas = event_schema({**REF, "$defs": {"a": twice}})

    def nested(levels: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for _ in range(levels):
            value = {"x": value}
        return value

    assert schemas.validate_event("E", nested(8)) == []
    [violation] = schemas.validate_event("E", nested(60))
    assert "nested" in violation.message


def test_recursive_schema_accepts_trees() -> None:
    schemas = event_schema(
        {**REF, "$defs": {"a": {"properties": {"children": {"items": REF}, "n": {"type": "integer"}}}}}
    )
    assert schemas.validate_event("E", {"n": 1, "children": [{"n": 2, "children": [{"n": 3}]}]}) == []
    assert [v.path for v in schemas.validate_event("E", {"children": [{"n": "x"}]})] == ["/children/0/n"]


def test_older_dialects_are_read_as_they_say() -> None:
    schemas = event_schema(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {"p": {"items": [{"type": "string"}]}},
        }
    )
    assert [v.path for v in schemas.validate_event("E", {"p": [1]})] == ["/p/0"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ([], ("section_type", "/schemas")),
        ({"events": []}, ("section_type", "/schemas/events")),
        ({"event": {}}, ("unknown_key", "/schemas/event")),
        ({"context": 5}, ("schema_invalid", "/schemas/context")),
        ({"context": {"type": "strnig"}}, ("schema_invalid", "/schemas/context/type")),
        (
            {"context": {"properties": {"a": {"type": 1}}}},
            ("schema_invalid", "/schemas/context/properties/a/type"),
        ),
        ({"context": {"pattern": r"(a)\1"}}, ("schema_invalid", "/schemas/context/pattern")),
        ({"context": {"$schema": "http://example.com/mine"}}, ("schema_invalid", "/schemas/context")),
        ({"input": {"$ref": "http://example.com/x"}}, ("schema_ref_outside", "/schemas/input/$ref")),
        ({"input": {"$ref": "file:///etc/hostname"}}, ("schema_ref_outside", "/schemas/input/$ref")),
        ({"input": {"$ref": "#/$defs/a"}}, ("schema_ref_not_found", "/schemas/input/$ref")),
        ({"input": {"items": {"$ref": "#a"}}}, ("schema_ref_not_found", "/schemas/input/items/$ref")),
        ({"input": {"items": {"$id": "b"}}}, ("schema_ref_outside", "/schemas/input/items/$id")),
        ({"output": {**REF, "$defs": {"a": REF}}}, ("schema_ref_endless", "/schemas/output/$defs/a")),
        ({"events": {"a.*": {}}}, ("schema_event_wildcard", "/schemas/events/a.*")),
        ({"events": {"xstate.init": {}}}, ("event_type_reserved", "/schemas/events/xstate.init")),
        ({"events": {"E": {"required": ["type"]}}}, ("schema_event_type", "/schemas/events/E/required")),
    ],
)
def test_unusable_schema_is_a_finding_with_its_place(section: object, expected: tuple[str, str]) -> None:
    assert codes(section) == [expected]


def test_unknown_key_gets_a_suggestion() -> None:
    [finding] = parse({"evnets": {}})[1]
    assert finding.hint == "did you mean `events`?"


def test_schema_that_multiplies_through_references_is_refused() -> None:
    definitions = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(30)}
    definitions["a30"] = {"type": "string"}
    [(code, path)] = codes({"context": {"$ref": "#/$defs/a0", "$defs": definitions}})
    assert code == "schema_too_large"
    assert path.startswith("/schemas/context/$defs/")


def test_schema_with_too_many_parts_is_refused() -> None:
    assert codes({"context": {"properties": {f"k{i}": {} for i in range(20_001)}}}) == [
        ("schema_too_large", "/schemas/context")
    ]


def test_every_problem_is_reported_and_the_rest_is_usable() -> None:
    schemas, findings = parse(
        {"context": {"type": 1}, "events": {"A": {"type": 2}, "B": {"required": ["x"]}}}
    )
    assert [finding.path for finding in findings] == ["/schemas/context/type", "/schemas/events/A/type"]
    assert list(schemas.events) == ["B"]


def test_references_by_anchor_and_escaped_pointer_are_followed() -> None:
    schemas = event_schema(
        {
            "properties": {"a": {"$ref": "#named"}, "b": {"$ref": "#/$defs/x~1y%20z"}},
            "$defs": {"n": {"$anchor": "named", "type": "string"}, "x/y z": {"type": "integer"}},
        }
    )
    assert [v.path for v in schemas.validate_event("E", {"a": 1, "b": "x"})] == ["/a", "/b"]


def test_schema_nested_beyond_the_validator_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(2_000):
        schema = {"items": schema}
    [(code, path)] = codes({"context": schema})
    assert (code, path) == ("schema_invalid", "/schemas/context")
