"""A machine as Mermaid text (``stateDiagram-v2``): states, labelled transitions, notes.

The text is a function of the definition: equal definitions give equal text. Mermaid has no sign for history,
so a history node is a state called ``H`` (shallow) or ``H*`` (deep); it draws transitions into other
composite states as well as it can.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from durachart.definitions.definition import Definition
from durachart.engine.actions import Action
from durachart.engine.model import StateNode, Transition, is_descendant

_INDENT = "    "
_AFTER = "xstate.after."
_DONE = "xstate.done.state."
_ENTITIES = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;"}
_ENTITIES_OF_LABELS = _ENTITIES | {";": "#59;", ":": "#58;", "{": "#123;", "}": "#125;"}
_KEYWORDS = frozenset(
    "accdescr acctitle as choice class classdef click default direction end fork hide href join left note of "
    "over right scale state style title".split()
)
_WIDTH = 60


def render_mermaid(definition: Definition) -> str:
    """The machine as Mermaid text, ending in a newline.

    Transitions are labelled ``EVENT [guard] / actions``; delays read ``after 1000 ms``, the end of a state
    ``done``. A note holds what else the definition says of a state: its description, entry and exit actions,
    tags and ``meta``.
    """
    drawing = _Drawing(definition.machine.nodes)
    lines = [
        "---",
        f"title: {json.dumps(definition.machine_id, ensure_ascii=False)}",
        "---",
        "stateDiagram-v2",
    ]
    lines += drawing.state(definition.machine.root, 1)
    return "\n".join(lines) + "\n"


class _Drawing:
    """Writes states, knowing the name of each and which transitions belong into which."""

    def __init__(self, nodes: tuple[StateNode, ...]) -> None:
        self.names = _names(nodes)
        self.arrows: dict[StateNode | None, list[str]] = {}
        for node in nodes:
            for transition in _transitions(node):
                for target in transition.targets or (node,):
                    arrow = f"{self.names[node]} --> {self.names[target]}"
                    label = _escaped(_label(transition))
                    line = f"{arrow} : {label}" if label else arrow
                    self.arrows.setdefault(_scope(node, target), []).append(line)

    def state(self, node: StateNode, depth: int) -> list[str]:
        """A state with everything inside it and the note beside it."""
        inner, name = depth + 1, self.names[node]
        lines: list[str] = []
        declaration = f'state "{_escaped(_title(node))}" as {name}'
        if node.children:
            lines.append(_INDENT * depth + declaration + " {")
            lines += self._inside(node, inner)
            lines.append(_INDENT * depth + "}")
        else:
            lines.append(_INDENT * depth + declaration)
        if node.type == "final":
            lines.append(f"{_INDENT * depth}{name} --> [*]")
        note = _note(node)
        if note:
            lines.append(f"{_INDENT * depth}note right of {name}")
            lines += [_INDENT * inner + line for line in note]
            lines.append(_INDENT * depth + "end note")
        if node.parent is None:
            lines += [_INDENT * depth + arrow for arrow in self.arrows.get(None, ())]
        return lines

    def _inside(self, node: StateNode, depth: int) -> Iterator[str]:
        indent = _INDENT * depth
        if node.initial is not None:
            actions = _escaped(_actions(node.initial_actions))
            yield f"{indent}[*] --> {self.names[node.initial]}" + (f" : / {actions}" if actions else "")
        separate = False
        for child in node.children.values():
            if separate and node.type == "parallel" and child.type != "history":
                yield indent + "--"
            separate = True
            yield from self.state(child, depth)
        for arrow in self.arrows.get(node, ()):
            yield indent + arrow


def _names(nodes: tuple[StateNode, ...]) -> dict[StateNode, str]:
    """A name for each state: its key where that is enough, else the keys that lead to it."""
    short = Counter(_word(node.key).lower() for node in nodes)
    names: dict[StateNode, str] = {}
    taken: set[str] = set()
    for node in nodes:
        name = _word(node.key)
        if short[name.lower()] > 1 and node.parent is not None:
            name = f"{names[node.parent]}_{name}"
        if name.lower() in taken:
            name = f"{name}_{node.index}"
        taken.add(name.lower())
        names[node] = name
    return names


def _word(key: str) -> str:
    """The key as Mermaid may read it: letters, digits and ``_``, and none of its own words."""
    word = re.sub(r"\W", "_", key, flags=re.ASCII)
    return f"{word}_" if word.lower() in _KEYWORDS or not word[:1].isalpha() else word


def _scope(source: StateNode, target: StateNode) -> StateNode | None:
    """The innermost state around both, in whose braces the arrow belongs; ``None``: outside of the root.

    An arrow between the regions of a parallel state belongs outside it: inside, it would end one region.
    """
    scope = source.parent
    while scope is not None and not (is_descendant(target, scope) and scope.type != "parallel"):
        scope = scope.parent
    return scope


def _transitions(node: StateNode) -> Iterator[Transition]:
    for transitions in node.on.values():
        yield from transitions
    yield from node.always


def _title(node: StateNode) -> str:
    if node.type == "history":
        return f"{node.key} (H*)" if node.history == "deep" else f"{node.key} (H)"
    return node.key


def _label(transition: Transition) -> str:
    parts = [_trigger(transition)]
    if transition.guard is not None:
        parts.append(f"[{_named(transition.guard.name, transition.guard.params)}]")
    actions = _actions(transition.actions)
    if actions:
        parts.append(f"/ {actions}")
    if not transition.is_acceptable:
        parts.append("(forbidden)")
    elif transition.reenter:
        parts.append("(re-enters)")
    return " ".join(part for part in parts if part)


def _trigger(transition: Transition) -> str:
    event_type, owner = transition.event_type, f".{transition.source.id}"
    if event_type.startswith(_AFTER):
        delay = event_type.removeprefix(_AFTER).removesuffix(owner)
        return f"after {delay} ms" if re.fullmatch(r"[\d.]+", delay) else f"after {delay}"
    return "done" if event_type == _DONE + transition.source.id else event_type


def _actions(actions: tuple[Action, ...]) -> str:
    """The actions as the definition wrote them, without those that arm and disarm ``after`` timers."""
    return ", ".join(filter(None, map(_action, actions)))


def _action(action: Action) -> str:
    params = action.params or {}
    if action.kind in ("raise", "emit"):
        event_type: str = params["event"]["type"]
        return "" if event_type.startswith(_AFTER) else f"{action.kind} {event_type}"
    if action.kind == "cancel":
        timer: str = params["sendId"]
        return "" if timer.startswith(_AFTER) else f"cancel {timer}"
    return _named(action.type, action.params)


def _named(name: str, params: Mapping[str, Any] | None) -> str:
    if not params:
        return name
    shown = ", ".join(f"{key}={_value(value)}" for key, value in params.items())
    return f"{name}({_cut(shown)})"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _note(node: StateNode) -> list[str]:
    lines = _wrapped(node.description)
    for word, actions in (("entry", node.entry), ("exit", node.exit)):
        listed = _actions(actions)
        if listed:
            lines.append(f"{word} / {listed}")
    if node.tags:
        lines.append(f"tags: {', '.join(node.tags)}")
    if isinstance(node.meta, Mapping):
        lines += [f"{key}: {_cut(_value(value))}" for key, value in node.meta.items()]
    elif node.meta is not None:
        lines.append(_cut(_value(node.meta)))
    # The one phrase that ends a note, which is read up to it.
    return [
        re.sub("end note", "en#100; note", _escaped(line, _ENTITIES), flags=re.IGNORECASE) for line in lines
    ]


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < _WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _escaped(text: str, entities: Mapping[str, str] = _ENTITIES_OF_LABELS) -> str:
    """The text in one line, with the characters that Mermaid would take for its own as entities."""
    return "".join(entities.get(character, character) for character in " ".join(text.split()))
