"""How much work a JSON Schema can cause, judged before it is compiled.

A validator visits every pair of a value and a schema that applies to it. References make the number of such
pairs grow without any limit in the size of the text: twenty definitions, each an ``allOf`` of the next one
twice, apply a million times to one number, and a definition that refers to itself twice doubles the work with
every level of the payload. A schema arrives over the network, so it is measured as a graph: ``weigh`` counts,
for each depth, how many schemas may apply to one value at that depth, and refuses what is too much for any
payload. What is too much only for deep payloads is left to ``SchemaWeight.allows``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_SUBSCHEMAS: Final = 20_000
"""Subschemas one schema may have, itself included."""
MAX_APPLICATIONS: Final = 1_000
"""Schemas that may apply to one value, at the top of the payload."""
MAX_TABLE: Final = 200_000
"""Pairs of subschemas that meet, over the whole schema, while it is measured."""
MAX_DEPTH: Final = 128
"""Levels of nesting down to which a payload is judged by a schema that refers to itself."""
MAX_WORK: Final = 20_000_000
"""Pairs of value and schema one validation may visit in the worst case, about a second."""

_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
_ANY_MEMBER = ("additionalProperties", "unevaluatedProperties")
_ANY_ITEM = ("additionalItems", "unevaluatedItems", "contains")
_STAR = "*"
_ITEM = "[]"
_NAME = "$name"
_SELF = "$self"


class SchemaRefused(Exception):
    """The schema cannot be used, at ``path`` (the keys that lead there from the schema's root).

    Attributes:
        code: ``schema_ref_outside``, ``schema_ref_not_found``, ``schema_ref_endless`` or
            ``schema_too_large``.
        path: Keys and indexes from the schema's root.
        message: One sentence.
    """

    def __init__(self, code: str, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.code = code
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class SchemaWeight:
    """How many schemas may apply to one value, by the value's depth.

    Attributes:
        by_depth: At index ``d``, for values ``d`` levels below the top; the last one holds for all deeper
            levels.
        recursive: Whether the schema refers to itself, so that payloads may be nested without limit.
    """

    by_depth: tuple[int, ...]
    recursive: bool

    @property
    def heaviest(self) -> int:
        """The largest of ``by_depth``."""
        return max(self.by_depth)

    def allows(self, value: object, limit: int) -> bool:
        """Whether judging ``value`` visits at most ``limit`` pairs, and is no deeper than can be judged."""
        work = 0
        level: list[Any] = [value]
        depth = 0
        while level:
            work += len(level) * self.by_depth[min(depth, len(self.by_depth) - 1)]
            if work > limit or (self.recursive and depth > MAX_DEPTH):
                return False
            level = [child for item in level for child in _children(item)]
            depth += 1
        return True


def _children(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


@dataclass(slots=True)
class _Node:
    """A subschema: what applies to the same value, and what applies to its members and items by name."""

    path: tuple[str | int, ...]
    in_place: list[int]
    below: dict[str | int, list[int]]


_Anchors = Mapping[str, tuple[object, tuple[str | int, ...]]]
"""Subschemas by the names that `$anchor` gives them, and where they stand."""


class _Graph:
    """The subschemas of one schema, numbered in the order of their discovery; 0 is the schema itself."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema
        self.nodes: list[_Node] = []
        self.recursive = False
        self._known: dict[int, int] = {}
        self._anchors: _Anchors | None = None
        self._pending: list[tuple[int, dict[str, Any]]] = []
        self._number(schema, ())
        while self._pending:
            self._read(*self._pending.pop())

    def _number(self, schema: object, path: tuple[str | int, ...]) -> int | None:
        """The number of a subschema; ``None`` for ``true``, ``false`` and what is no schema at all."""
        if not isinstance(schema, dict):
            return None
        known = self._known.get(id(schema))
        if known is not None:
            return known
        number = len(self.nodes)
        if number >= MAX_SUBSCHEMAS:
            raise SchemaRefused(
                "schema_too_large", (), f"the schema has more than {MAX_SUBSCHEMAS:,} subschemas"
            )
        self._known[id(schema)] = number
        self.nodes.append(_Node(path, [], defaultdict(list)))
        self._pending.append((number, schema))
        return number

    def _read(self, number: int, schema: dict[str, Any]) -> None:
        node = self.nodes[number]
        if node.path and isinstance(schema.get("$id"), str):
            raise SchemaRefused(
                "schema_ref_outside",
                (*node.path, "$id"),
                '`$id` is for the top of a schema; inside, use `$defs` and `$ref: "#/$defs/…"`',
            )
        for key, target in _in_place(schema):
            self._link(node.in_place, target, (*node.path, *key))
        for label, key, target in _below(schema):
            self._link(node.below[label], target, (*node.path, *key))
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in schema:
                target, path = self._resolve(schema[keyword], (*node.path, keyword))
                self._link(node.in_place, target, path)

    def _link(self, edges: list[int], target: object, path: tuple[str | int, ...]) -> None:
        number = self._number(target, path)
        if number is not None:
            edges.append(number)

    def _resolve(self, ref: object, at: tuple[str | int, ...]) -> tuple[object, tuple[str | int, ...]]:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise SchemaRefused(
                "schema_ref_outside",
                at,
                f"only references inside the schema are followed, this one leads to {str(ref)[:100]!r}",
            )
        if ref[1:2] not in ("", "/"):
            if self._anchors is None:
                self._anchors = dict(_anchors(self.root))
            if ref[1:] not in self._anchors:
                raise SchemaRefused("schema_ref_not_found", at, f"the schema has no anchor {ref[1:101]!r}")
            return self._anchors[ref[1:]]
        found: object = self.root
        keys: list[str | int] = []
        for token in ref.split("/")[1:]:
            key = _percent_decoded(token).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise SchemaRefused("schema_ref_not_found", at, f"the schema has nothing at {ref[:100]!r}")
            keys.append(key)
        return found, tuple(keys)


def _percent_decoded(text: str) -> str:
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)


