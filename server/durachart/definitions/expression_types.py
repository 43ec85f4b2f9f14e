"""What expressions are about, according to the schemas, and where they disagree with them.

Building compiles every expression once, in a scope that holds for all events (``scopes_of``). An expression
used by a transition of one event is checked against that event's schema as well, and what an ``assign`` gives
against the schema of its key, so that a misspelt field is found at publish, with line and column, and not by
the first customer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from durachart.definitions.findings import Finding, pointer
from durachart.definitions.implementations import UNTYPED, Scopes
from durachart.definitions.report import Report
from durachart.definitions.schemas import Schemas, Validator
from durachart.definitions.uses import State, Use
from durachart.expressions import CompileError, Scope, Type, compile_expression
from durachart.expressions.schemas import type_of_schema
from durachart.expressions.types import join

_STEP: Final = ("context", "event", "params", "now")
_START: Final = ("context", "input", "now")
_MAKES_NO_JSON: Final = re.compile(
    r"""\b(type|bytes|int|uint|double|bool|string|list|map|null_type|google)\b|[bB][rR]?["']"""
)
"""What stands in every expression whose value is a type or bytes; most need not be compiled again to know."""


def scopes_of(schemas: Schemas, states: Sequence[State]) -> Scopes:
    """The scopes in which a machine's expressions are compiled.

    A field that several events declare has the type they agree on; a field no event declares may still come
    from an event the interpreter sends. Where the machine handles an event without a schema, nothing is known
    of any event.
    """
    context = _schema(schemas.context)
    handled = {
        candidate.descriptor for state in states for candidate in state.candidates if candidate.slot == "on"
    }
    event = Type.object_of({"type": Type.STRING}, Type.DYN)
    if schemas.events and handled <= schemas.events.keys():
        for validator in schemas.events.values():
            event = _either(event, type_of_schema(validator.schema))
    step = Scope(
        {
            **Scope.from_schemas(context=context, variables=_STEP).variables,
            "event": Type.object_of({**event.fields, "type": Type.STRING}, Type.DYN),
        }
    )
    return Scopes(step, Scope.from_schemas(context=context, input=_schema(schemas.input), variables=_START))


def _schema(validator: Validator | None) -> object:
    return None if validator is None else validator.schema


def _either(first: Type, second: Type) -> Type:
    """Objects that may be one or the other: all fields of both, and whatever else there may be."""
    if first.kind != "object" or second.kind != "object":
        return join(first, second)
    fields = dict(first.fields)
    for name, declared in second.fields.items():
        fields[name] = _either(fields[name], declared) if name in fields else declared
    merged = Type.object_of(fields, Type.DYN)
    return merged.or_null() if first.nullable or second.nullable else merged


def check_types(
    states: Sequence[State],
    implementations: Mapping[str, Any],
    path: str,
    schemas: Schemas,
    report: Report,
) -> None:
    """Report expressions that disagree with the schemas.

    Args:
        states: Every state.
        implementations: The section as written.
        path: JSON pointer of that section.
        schemas: The schemas of the definition.
        report: Receives the problems; each place is reported once.
    """
    checker = _Checker(implementations, path, schemas, scopes_of(schemas, states), report)
    checker.check_assigned_keys()
    checker.check_delays()
    checker.check_kept()
    for state in states:
        for use in state.guards:
            checker.check_use("guards", use)
        for use in state.actions:
            checker.check_use("actions", use)


