"""The ``schemas`` section: what a machine's context, input, output and events look like.

Every schema is compiled once, at load, by a validator that has no network and no backtracking regular
expressions, and is measured first (``schema_bounds``). The dialect is JSON Schema 2020-12 unless ``$schema``
names another one. Formats (``date-time``, ``email``, …) are checked. A schema of ``events`` describes the
event's own keys, without ``type``; an event type without a schema may carry anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import jsonschema_rs

from durachart.definitions.findings import Finding, pointer
from durachart.definitions.schema_bounds import MAX_DEPTH, MAX_WORK, SchemaRefused, SchemaWeight, weigh
from durachart.definitions.spelling import did_you_mean

SECTIONS: Final = ("context", "input", "output", "events")
MAX_VIOLATIONS: Final = 20
"""Violations told of one value; more do not help anybody."""

_LISTING_WORK = 5_000
"""Pairs of value and schema up to which all violations are listed, at a thousand times the verdict's cost."""
_MESSAGE_CHARACTERS = 200
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a value differs from its schema.

    Attributes:
        path: JSON pointer into the value; ``""`` is the value itself.
        message: One sentence, at most about 200 characters.
    """

    path: str
    message: str


class Validator:
    """One compiled schema.

    Attributes:
        schema: The schema as written, with its keys in order.
    """

    __slots__ = ("_compiled", "_measured", "_weight", "schema")

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        """Compile ``schema``.

        Raises:
            SchemaRefused: Too much work, or a reference that is not followed.
            jsonschema_rs.ValidationError: It is no JSON Schema.
        """
        self.schema = schema
        self._weight = weigh(schema) if isinstance(schema, dict) else SchemaWeight((1,), recursive=False)
        # Only a schema that can multiply work makes it worth counting what every payload holds.
        self._measured = self._weight.recursive or self._weight.heaviest > 100
        self._compiled = jsonschema_rs.validator_for(
            schema,
            offline=True,
            validate_formats=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20),
        )

    def violations(self, value: object) -> list[Violation]:
        """How ``value`` differs from the schema, in the order of the schema's keywords; empty when it fits.

        At most ``MAX_VIOLATIONS``. For a value so large that listing would take long, one that says so.
        """
        if self._measured and not self._weight.allows(value, MAX_WORK):
            return [
                Violation("", f"too large or too deeply nested to be checked (at most {MAX_DEPTH} levels)")
            ]
        if self._compiled.is_valid(value):
            return []
        if not self._weight.allows(value, _LISTING_WORK):
            return [Violation("", "does not match its schema (too large for a list of the differences)")]
        found = [
            Violation(pointer(*error.instance_path), _shortened(error.message))
            for error in self._compiled.iter_errors(value)
        ]
        return found[:MAX_VIOLATIONS]


def _shortened(message: str) -> str:
    if len(message) <= _MESSAGE_CHARACTERS:
        return message
    # The value comes first and the complaint last; both ends are worth reading.
    return f"{message[:60]} … {message[-120:]}"


@dataclass(frozen=True, slots=True)
class Schemas:
    """The compiled schemas of one machine.

    Attributes:
        context: Schema of the context, or ``None``.
        input: Schema of the input an instance is created with, or ``None``.
        output: Schema of the machine's output, or ``None``.
        events: Schemas of events by exact type, in the order written.
    """

    context: Validator | None = None
    input: Validator | None = None
    output: Validator | None = None
    events: Mapping[str, Validator] = field(default_factory=lambda: _NONE)

    def validate_event(self, event_type: str, data: Mapping[str, Any]) -> list[Violation]:
        """How an event's own keys (without ``type``) differ from its type's schema; empty without one."""
        validator = self.events.get(event_type)
        return validator.violations(data) if validator is not None else []

    def validate_context(self, context: object) -> list[Violation]:
        """How a context differs from its schema; empty when there is none."""
        return self.context.violations(context) if self.context is not None else []

    def validate_input(self, value: object) -> list[Violation]:
        """How an input differs from its schema; empty when there is none. No input is judged as ``null``."""
        return self.input.violations(value) if self.input is not None else []

    def validate_output(self, value: object) -> list[Violation]:
        """How an output differs from its schema; empty when there is none."""
        return self.output.violations(value) if self.output is not None else []


def parse_schemas(section: object, findings: list[Finding], *, path: str = "/schemas") -> Schemas:
    """Compile the ``schemas`` section; what is wrong with it is appended to ``findings`` and left out.

    Args:
        section: The section as written; ``None`` when the document has none.
        findings: Where problems go.
        path: JSON pointer of the section.
    """
    if section is None:
        return Schemas()
    if not isinstance(section, dict):
        findings.append(Finding("section_type", path, "`schemas` must be an object"))
        return Schemas()
    findings.extend(
        Finding(
            "unknown_key",
            path + pointer(key),
            f"`schemas` has no key {key!r}",
            did_you_mean(key, SECTIONS) or f"the keys are {', '.join(SECTIONS)}",
        )
        for key in section
        if key not in SECTIONS
    )
    compiled = {
        name: _compile(section[name], findings, path + pointer(name))
        for name in ("context", "input", "output")
        if name in section
    }
    events = _parse_events(section.get("events", {}), findings, path + "/events")
    return Schemas(compiled.get("context"), compiled.get("input"), compiled.get("output"), events)


def _parse_events(section: object, findings: list[Finding], path: str) -> Mapping[str, Validator]:
    if not isinstance(section, dict):
        findings.append(
            Finding("section_type", path, "`schemas.events` must be an object of schemas by event type")
        )
        return _NONE
    events: dict[str, Validator] = {}
    for event_type, schema in section.items():
        at = path + pointer(event_type)
        if event_type.startswith("xstate."):
            findings.append(
                Finding(
                    "event_type_reserved",
                    at,
                    "event types beginning with `xstate.` belong to the interpreter",
                )
            )
        elif not event_type or "*" in event_type.split("."):
            findings.append(
                Finding(
                    "schema_event_wildcard", at, "a schema belongs to one exact event type", "name each event"
                )
            )
        else:
            _check_event_schema(schema, findings, at)
            validator = _compile(schema, findings, at)
            if validator is not None:
                events[event_type] = validator
    return MappingProxyType(events)


def _check_event_schema(schema: object, findings: list[Finding], path: str) -> None:
    if not isinstance(schema, dict):
        return
    required = schema.get("required")
    if isinstance(required, list) and "type" in required:
        findings.append(
            Finding(
                "schema_event_type",
                path + "/required",
                "an event's schema describes its own keys, and `type` is not one of them",
                "leave `type` out of the schema",
            )
        )


def _compile(schema: object, findings: list[Finding], path: str) -> Validator | None:
    if not isinstance(schema, dict | bool):
        findings.append(Finding("schema_invalid", path, "a JSON Schema is an object, `true` or `false`"))
        return None
    try:
        return Validator(schema)
    except SchemaRefused as refused:
        findings.append(
            Finding(
                refused.code, path + pointer(*refused.path), refused.message, _HINTS.get(refused.code, "")
            )
        )
    except jsonschema_rs.ValidationError as error:
        findings.append(
            Finding(
                "schema_invalid",
                path + pointer(*error.instance_path),
                f"no valid JSON Schema: {_shortened(error.message)}",
            )
        )
    except (ValueError, OverflowError) as error:
        findings.append(Finding("schema_invalid", path, f"no valid JSON Schema: {_shortened(str(error))}"))
    return None


_HINTS: Final = {
    "schema_ref_outside": "copy the definition into this schema's `$defs`; nothing is fetched from elsewhere",
    "schema_ref_endless": "let the reference stand one level down, below `properties` or `items`",
}