def _anchors(
    schema: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str, tuple[object, tuple[str | int, ...]]]]:
    pending: list[tuple[object, tuple[str | int, ...]]] = [(schema, path)]
    while pending:
        value, at = pending.pop()
        if isinstance(value, dict):
            for keyword in ("$anchor", "$dynamicAnchor"):
                name = value.get(keyword)
                if isinstance(name, str):
                    yield name, (value, at)
            pending.extend((child, (*at, key)) for key, child in value.items())
        elif isinstance(value, list):
            pending.extend((child, (*at, index)) for index, child in enumerate(value))


def _in_place(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    for keyword in _IN_PLACE_LISTS:
        members = schema.get(keyword)
        if isinstance(members, list):
            for index, member in enumerate(members):
                yield (keyword, index), member
    for keyword in _IN_PLACE:
        if keyword in schema:
            yield (keyword,), schema[keyword]
    for keyword in _IN_PLACE_MAPS:
        mapping = schema.get(keyword)
        if isinstance(mapping, dict):
            for name, member in mapping.items():
                yield (keyword, name), member


def _below(schema: dict[str, Any]) -> Iterator[tuple[str | int, tuple[str | int, ...], object]]:
    """The subschemas for members and items, labelled: equal labels (and ``*``) may meet on one value."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, member in properties.items():
            yield f".{name}", ("properties", name), member
    patterns = schema.get("patternProperties")
    if isinstance(patterns, dict):
        for pattern, member in patterns.items():
            yield _STAR, ("patternProperties", pattern), member
    for keyword in _ANY_MEMBER:
        yield _STAR, (keyword,), schema.get(keyword)
    yield _NAME, ("propertyNames",), schema.get("propertyNames")
    for keyword in ("items", "prefixItems"):
        items = schema.get(keyword)
        if isinstance(items, list):
            for index, member in enumerate(items):
                yield index, (keyword, index), member
        else:
            yield _ITEM, (keyword,), items
    for keyword in _ANY_ITEM:
        yield _ITEM, (keyword,), schema.get(keyword)


def weigh(schema: dict[str, Any]) -> SchemaWeight:
    """Measure a schema.

    Raises:
        SchemaRefused: A reference leads outside or nowhere, the schema is too large, or it is too much work
            even for the smallest payload.
    """
    graph = _Graph(schema)
    reach = _reach(graph, _in_place_order(graph))
    level = [sum(labels[_SELF].values()) for labels in reach]
    weights = [level[0]]
    while level[0] and len(weights) <= MAX_DEPTH:
        above = [_heaviest(labels, level) for labels in reach]
        if above == level:
            return SchemaWeight(tuple(weights), recursive=True)
        level = above
        weights.append(min(level[0], MAX_WORK))
    return SchemaWeight(tuple(weights), recursive=bool(level[0]))


def _in_place_order(graph: _Graph) -> list[int]:
    """All subschemas, each after everything that applies in place with it.

    Raises:
        SchemaRefused: A subschema leads back to itself on the same value, which judges nothing and never
            ends.
    """
    order: list[int] = []
    entered, left = 1, 2
    state = [0] * len(graph.nodes)
    for start in range(len(graph.nodes)):
        stack: list[tuple[int, Iterator[int]]] = []
        if not state[start]:
            state[start] = entered
            stack.append((start, iter(graph.nodes[start].in_place)))
        while stack:
            number, edges = stack[-1]
            target = next(edges, None)
            if target is None:
                state[number] = left
                order.append(number)
                stack.pop()
            elif state[target] == entered:
                raise SchemaRefused(
                    "schema_ref_endless",
                    graph.nodes[number].path,
                    "the references lead back to the same schema on the same value",
                )
            elif not state[target]:
                state[target] = entered
                stack.append((target, iter(graph.nodes[target].in_place)))
    return order


_Reach = dict[str | int, Counter[int]]


def _reach(graph: _Graph, order: list[int]) -> list[_Reach]:
    """For each subschema, what meets on its own value (``_SELF``) and, by label, on its members and items.

    Raises:
        SchemaRefused: Too many schemas meet on one value.
    """
    reach: list[_Reach] = [{} for _ in graph.nodes]
    total = 0
    for number in order:
        node = graph.nodes[number]
        labels: _Reach = {_SELF: Counter([number])}
        for label, targets in node.below.items():
            labels[label] = Counter(targets)
        for companion in node.in_place:
            for label, counts in reach[companion].items():
                labels.setdefault(label, Counter()).update(counts)
        meeting = sum(labels[_SELF].values())
        total += sum(len(counts) for counts in labels.values())
        if meeting > MAX_APPLICATIONS or total > MAX_TABLE:
            raise SchemaRefused(
                "schema_too_large",
                node.path,
                f"too many subschemas meet on one value through `$ref`, `allOf`, `anyOf` and `oneOf` "
                f"(the limit is {MAX_APPLICATIONS:,})",
            )
        reach[number] = labels
    return reach


def _heaviest(labels: _Reach, below: list[int]) -> int:
    """An upper bound on how many schemas meet on one member or item, from how many meet below each.

    Members with different names are different values, so only the heaviest name counts; what applies to any
    name meets with each of them. The same holds for the items of an array.
    """
    sums = {
        label: sum(below[target] * count for target, count in counts.items())
        for label, counts in labels.items()
        if label != _SELF
    }
    star, item = sums.pop(_STAR, 0), sums.pop(_ITEM, 0)
    members = max((value for label, value in sums.items() if isinstance(label, str)), default=0)
    items = max((value for label, value in sums.items() if isinstance(label, int)), default=0)
    return min(max(star + members, item + items), MAX_WORK)