class _Checker:
    def __init__(
        self, implementations: Mapping[str, Any], path: str, schemas: Schemas, scopes: Scopes, report: Report
    ) -> None:
        self.implementations = implementations
        self.path = path
        self.schemas = schemas
        self.scopes = scopes
        self.report = report
        self.context = type_of_schema(_schema(schemas.context))
        self.reported: set[str] = set()
        self.event_scopes: dict[str, Scope] = {}
        self.checked: set[tuple[str, str]] = set()

    def check_assigned_keys(self) -> None:
        """The keys that assigns and ``implementations.context`` write, and the types of what they write."""
        if self.context.kind != "object":
            return
        for name, body in self._section("actions").items():
            entries = body.get("assign") if isinstance(body, Mapping) else None
            if isinstance(entries, Mapping):
                place = f"{self.path}/actions{pointer(name)}/assign"
                self._check_keys(entries, place, self.scopes.step)
        self._check_keys(self._section("context"), f"{self.path}/context", self.scopes.start)

    def _check_keys(self, entries: Mapping[str, Any], path: str, scope: Scope) -> None:
        for key, text in entries.items():
            place = path + pointer(key)
            wanted = self.context.fields.get(key, self.context.rest)
            if wanted is None:
                self._add(
                    Finding(
                        "context_key_unknown",
                        place,
                        f"the schema of the context has no key {key!r}",
                        self.report.suggest(key, self.context.fields) or "declare it in `schemas.context`",
                    )
                )
            elif isinstance(text, str):
                self._check(text, place, scope, wanted, "")

    def check_delays(self) -> None:
        """Delays give numbers."""
        for name, text in self._section("delays").items():
            if not isinstance(text, str) or not self._compiles(text):
                continue
            path = f"{self.path}/delays{pointer(name)}"
            try:
                found = compile_expression(text, scope=self.scopes.step).result_type
            except CompileError:
                continue  # reported by building, which uses the same scope
            if found.kind not in ("int", "uint", "double", "dyn"):
                message = f"a delay is a number of milliseconds, not {found}"
                self._add(Finding("expression_type", path, message))

    def check_kept(self) -> None:
        """What is kept, or given to an effect, is JSON."""
        for name, text in self._section("context").items():
            self._check_is_json(text, f"{self.path}/context{pointer(name)}", self.scopes.start)
        for name in self._section("actions"):
            for place, text in self._expressions("actions", name):
                self._check_is_json(text, place, self.scopes.step)
        for name, source in self._section("outputs").items():
            path = f"{self.path}/outputs{pointer(name)}"
            if isinstance(source, Mapping):
                for key, text in source.items():
                    self._check_is_json(text, path + pointer(key), self.scopes.step)
            else:
                self._check_is_json(source, path, self.scopes.step)

    def _check_is_json(self, text: object, path: str, scope: Scope) -> None:
        if path in self.reported or not isinstance(text, str) or not _MAKES_NO_JSON.search(text):
            return
        try:
            found = compile_expression(text, scope=scope).result_type
        except CompileError:
            return  # reported by building, which uses the same scope
        if (kind := _not_json(found)) is not None:
            hint = "`string(…)` or `size(…)` give JSON" if kind == "bytes" else "compare it: `type(a) == int`"
            self._add(
                Finding("expression_type", path, f"the value is {found}, and JSON cannot hold {kind}", hint)
            )

    def check_use(self, section: str, use: Use) -> None:
        """An expression used on one event's transition, against the schema of that event."""
        event_type = "" if use.candidate is None or use.slot != "on" else use.candidate.descriptor
        if event_type not in self.schemas.events:
            return
        scope = self.event_scopes.get(event_type)
        if scope is None:
            schema = self.schemas.events[event_type].schema
            scope = Scope.from_schemas(context=_schema(self.schemas.context), event=schema, variables=_STEP)
            self.event_scopes[event_type] = scope
        for place, text in self._expressions(section, use.name):
            self._check(text, place, scope, None, event_type)

    def _expressions(self, section: str, name: str) -> Iterator[tuple[str, str]]:
        """The expressions of a guard, its members included, or of an action, with their places."""
        entries = self._section(section)
        pending, seen = [name], {name}
        while pending:
            current = pending.pop()
            source, place = entries.get(current), f"{self.path}/{section}{pointer(current)}"
            if isinstance(source, str):
                yield place, source
            elif isinstance(source, Mapping) and section == "actions":
                for kind in ("assign", "params"):
                    body = source.get(kind)
                    if isinstance(body, Mapping):
                        for key, text in body.items():
                            if isinstance(text, str):
                                yield f"{place}/{kind}{pointer(key)}", text
            elif isinstance(source, Mapping):
                for member in _members(source):
                    if member not in seen:
                        seen.add(member)
                        pending.append(member)

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.implementations.get(name)
        return section if isinstance(section, Mapping) else {}

    def _check(self, text: str, path: str, scope: Scope, expected: Type | None, event_type: str) -> None:
        if path in self.reported or (path, event_type) in self.checked or not self._compiles(text):
            return
        self.checked.add((path, event_type))
        try:
            compile_expression(text, scope=scope, expected=expected)
        except CompileError as error:
            about = f"on {event_type!r}: " if event_type else ""
            self._add(
                Finding(
                    "expression_type",
                    path,
                    about + error.message,
                    error.hint or "",
                    "error",
                    error.line,
                    error.column,
                )
            )

    def _compiles(self, text: str) -> bool:
        """Whether building could compile it, so that what is wrong here is the types."""
        try:
            compile_expression(text, scope=UNTYPED.step)
        except CompileError:
            try:
                compile_expression(text, scope=UNTYPED.start)
            except CompileError:
                return False
        return True

    def _add(self, finding: Finding) -> None:
        self.reported.add(finding.path)
        self.report.findings.append(finding)


def _members(source: Mapping[str, Any]) -> Iterable[str]:
    for operator, members in source.items():
        if operator == "not" and isinstance(members, str):
            yield members
        elif operator in ("and", "or") and isinstance(members, list):
            yield from (member for member in members if isinstance(member, str))


def _not_json(found: Type) -> str | None:
    """The kind of a value that is certain to be no JSON; lists and maps may hold none of theirs."""
    return found.kind if found.kind in ("type", "bytes") and not found.nullable else None
