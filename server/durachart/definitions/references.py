"""What the machine names and what the document has: guards, actions, delays, effects, in both directions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from durachart.definitions.document import MAX_KEY_LENGTH
from durachart.definitions.effect_spec import OUTCOMES, EffectSpec
from durachart.definitions.findings import pointer
from durachart.definitions.implementations import Plugins
from durachart.definitions.names import delay_problem
from durachart.definitions.report import Report
from durachart.definitions.shapes import BUILT_INS, is_foreign
from durachart.definitions.transitions import delay_of_key
from durachart.definitions.uses import State, Use
from durachart.engine.model import WILDCARD, is_wildcard

SECTIONS: Final = ("guards", "actions", "delays", "context", "outputs")
_INLINE: Final = {
    "and": 'put `{"and": [names]}` under `implementations.guards` and use its name',
    "or": 'put `{"or": [names]}` under `implementations.guards` and use its name',
    "not": 'put `{"not": name}` under `implementations.guards` and use its name',
    "stateIn": 'put `{"stateIn": "#id"}` under `implementations.guards` and use its name',
}


class References:
    """Checks the names of one definition.

    Args:
        states: Every state, the root first.
        implementations: The section as written.
        path: JSON pointer of that section.
        effects: The effects that could be read, by action type.
        effects_path: JSON pointer of their section.
        plugins: Trusted implementations; ``None``: there are none.
        report: Receives the problems.
    """

    def __init__(
        self,
        states: Sequence[State],
        implementations: Mapping[str, Any],
        path: str,
        effects: Mapping[str, EffectSpec],
        effects_path: str,
        plugins: Plugins | None,
        report: Report,
    ) -> None:
        self.states = states
        self.path = path
        self.effects = effects
        self.effects_path = effects_path
        self.report = report
        self.sections = implementations
        self.guards = self._section("guards")
        self.actions = self._section("actions")
        self.delays = self._section("delays")
        self.plugin_guards = {} if plugins is None else plugins.guards
        self.plugin_actions = {} if plugins is None else plugins.actions
        self.plugin_delays = {} if plugins is None else plugins.delays
        # Made once: there may be as many problems as names.
        self._guard_names = (*self.guards, *self.plugin_guards)
        self._action_names = (*self.actions, *self.plugin_actions, *effects)
        self._delay_names = (*self.delays, *self.plugin_delays)
        self.used_guards: set[str] = set()
        self.used_actions: set[str] = set()
        self.used_delays: set[str] = set()
        self._without_handler: set[str] = set()

    def check(self) -> None:
        """Report what is missing, what is never used, and effects that fit nothing."""
        self._check_sections()
        for state in self.states:
            for use in state.guards:
                self._check_guard_use(use)
            for use in state.actions:
                self._check_action_use(use)
            self._check_delay_uses(state)
        self._check_members()
        self._check_unused()
        self._check_effects()

    def find_plugin_uses(self) -> frozenset[tuple[str, str]]:
        """The names the machine uses that are not in the document but in a plug-in, each with its kind."""
        self.check()
        return frozenset(
            (kind, name)
            for kind, used, written, supplied in (
                ("guard", self.used_guards, self.guards, self.plugin_guards),
                ("action", self.used_actions, self.actions, self.plugin_actions),
                ("delay", self.used_delays, self.delays, self.plugin_delays),
            )
            for name in used
            if name not in written and name in supplied
        )

    def find_unimplemented(self) -> list[str]:
        """What neither the document nor a plug-in implements, by kind and name, for a message."""
        self.check()
        actions = {
            name
            for name in self.used_actions
            if name not in self.effects and name not in BUILT_INS and not is_foreign(name)
        }
        return [
            f"{kind} {name!r}"
            for kind, used, written, supplied in (
                ("guard", self.used_guards, self.guards, self.plugin_guards),
                ("action", actions, self.actions, self.plugin_actions),
                ("delay", self.used_delays, self.delays, self.plugin_delays),
            )
            for name in sorted(used)
            if name not in written and name not in supplied
        ]

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.sections.get(name)
        return section if isinstance(section, Mapping) else {}

    def _check_sections(self) -> None:
        for key in self.sections:
            if key == "actors":
                self.report.error(
                    "invoke_unsupported",
                    self.path + "/actors",
                    "a machine is pure: actors are not run",
                    "describe the work in `effects`",
                )
            elif key not in SECTIONS:
                hint = self.report.suggest(key, SECTIONS) or f"the keys are {', '.join(SECTIONS)}"
                self.report.error(
                    "unknown_key", self.path + pointer(key), f"`implementations` has no key {key!r}", hint
                )

    # --- what is used --------------------------------------------------------------------------------------

    def _check_guard_use(self, use: Use) -> None:
        self.used_guards.add(use.name)
        if use.name in self.guards or use.name in self.plugin_guards:
            return
        hint = _INLINE.get(use.name) or self.report.suggest(use.name, self._guard_names)
        self.report.error(
            "guard_missing",
            use.path,
            f"guard {use.name!r} has no implementation",
            hint or f"add it to {self._where('guards')}",
        )

    def _check_action_use(self, use: Use) -> None:
        self.used_actions.add(use.name)
        if use.name == "xstate.raise":
            delay = (use.params or {}).get("delay")
            if isinstance(delay, str):
                self._check_delay_name(delay, use.path + "/params/delay")
            elif problem := delay_problem(delay):
                self.report.error("delay_invalid", use.path + "/params/delay", problem)
            return
        if use.name in self.effects or use.name in BUILT_INS:
            return
        if use.name in self.plugin_actions or self._assigns(use.name) or use.name in self._without_handler:
            return
        if use.name not in self.actions and is_foreign(use.name):
            return
        self._without_handler.add(use.name)
        self.report.warning(
            "effect_without_handler",
            use.path,
            f"action {use.name!r} has no entry in `effects`: it is journaled and shown to watchers, "
            "and nobody runs it",
            self.report.suggest(use.name, self._action_names)
            or "add it to `effects`, if somebody is to run it",
        )

    def _assigns(self, action: str) -> bool:
        implementation = self.actions.get(action)
        return isinstance(implementation, Mapping) and "assign" in implementation

    def _check_delay_uses(self, state: State) -> None:
        after = state.config.get("after")
        if isinstance(after, Mapping):
            for key in after:
                if delay_of_key(key) is None:
                    self._check_delay_name(key, f"{state.path}/after{pointer(key)}")

    def _check_delay_name(self, name: str, path: str) -> None:
        self.used_delays.add(name)
        if name in self.delays or name in self.plugin_delays:
            return
        hint = self.report.suggest(name, self._delay_names)
        self.report.error(
            "delay_missing",
            path,
            f"delay {name!r} is neither a number of milliseconds nor implemented",
            hint or f"add it to {self._where('delays')}",
        )

    def _where(self, section: str) -> str:
        return f"`implementations.{section}`"

    # --- what is implemented -------------------------------------------------------------------------------

    def _check_members(self) -> None:
        for name, source in self.guards.items():
            for path, member in _members(source, f"{self.path}/guards{pointer(name)}"):
                self.used_guards.add(member)
                if member not in self.guards and member not in self.plugin_guards:
                    hint = self.report.suggest(member, self._guard_names)
                    self.report.error("guard_missing", path, f"guard {member!r} has no implementation", hint)

    def _check_unused(self) -> None:
        for section, names, used in (
            ("guards", self.guards, self.used_guards),
            ("actions", self.actions, self.used_actions),
            ("delays", self.delays, self.used_delays),
        ):
            known = sorted(used - names.keys())
            for name in names:
                if name not in used:
                    self.report.warning(
                        "implementation_unused",
                        f"{self.path}/{section}{pointer(name)}",
                        f"the machine never uses {name!r}",
                        self.report.suggest(name, known),
                    )
        for name, delay in self.delays.items():
            if problem := delay_problem(delay):
                self.report.error("delay_invalid", f"{self.path}/delays{pointer(name)}", problem)

    # --- effects -------------------------------------------------------------------------------------------

    def _check_effects(self) -> None:
        descriptors = {
            candidate.descriptor
            for state in self.states
            for candidate in state.candidates
            if candidate.slot == "on"
        }
        wildcards = {name for name in descriptors if is_wildcard(name)}
        used, handled = sorted(self.used_actions), sorted(descriptors)
        for action, spec in self.effects.items():
            path = self.effects_path + pointer(action)
            if action in BUILT_INS or action in self.plugin_actions or self._assigns(action):
                message = f"{action!r} is run inside the step, so it is no effect"
                self.report.error("effect_of_assign", path, message, "give the effect another name")
            elif action not in self.used_actions:
                hint = self.report.suggest(action, used)
                self.report.warning("effect_unused", path, f"no state uses the action {action!r}", hint)
            for outcome in OUTCOMES:
                event = getattr(spec, outcome)
                if event is None or event in descriptors or _matches(event, wildcards):
                    continue
                if outcome == "rejected" and event == spec.failed:
                    continue
                self.report.error(
                    "effect_event_unhandled",
                    f"{path}/{outcome}",
                    f"no state handles {event!r}, which the end of this effect sends",
                    self.report.suggest(event, handled) or "leave the key out to send no event",
                )


def _members(source: object, path: str) -> Iterator[tuple[str, str]]:
    """The guards a composite is made of, with their places."""
    if not isinstance(source, Mapping):
        return
    for operator, members in source.items():
        if operator == "not" and isinstance(members, str):
            yield f"{path}/not", members
        elif operator in ("and", "or") and isinstance(members, list):
            for index, member in enumerate(members):
                if isinstance(member, str):
                    yield f"{path}/{operator}/{index}", member


def _matches(event: str, wildcards: Collection[str]) -> bool:
    """Whether one of the wildcard descriptors matches; asked for each prefix, since there may be many."""
    if WILDCARD in wildcards:
        return True
    tokens = event.split(".", MAX_KEY_LENGTH)  # no descriptor has more
    return any(".".join([*tokens[:length], WILDCARD]) in wildcards for length in range(1, len(tokens) + 1))
