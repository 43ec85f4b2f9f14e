"""Transitions and actions of each state, read from its config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from durachart.definitions.implementations import Implementations
from durachart.definitions.report import Report
from durachart.definitions.states import StateSource, is_given, javascript_order, kind_of, pointer_below
from durachart.definitions.targets import Targets
from durachart.engine import actions
from durachart.engine.actions import Action
from durachart.engine.guards import Guard
from durachart.engine.model import WILDCARD, Evaluate, StateNode, Transition, is_wildcard
from durachart.engine.snapshot import MISSING

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LARGEST_EXACT = 2**53


def delay_of_key(key: str) -> float | None:
    """The milliseconds that an ``after`` key stands for; ``None``: it is a name."""
    text = key.strip()
    if not text:
        return 0
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return int(number) if abs(number) <= _LARGEST_EXACT and number.is_integer() else number


class TransitionReader:
    """Reads what states do, once all states are known.

    Attributes:
        targets: Resolves targets.
        implementations: Compiles what is named.
        report: Receives the problems.
        event_types: The ``on`` keys seen so far.
    """

    def __init__(self, targets: Targets, implementations: Implementations, report: Report) -> None:
        self.targets = targets
        self.implementations = implementations
        self.report = report
        self.event_types: set[str] = set()
        self._shared: dict[tuple[str, str | None], Action] = {}

    def read(self, source: StateSource) -> None:
        """Complete one state: its actions, transitions, start, default and output."""
        node, config, path = source.node, source.config, source.path
        node.entry = self._actions(config.get("entry"), pointer_below(path, "entry"), owner=node.id)
        node.exit = self._actions(config.get("exit"), pointer_below(path, "exit"))
        node.tags = self._tags(config.get("tags"), pointer_below(path, "tags"))
        node.meta = config.get("meta")
        node.description = _text(config.get("description"))
        self._read_initial(source)
        self._read_history(source)
        self._read_output(source)
        on: dict[str, tuple[Transition, ...]] = {}
        self._read_on(source, on)
        self._read_done(source, on)
        self._read_invokes(source, on)
        self._read_after(source, on)
        node.on = on
        wildcards = [descriptor for descriptor in on if is_wildcard(descriptor)]
        wildcards.sort(key=len, reverse=True)
        node.wildcards = tuple((descriptor, on[descriptor]) for descriptor in wildcards)
        always = config.get("always")
        if is_given(always):
            node.always = self._transitions(node, "", always, pointer_below(path, "always"))

    # --- where a state starts and ends ---------------------------------------------------------------------

    def _read_initial(self, source: StateSource) -> None:
        node, config, path = source.node, source.config, source.path
        initial = config.get("initial")
        place = pointer_below(path, "initial")
        if not is_given(initial):
            if node.type == "compound":
                first = next(iter(node.children), None)
                hint = f"try `initial: {first!r}`" if first else "a compound state needs states to be in"
                self.report.error(
                    "initial_missing", path, f"compound state {node.id!r} does not say where it starts", hint
                )
            return
        key = initial.get("target") if isinstance(initial, Mapping) else initial
        target = node.children.get(key) if isinstance(key, str) else None
        if target is None:
            self.report.error(
                "initial_not_found",
                place,
                f"state {node.id!r} has no child {key!r} to start in",
                self.report.suggest(key, node.children)
                if isinstance(key, str)
                else "name one of its children",
            )
            return
        node.initial = target
        if isinstance(initial, Mapping):
            node.initial_actions = self._actions(initial.get("actions"), pointer_below(place, "actions"))

    def _read_history(self, source: StateSource) -> None:
        node, config = source.node, source.config
        if node.type != "history":
            return
        node.history = "deep" if config.get("history") == "deep" else "shallow"
        target = config.get("target")
        if target is None or target == "":
            return
        path = pointer_below(source.path, "target")
        found = [
            self.targets.of_history(node, name, place) for name, place in self._target_names(target, path)
        ]
        node.default_targets = tuple(state for state in found if state is not None)

    def _read_output(self, source: StateSource) -> None:
        node, config = source.node, source.config
        if node.type != "final" and node.parent is not None:
            return
        node.output = self.implementations.output(node.id)
        if node.output is None and "output" in config:
            node.output = _constant(config["output"])

    def _tags(self, tags: object, path: str) -> tuple[str, ...]:
        if tags is None:
            return ()
        names = tags if isinstance(tags, list) else [tags]
        if not all(isinstance(name, str) for name in names):
            self.report.error("tags_malformed", path, "tags must be a string or a list of strings")
            return ()
        return tuple(names)

    # --- transitions ---------------------------------------------------------------------------------------

    def _read_on(self, source: StateSource, on: dict[str, tuple[Transition, ...]]) -> None:
        node, path = source.node, pointer_below(source.path, "on")
        declared = source.config.get("on")
        if not is_given(declared):
            return
        if not isinstance(declared, Mapping):
            self.report.error(
                "on_not_object", path, f"`on` must be an object by event type, not {kind_of(declared)}"
            )
            return
        for descriptor in javascript_order(declared):
            place = pointer_below(path, descriptor)
            if descriptor == "":
                self.report.error(
                    "event_type_empty", place, "an event type must not be empty", "use `always` instead"
                )
                continue
            self.event_types.add(descriptor)
            on[descriptor] = self._transitions(node, descriptor, declared[descriptor], place)

    def _read_done(self, source: StateSource, on: dict[str, tuple[Transition, ...]]) -> None:
        declared = source.config.get("onDone")
        if is_given(declared):
            descriptor = f"xstate.done.state.{source.node.id}"
            path = pointer_below(source.path, "onDone")
            on[descriptor] = self._transitions(source.node, descriptor, declared, path)

    def _read_invokes(self, source: StateSource, on: dict[str, tuple[Transition, ...]]) -> None:
        node, declared = source.node, source.config.get("invoke")
        if declared is None:
            return
        path = pointer_below(source.path, "invoke")
        listed = isinstance(declared, list)
        spawns, stops = [], []
        for index, invoke in enumerate(declared if listed else [declared]):
            place = pointer_below(path, index) if listed else path
            actor_source = invoke.get("src") if isinstance(invoke, Mapping) else None
            actor_id = f"{index}.{node.id}"
            if isinstance(invoke, Mapping) and invoke.get("id") is not None:
                actor_id = invoke["id"]
            if not isinstance(actor_source, str) or not isinstance(actor_id, str):
                self.report.error(
                    "invoke_malformed", place, "an invoke needs a string `src`; its `id` is a string"
                )
                continue
            spawns.append(actions.spawn_child(actor_id, actor_source, invoke.get("input", MISSING), node.id))
            stops.append(actions.stop_child(actor_id))
            for key, descriptor in (
                ("onDone", f"xstate.done.actor.{actor_id}"),
                ("onError", f"xstate.error.actor.{actor_id}"),
                ("onSnapshot", f"xstate.snapshot.{actor_id}"),
            ):
                if is_given(invoke.get(key)):
                    on[descriptor] = self._transitions(
                        node, descriptor, invoke[key], pointer_below(place, key)
                    )
        node.spawns, node.stops = tuple(spawns), tuple(stops)

    def _read_after(self, source: StateSource, on: dict[str, tuple[Transition, ...]]) -> None:
        node, declared = source.node, source.config.get("after")
        if not is_given(declared):
            return
        path = pointer_below(source.path, "after")
        if not isinstance(declared, Mapping):
            self.report.error(
                "after_not_object", path, f"`after` must be an object by delay, not {kind_of(declared)}"
            )
            return
        arms, disarms = [], []
        for key in javascript_order(declared):
            milliseconds = delay_of_key(key)
            descriptor = f"xstate.after.{key if milliseconds is None else milliseconds}.{node.id}"
            delay = self.implementations.delay(key) if milliseconds is None else milliseconds
            event, name = {"type": descriptor}, f"xstate.after.{key}"
            if delay is None:
                arms.append(actions.raise_event(event, name))
            else:
                arms.append(actions.raise_later(event, delay, descriptor, node.id, name))
            disarms.append(actions.cancel(descriptor))
            transitions = self._delayed(node, descriptor, declared[key], pointer_below(path, key))
            on[descriptor] = on.get(descriptor, ()) + transitions
        node.entry += tuple(arms)
        node.exit += tuple(disarms)

    def _delayed(
        self, node: StateNode, descriptor: str, declared: object, path: str
    ) -> tuple[Transition, ...]:
        if isinstance(declared, list):
            for index, candidate in enumerate(declared):
                if isinstance(candidate, str):
                    self.report.warning(
                        "after_target_ignored",
                        pointer_below(path, index),
                        f"the target {candidate!r} is ignored: a string in a list under `after` does nothing",
                        f"write `{{target: {candidate!r}}}`",
                    )
            declared = [{} if isinstance(candidate, str) else candidate for candidate in declared]
        return self._transitions(node, descriptor, declared, path)

    def _transitions(
        self, node: StateNode, descriptor: str, declared: object, path: str
    ) -> tuple[Transition, ...]:
        if isinstance(declared, list):
            read = [
                self._transition(node, descriptor, candidate, pointer_below(path, index))
                for index, candidate in enumerate(declared)
            ]
        else:
            read = [self._transition(node, descriptor, declared, path)]
        return tuple(transition for transition in read if transition is not None)

    def _transition(self, node: StateNode, descriptor: str, declared: object, path: str) -> Transition | None:
        if isinstance(declared, str):
            targets = self._targets(node, declared, path)
            return Transition(node, descriptor, targets, None, ())
        if not isinstance(declared, Mapping):
            self.report.error(
                "transition_malformed",
                path,
                f"a transition is a target, an object or a list of these, not {kind_of(declared)}",
                "write `{}` to forbid the event here",
            )
            return None
        targets = None
        if "target" in declared:
            targets = self._targets(node, declared["target"], pointer_below(path, "target"))
        reenter = declared.get("reenter", False)
        if not isinstance(reenter, bool):
            self.report.error(
                "reenter_not_boolean", pointer_below(path, "reenter"), "`reenter` is true or false"
            )
        return Transition(
            node,
            descriptor,
            targets,
            self._guard(declared.get("guard"), pointer_below(path, "guard")),
            self._actions(declared.get("actions"), pointer_below(path, "actions")),
            bool(reenter),
            _text(declared.get("description")),
            declared.get("meta"),
        )

    def _targets(self, node: StateNode, declared: object, path: str) -> tuple[StateNode, ...] | None:
        if declared == "":
            return None
        found = [
            self.targets.of_transition(node, name, place)
            for name, place in self._target_names(declared, path)
        ]
        return tuple(target for target in found if target is not None)

    def _target_names(self, declared: object, path: str) -> Iterable[tuple[str, str]]:
        if isinstance(declared, str):
            return [(declared, path)]
        if isinstance(declared, list) and all(isinstance(name, str) and name for name in declared):
            return [(name, pointer_below(path, index)) for index, name in enumerate(declared)]
        self.report.error(
            "target_not_string", path, f"a target is a string or a list of strings, not {kind_of(declared)}"
        )
        return []

    def _guard(self, declared: object, path: str) -> Guard | None:
        if declared is None:
            return None
        name, params = self._named(declared, path, "guard")
        if name is None:
            return None
        guard = self.implementations.guard(name, self.targets)
        if params is None:
            return guard
        return Guard(
            guard.name,
            guard.kind,
            params,
            guard.evaluate,
            guard.members,
            guard.is_active,
            guard.reads_event,
        )

    # --- actions -------------------------------------------------------------------------------------------

    def _actions(self, declared: object, path: str, *, owner: str | None = None) -> tuple[Action, ...]:
        if declared is None:
            return ()
        read = []
        listed = isinstance(declared, list)
        for index, action in enumerate(declared if isinstance(declared, list) else [declared]):
            place = pointer_below(path, index) if listed else path
            name, params = self._named(action, place, "action")
            if name is not None:
                read.append(self._action(name, params, place, owner))
        return tuple(action for action in read if action is not None)

    def _named(self, declared: object, path: str, what: str) -> tuple[str | None, Mapping[str, Any] | None]:
        """Name and parameters of a guard or an action; no name once reported."""
        if isinstance(declared, str) and declared:
            return declared, None
        if isinstance(declared, Mapping) and isinstance(declared.get("type"), str) and declared["type"]:
            params = declared.get("params")
            if params is None or isinstance(params, Mapping):
                return declared["type"], params
            self.report.error(
                "params_not_object",
                pointer_below(path, "params"),
                f"the parameters of {what} {declared['type']!r} must be an object, not {kind_of(params)}",
            )
            return None, None
        self.report.error(
            f"{what}_malformed", path, f"a {what} is a name or `{{type, params}}`, not {kind_of(declared)}"
        )
        return None, None

    def _action(
        self, name: str, params: Mapping[str, Any] | None, path: str, owner: str | None
    ) -> Action | None:
        if name == "xstate.raise":
            return self._raise(params or {}, path)
        if name == "xstate.cancel":
            timer_id = (params or {}).get("sendId")
            if isinstance(timer_id, str):
                return actions.cancel(timer_id)
            self._builtin_malformed(path, name, "`params.sendId`, a string")
            return None
        if name == "xstate.emit":
            event = self._event(params or {}, path, name)
            return None if event is None else actions.emit(event, owner)
        if params is not None:
            return self._named_action(name, params, owner)
        shared = self._shared.get((name, owner))
        if shared is None:
            shared = self._shared[name, owner] = self._named_action(name, None, owner)
        return shared

    def _named_action(self, name: str, params: Mapping[str, Any] | None, owner: str | None) -> Action:
        body = self.implementations.action(name)
        if body is None:
            return actions.effect(name, params, (), owner)
        if body.call is not None:
            return actions.update(name, body.call, params)
        if body.assign is not None:
            return actions.assign(name, body.assign, params)
        return actions.effect(name, params, body.params, owner)

    def _raise(self, params: Mapping[str, Any], path: str) -> Action | None:
        event = self._event(params, path, "xstate.raise")
        timer_id, delay = params.get("id"), params.get("delay")
        if timer_id is not None and not isinstance(timer_id, str):
            self._builtin_malformed(path, "xstate.raise", "`params.id`, a string, if it has an id")
        if isinstance(delay, bool) or not isinstance(delay, (int, float, str, type(None))):
            self._builtin_malformed(
                path, "xstate.raise", "`params.delay`, milliseconds or a delay's name, if it has a delay"
            )
            return None
        if event is None:
            return None
        resolved: float | Evaluate | None = (
            self.implementations.delay(delay) if isinstance(delay, str) else delay
        )
        if resolved is None:
            return actions.raise_event(event)
        return actions.raise_later(event, resolved, timer_id, None)

    def _event(self, params: Mapping[str, Any], path: str, name: str) -> dict[str, Any] | None:
        event = params.get("event")
        if (
            isinstance(event, dict)
            and isinstance(event.get("type"), str)
            and event["type"] not in ("", WILDCARD)
        ):
            return event
        self._builtin_malformed(path, name, "`params.event`, an object with a `type`")
        return None

    def _builtin_malformed(self, path: str, name: str, wanted: str) -> None:
        self.report.error("action_malformed", pointer_below(path, "params"), f"`{name}` needs {wanted}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _constant(value: Any) -> Evaluate:
    return lambda *_: value
