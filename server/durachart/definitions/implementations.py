"""The named implementations beside a machine, compiled: guards, actions, delays, context, outputs.

Expressions come from the document (CEL) and from trusted plug-ins; a name in the document wins. A guard
without implementation is kept and fails when asked, as in XState; whether it may be published is another
question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from durachart.definitions.report import Report
from durachart.definitions.states import kind_of, pointer_below
from durachart.definitions.targets import Targets, split_path
from durachart.engine.configuration import Configuration
from durachart.engine.guards import Guard
from durachart.engine.model import ContextEntry, Evaluate
from durachart.expressions import (
    Budget,
    CompileError,
    Expression,
    ExpressionTooLarge,
    Scope,
    Type,
    compile_expression,
)

MAX_GUARD_DEPTH = 64
MAX_GUARD_PARTS = 1_000
"""Guards that one is made of, written out: asking it may ask them all, as often as they stand there."""
MAX_EXPRESSIONS = 20_000
"""CEL texts in one definition; compiling that many takes a few seconds."""

MAX_TOO_LARGE = 5
"""Expressions over a limit of their own after which no other is compiled: each takes a while to refuse."""

_SECTIONS = ("guards", "actions", "delays", "context", "outputs", "actors")


class Plugins(Protocol):
    """Trusted implementations by name. All are called as ``(context, event, params, now_ms, budget)``."""

    @property
    def guards(self) -> Mapping[str, Evaluate]:
        """Give a boolean."""

    @property
    def actions(self) -> Mapping[str, Evaluate]:
        """Give a mapping of context keys to lay over the context, or ``None``."""

    @property
    def delays(self) -> Mapping[str, Evaluate]:
        """Give milliseconds."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """What expressions may refer to.

    Attributes:
        step: Guards, actions, delays, outputs: ``context``, ``event``, ``params``, ``now``.
        start: The initial context: ``context`` (the static one), ``input``, ``now``.
    """

    step: Scope
    start: Scope


UNTYPED = Scopes(
    Scope.from_schemas(variables=("context", "event", "params", "now")),
    Scope.from_schemas(variables=("context", "input", "now")),
)


@dataclass(frozen=True, slots=True)
class ActionBody:
    """What a named action does: assign keys, compute parameters of an effect, or call a plug-in."""

    assign: tuple[tuple[str, Evaluate], ...] | None = None
    params: tuple[tuple[str, Evaluate], ...] = ()
    call: Evaluate | None = None


def within_expression_limit(sections: object, path: str, report: Report) -> bool:
    """Whether there are no more expressions than are compiled; reports it if there are.

    Only counts, so that what is refused is refused at once.
    """
    count = 0
    for name in _SECTIONS:
        level: list[Any] = [sections.get(name)] if isinstance(sections, Mapping) else []
        while level:
            level = [child for value in level if isinstance(value, Mapping) for child in value.values()]
            count += sum(isinstance(child, str) for child in level)
    if count <= MAX_EXPRESSIONS:
        return True
    report.error(
        "too_many_expressions",
        path,
        f"there are {count:,} expressions; at most {MAX_EXPRESSIONS:,} are taken",
        "use one guard or action for what differs in its parameters alone, or make machines of the parts",
    )
    return False


class Implementations:
    """Looks names up, compiling each once.

    Attributes:
        report: Receives the problems.
        make_budget: ``None`` while no expression has been compiled.
    """

    def __init__(
        self,
        sections: Mapping[str, Any],
        path: str,
        report: Report,
        plugins: Plugins | None = None,
        scopes: Scopes = UNTYPED,
    ) -> None:
        self.report = report
        self.make_budget: Callable[[], object] | None = None
        self._path = path
        self._plugins = plugins
        self._scopes = scopes
        self._sections: dict[str, Mapping[str, Any]] = {}
        for section in _SECTIONS:
            content = sections.get(section, {})
            if isinstance(content, Mapping):
                self._sections[section] = content
            else:
                self._sections[section] = {}
                self._malformed(pointer_below(path, section), "an object by name", content)
        self._guards: dict[str, Guard] = {}
        self._parts: dict[str, int] = {}
        self._too_large = 0
        self._bodies: dict[str, ActionBody] = {}
        self._delays: dict[str, float | Evaluate | None] = {}

    def compile_all(self, targets: Targets) -> None:
        """Compile what is there, used or not, so that every problem in it is reported."""
        for name in self._sections["guards"]:
            self.guard(name, targets)
        for name in self._sections["actions"]:
            self.action(name)
        for name in self._sections["delays"]:
            self.delay(name)
        for node_id in self._sections["outputs"]:
            if node_id not in targets.by_id:
                self.report.warning(
                    "output_of_unknown_state",
                    self._place("outputs", node_id),
                    f"no state has the id {node_id!r}",
                    self.report.suggest(node_id, targets.by_id),
                )

    # --- guards --------------------------------------------------------------------------------------------

    def guard(self, name: str, targets: Targets) -> Guard:
        """The guard with this name, without parameters."""
        known = self._guards.get(name)
        if known is None:
            for found in self._in_order_of_use(name):
                self._guards[found] = self._make_guard(found, targets)
            known = self._guards[name]
        return known

    def _in_order_of_use(self, name: str) -> list[str]:
        """``name`` and every guard it is made of that is not known yet, members first; reports circles."""
        order: list[str] = []
        depth: dict[str, int] = {}
        open_names: list[tuple[str, bool]] = [(name, False)]
        entered: set[str] = set()
        while open_names:
            current, members_done = open_names.pop()
            members = self._member_names(current) or []
            if members_done:
                depth[current] = 1 + max((depth.get(member, 0) for member in members), default=0)
                if depth[current] > MAX_GUARD_DEPTH:
                    self._broken_guard(
                        current, "guard_nested_too_deeply", f"nested more than {MAX_GUARD_DEPTH} deep"
                    )
                    depth[current] = 0
                entered.discard(current)
                order.append(current)
                continue
            if current in self._guards or current in depth:
                continue
            if current in entered:
                self._broken_guard(current, "guard_circular", "made of itself")
                continue
            entered.add(current)
            open_names.append((current, True))
            open_names.extend((member, False) for member in reversed(members))
        return [found for found in order if found not in self._guards]

    def _broken_guard(self, name: str, code: str, what: str) -> None:
        self.report.error(code, self._place("guards", name), f"guard {name!r} is {what}")
        self._guards[name] = Guard(name, "missing")

    def _member_names(self, name: str) -> list[str] | None:
        """The names a guard is made of; ``None`` unless it is made with ``and``, ``or`` or ``not``."""
        source = self._sections["guards"].get(name)
        if not isinstance(source, Mapping) or len(source) != 1:
            return None
        ((operator, members),) = source.items()
        if operator == "not" and isinstance(members, str):
            return [members]
        if operator in ("and", "or") and isinstance(members, list):
            names = [member for member in members if isinstance(member, str)]
            return names if len(names) == len(members) else None
        return None

    def _make_guard(self, name: str, targets: Targets) -> Guard:
        source = self._sections["guards"].get(name)
        if source is None:
            call = None if self._plugins is None else self._plugins.guards.get(name)
            if call is None:
                return Guard(name, "missing")
            return Guard(name, "expression", evaluate=call, reads_event=True)
        path = self._place("guards", name)
        if isinstance(source, str):
            expression = self._compile(source, path, Type.BOOL)
            if expression is None:
                return Guard(name, "missing")
            return Guard(
                name,
                "expression",
                evaluate=expression.evaluate,
                reads_event=expression.reads_event_payload,
                reads_type=any(path.split(".")[0] == "event" for path in expression.references),
            )
        if isinstance(source, Mapping) and len(source) == 1:
            ((operator, operand),) = source.items()
            names = self._member_names(name)
            if names is not None:
                return self._composite(name, operator, names)
            if operator == "stateIn":
                return self._state_in(name, operand, pointer_below(path, operator), targets)
        wanted = 'CEL text, or one of `{"and": […]}`, `{"or": […]}`, `{"not": …}`, `{"stateIn": …}`'
        self._malformed(path, wanted, source)
        return Guard(name, "missing")

    def _composite(self, name: str, operator: str, names: list[str]) -> Guard:
        members = tuple(self._guards[member] for member in names)
        parts = 1 + sum(self._parts.get(member, 1) for member in names)
        if parts > MAX_GUARD_PARTS:
            # What is made of this one counts it as one part: not every guard above is reported as well.
            self._broken_guard(
                name,
                "guard_too_large",
                f"made of {parts:,} guards, written out; at most {MAX_GUARD_PARTS:,} are taken",
            )
            return self._guards[name]
        self._parts[name] = parts
        reads_event = any(member.reads_event for member in members)
        if operator == "and":
            return Guard(name, "and", members=members, reads_event=reads_event)
        if operator == "or":
            return Guard(name, "or", members=members, reads_event=reads_event)
        return Guard(name, "not", members=members, reads_event=reads_event)

    def _state_in(self, name: str, wanted: object, path: str, targets: Targets) -> Guard:
        if isinstance(wanted, str) and wanted.startswith("#"):
            node = targets.by_reference(wanted, path)
            return Guard(name, "state_in", is_active=lambda configuration: node in configuration)
        if not _is_state_value(wanted):
            self._malformed(path, "`#id` or a state value", wanted)
        return Guard(name, "state_in", is_active=_matcher(wanted))

    # --- actions, delays, context, outputs -----------------------------------------------------------------

    def action(self, name: str) -> ActionBody | None:
        """What the action with this name does; ``None``: it is an effect without computed parameters."""
        body = self._bodies.get(name)
        if body is not None:
            return body
        source = self._sections["actions"].get(name)
        if source is None:
            call = None if self._plugins is None else self._plugins.actions.get(name)
            if call is None:
                return None
            body = ActionBody(call=call)
        else:
            body = self._read_body(source, self._place("actions", name))
        self._bodies[name] = body
        return body

    def _read_body(self, source: object, path: str) -> ActionBody:
        if isinstance(source, Mapping) and len(source) == 1:
            ((kind, entries),) = source.items()
            if kind in ("assign", "params") and isinstance(entries, Mapping):
                compiled = self._compile_entries(entries, pointer_below(path, kind))
                return ActionBody(assign=compiled) if kind == "assign" else ActionBody(params=compiled)
        self._malformed(path, '`{"assign": {key: CEL}}` or `{"params": {key: CEL}}`', source)
        return ActionBody()

    def delay(self, name: str) -> float | Evaluate | None:
        """Milliseconds, or how to compute them; ``None`` for a name without implementation."""
        if name not in self._delays:
            self._delays[name] = self._read_delay(name)
        return self._delays[name]

    def _read_delay(self, name: str) -> float | Evaluate | None:
        source = self._sections["delays"].get(name)
        if source is None:
            return None if self._plugins is None else self._plugins.delays.get(name)
        path = self._place("delays", name)
        if isinstance(source, (int, float)) and not isinstance(source, bool):
            return source
        if isinstance(source, str):
            expression = self._compile(source, path)
            return None if expression is None else expression.evaluate
        self._malformed(path, "milliseconds or CEL text", source)
        return None

    def context_entries(self) -> list[ContextEntry]:
        """The keys of the context that are computed at the start."""
        entries = []
        for key, source in self._sections["context"].items():
            path = self._place("context", key)
            if not isinstance(source, str):
                self._malformed(path, "CEL text", source)
                continue
            expression = self._compile(source, path, scope=self._scopes.start)
            if expression is not None:
                entries.append(ContextEntry(key, expression.evaluate))
        return entries

    def output(self, node_id: str) -> Evaluate | None:
        """How the output of a final state, or of the machine, is computed; ``None`` when it is not here."""
        source = self._sections["outputs"].get(node_id)
        if source is None:
            return None
        path = self._place("outputs", node_id)
        if isinstance(source, str):
            expression = self._compile(source, path)
            return None if expression is None else expression.evaluate
        if isinstance(source, Mapping):
            return _object_of(self._compile_entries(source, path))
        self._malformed(path, "CEL text, or an object of CEL texts", source)
        return None

    # --- expressions ---------------------------------------------------------------------------------------

    def _compile_entries(self, entries: Mapping[str, Any], path: str) -> tuple[tuple[str, Evaluate], ...]:
        compiled = []
        for key, source in entries.items():
            if not isinstance(source, str):
                self._malformed(pointer_below(path, key), "CEL text", source)
                continue
            expression = self._compile(source, pointer_below(path, key))
            if expression is not None:
                compiled.append((key, expression.evaluate))
        return tuple(compiled)

    def _compile(
        self, text: str, path: str, expected: Type | None = None, scope: Scope | None = None
    ) -> Expression | None:
        if self._too_large >= MAX_TOO_LARGE:
            return None
        try:
            expression = compile_expression(text, scope=scope or self._scopes.step, expected=expected)
        except CompileError as error:
            too_large = isinstance(error, ExpressionTooLarge)
            self._too_large += too_large
            self.report.error(
                "expression_too_large" if too_large else "expression_invalid",
                path,
                error.message,
                error.hint or "",
                line=error.line,
                column=error.column,
            )
            return None
        self.make_budget = Budget
        return expression

    def _place(self, section: str, name: str) -> str:
        return pointer_below(self._path, section, name)

    def _malformed(self, path: str, wanted: str, found: object) -> None:
        self.report.error("implementation_malformed", path, f"here stands {wanted}, not {kind_of(found)}")


def _object_of(entries: tuple[tuple[str, Evaluate], ...]) -> Evaluate:
    def evaluate(
        context: Mapping[str, Any], event: Mapping[str, Any], params: Any, now_ms: int, budget: Any
    ) -> dict[str, Any]:
        return {key: compute(context, event, params, now_ms, budget) for key, compute in entries}

    return evaluate


def _is_state_value(value: object) -> bool:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            pending.extend(current.values())
        elif not isinstance(current, str):
            return False
    return True


def _matcher(wanted: object) -> Callable[[Configuration], bool]:
    return lambda configuration: matches_value(wanted, configuration.value)


def matches_value(wanted: Any, value: Any) -> bool:
    """Whether a state value contains ``wanted``, as XState's ``matches``.

    Every key of ``wanted`` must match; a string matches the active child's key, or a key of an object. A
    string with dots is a path. Recursion is bounded by the nesting of ``value``.
    """
    if isinstance(wanted, str):
        *outer, wanted = split_path(wanted)
        for name in reversed(outer):
            wanted = {name: wanted}
    if isinstance(value, str):
        return bool(wanted == value)
    if isinstance(wanted, str):
        return wanted in value
    return all(key in value and matches_value(inner, value[key]) for key, inner in wanted.items())
