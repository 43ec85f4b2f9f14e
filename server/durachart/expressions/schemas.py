"""JSON Schemas as static types.

Read: ``type`` (one name, or a list with "null"), ``properties``, ``additionalProperties``, ``items``,
``enum`` and ``const``. Whatever else says what a value is (``$ref``, ``oneOf``, ``anyOf``, ``allOf``,
``if``, ``patternProperties``, tuples) makes that value ``dyn``: checked when the expression runs. A
``format`` changes nothing: a date-time is a string, for ``timestamp()`` to convert.

An object that lists its ``properties`` is closed to expressions unless ``additionalProperties`` is
given and not false: a field it does not declare is far more often a slip than an intention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from durachart.expressions.types import Type, join

#: Levels of nesting read from a schema; below them everything is ``dyn``.
MAX_SCHEMA_DEPTH: Final = 64

_SCALARS: Final = {
    "integer": Type.INT,
    "number": Type.DOUBLE,
    "string": Type.STRING,
    "boolean": Type.BOOL,
    "null": Type.NULL,
}
_BEYOND: Final = ("$ref", "$dynamicRef", "oneOf", "anyOf", "allOf", "if", "not", "dependentSchemas")


def type_of_schema(schema: object, depth: int = 0) -> Type:
    """The static type of the values ``schema`` allows.

    Args:
        schema: A JSON Schema: a mapping, or True or False. None, and what is no schema, is ``dyn``.
        depth: Levels above this schema.

    Source: JSON Schema 2020-12, validation vocabulary.
    """
    if not isinstance(schema, Mapping) or depth > MAX_SCHEMA_DEPTH:
        return Type.DYN
    if any(keyword in schema for keyword in _BEYOND):
        return Type.DYN
    if "const" in schema:
        return _type_of_value(schema["const"])
    if "enum" in schema and "type" not in schema:
        return _joined([_type_of_value(value) for value in _sequence(schema["enum"])])
    names = schema.get("type")
    if isinstance(names, str):
        return _type_named(names, schema, depth)
    if names is None:
        return _object_type(schema, depth) if "properties" in schema else Type.DYN
    return _joined([_type_named(name, schema, depth) for name in _sequence(names)])


def _type_named(name: object, schema: Mapping[str, Any], depth: int) -> Type:
    if name == "array":
        if "prefixItems" in schema or isinstance(schema.get("items"), Sequence):
            return Type.list_of(Type.DYN)
        return Type.list_of(type_of_schema(schema.get("items"), depth + 1))
    if name == "object":
        return _object_type(schema, depth)
    return _SCALARS.get(name, Type.DYN) if isinstance(name, str) else Type.DYN


def _object_type(schema: Mapping[str, Any], depth: int) -> Type:
    declared = schema.get("properties")
    additional = schema.get("additionalProperties")
    if not isinstance(declared, Mapping) or "patternProperties" in schema:
        declared, additional = {}, additional if isinstance(additional, Mapping) else True
    rest: Type | None = None
    if isinstance(additional, Mapping):
        rest = type_of_schema(additional, depth + 1)
    elif additional:
        rest = Type.DYN
    fields = {str(name): type_of_schema(field, depth + 1) for name, field in declared.items()}
    return Type.object_of(fields, rest)


def _type_of_value(value: object) -> Type:
    if isinstance(value, list):
        return Type.list_of(Type.DYN)
    if isinstance(value, dict):
        return Type.object_of({}, Type.DYN)
    if value is None:
        return Type.NULL
    return {bool: Type.BOOL, int: Type.INT, float: Type.DOUBLE, str: Type.STRING}.get(type(value), Type.DYN)


def _joined(types: list[Type]) -> Type:
    if not types:
        return Type.DYN
    result = types[0]
    for other in types[1:]:
        # An integer or another number: read as a double, like every number that is not declared integer.
        if {result.kind, other.kind} == {"int", "double"}:
            result = Type.DOUBLE.or_null() if result.nullable or other.nullable else Type.DOUBLE
        else:
            result = join(result, other)
    return result


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
