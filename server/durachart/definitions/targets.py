r"""Where a target string leads.

``#id`` and ``#id.child.path`` start at the state with that id, ``.child.path`` at the state that declares
the transition, anything else at that state's parent. Paths are split at dots; ``\.`` is a dot in a name.
"""

from __future__ import annotations

from collections.abc import Mapping

from durachart.definitions.report import Report
from durachart.engine.model import StateNode


def split_path(text: str) -> list[str]:
    """The names in a path; a backslash takes the next character as it is."""
    names = []
    name = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            name += next(characters, "")
        elif character == ".":
            names.append(name)
            name = ""
        else:
            name += character
    return [*names, name]


class Targets:
    """Resolves the targets of one machine and reports those that lead nowhere.

    Attributes:
        by_id: Every state by id.
        report: Receives the problems.
    """

    def __init__(self, by_id: Mapping[str, StateNode], report: Report) -> None:
        self.by_id = by_id
        self.report = report

    def of_transition(self, source: StateNode, target: str, path: str) -> StateNode | None:
        """The state a transition's target means; ``None`` once reported."""
        if target.startswith("#"):
            return self.by_reference(target, path)
        if target.startswith("."):
            return self._walk(source, split_path(target[1:]), target, path)
        if source.parent is None:
            self.report.error(
                "target_not_from_root",
                path,
                f"{target!r} names a sibling of the machine itself, which has none",
                f"write {'.' + target!r} for a child",
            )
            return None
        return self._walk(source.parent, split_path(target), target, path)

    def of_history(self, history: StateNode, target: str, path: str) -> StateNode | None:
        """The state a history node's default means, relative to its parent; ``None`` once reported."""
        if target.startswith("#"):
            return self.by_reference(target, path)
        assert history.parent is not None
        return self._walk(history.parent, split_path(target), target, path)

    def by_reference(self, target: str, path: str) -> StateNode | None:
        """The state that ``#id`` or ``#id.child`` means; ``None`` once reported."""
        name, *below = split_path(target)
        start = self.by_id.get(name[1:])
        if start is not None:
            return self._walk(start, below, target, path)
        whole = target[1:]
        hint = (
            f"an id is read up to its first dot; write '#{whole.replace('.', chr(92) + '.')}'"
            if whole in self.by_id
            else self.report.suggest(name[1:], self.by_id)
        )
        self.report.error("target_not_found", path, f"no state has the id {name[1:]!r}", hint)
        return None

    def _walk(self, start: StateNode, names: list[str], target: str, path: str) -> StateNode | None:
        node = start
        for name in names:
            if not name:
                break  # as in XState, an empty name ends the path
            child = node.children.get(name)
            if child is None:
                self.report.error(
                    "target_not_found",
                    path,
                    f"{target!r} leads nowhere: state {node.id!r} has no child {name!r}",
                    self.report.suggest(name, node.children),
                )
                return None
            node = child
        return node
