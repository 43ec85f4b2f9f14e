"""The keys and shapes of a machine config: unknown keys, words of XState v4, actors, what may stand where.

Everything here is refused at publish because XState either ignores it in silence or would run it where no
runtime of ours could make it durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from durachart.definitions.findings import pointer
from durachart.definitions.report import Report
from durachart.definitions.states import kind_of
from durachart.definitions.uses import Candidate, State, listed

STATE_KEYS: Final = (
    "id",
    "initial",
    "type",
    "states",
    "on",
    "always",
    "after",
    "onDone",
    "entry",
    "exit",
    "history",
    "target",
    "output",
    "tags",
    "meta",
    "description",
)
ROOT_KEYS: Final = (*STATE_KEYS, "context", "version")
TRANSITION_KEYS: Final = ("target", "guard", "actions", "reenter", "description", "meta")
_ONLY_HISTORY: Final = frozenset({"history", "target"})
_NOT_HISTORY: Final = frozenset(STATE_KEYS) - {"id", "type", "history", "target", "meta", "description"}

_EFFECT_HINT: Final = (
    "ask for the work with an action that has an entry in `effects`; "
    "its `done` and `failed` events bring the answer"
)
_V4_STATE: Final = {
    "activities": _EFFECT_HINT,
    "data": "XState v5 calls it `output`",
    "delimiter": "XState v5 has no such setting; paths are split at dots",
    "onEntry": "write `entry`",
    "onExit": "write `exit`",
    "parallel": 'write `"type": "parallel"`',
    "predictableActionArguments": "XState v5 always behaves like that; leave it out",
    "preserveActionOrder": "XState v5 always behaves like that; leave it out",
    "schema": "schemas stand beside the machine, in `schemas`",
    "services": _EFFECT_HINT,
    "strict": "an event that no state handles is refused in any case; leave it out",
    "tsTypes": "types come from `schemas`; leave it out",
}
_V4_TRANSITION: Final = {
    "cond": "XState v5 calls it `guard`",
    "in": 'put `{"stateIn": …}` under `implementations.guards` and name it as the `guard`',
    "internal": "XState v5 says `reenter: true` for what was `internal: false`; leave it out otherwise",
}
_BESIDE: Final = {
    "guards": "`implementations.guards`, beside `machine`",
    "actions": "`implementations.actions`, beside `machine`",
    "delays": "`implementations.delays`, beside `machine`",
    "actors": "`effects`, beside `machine`",
    "implementations": "the document, beside `machine`",
    "schemas": "the document, beside `machine`",
    "effects": "the document, beside `machine`",
}
_ACTOR_ACTIONS: Final = frozenset(
    {"sendTo", "sendParent", "forwardTo", "spawnChild", "spawn", "stopChild", "stop", "respond", "escalate"}
)
_LIST_HINT: Final = "list the actions, each on a transition with its guard"
_CODE_ACTIONS: Final = {
    "assign": 'put `{"assign": {key: CEL}}` under `implementations.actions` and use its name',
    "choose": _LIST_HINT,
    "enqueueActions": _LIST_HINT,
    "log": "use an action of your own: every action is in the journal",
    "pure": _LIST_HINT,
    "send": "raise an event with `xstate.raise`, or ask for work with an effect",
}
BUILT_INS: Final[Mapping[str, tuple[str, ...]]] = {
    "xstate.raise": ("event", "id", "delay"),
    "xstate.cancel": ("sendId",),
    "xstate.emit": ("event",),
}
"""Actions of XState's own that JSON can carry, and the parameters of each."""


def is_foreign(action: str) -> bool:
    """Whether an action's name is one of XState's that a machine here cannot use, and that is no effect."""
    bare = action.removeprefix("xstate.")
    return bare in _ACTOR_ACTIONS or bare in _CODE_ACTIONS or (action != bare and action not in BUILT_INS)


def check_shapes(states: Iterable[State], named: frozenset[str], report: Report) -> None:
    """Report what is wrong with the keys and shapes of every state.

    Args:
        states: Every state, the root first.
        named: Action types that the document implements or has effects for; these are never taken for
            built-ins.
        report: Receives the problems.
    """
    for state in states:
        _check_keys(state, report)
        _check_kind(state, report)
        _check_texts(state, report)
        for candidate in state.candidates:
            _check_candidate(candidate, named, report)
        for slot in ("entry", "exit"):
            _check_actions(state.config.get(slot), f"{state.path}/{slot}", named, report)
        _check_initial(state, named, report)


def _check_keys(state: State, report: Report) -> None:
    known = ROOT_KEYS if state.node.parent is None else STATE_KEYS
    for key in state.config:
        if key in known:
            continue
        code, message, hint = "unknown_key", f"a state has no key {key!r}", report.suggest(key, known)
        if key == "invoke":
            code, hint = "invoke_unsupported", _EFFECT_HINT
            message = "a machine is pure: actors cannot be invoked from it"
        elif key in _V4_STATE:
            code, message, hint = "v4_key", f"`{key}` is not a key of XState v5", _V4_STATE[key]
        elif key in ROOT_KEYS:
            hint = "it belongs to the root of the machine"
        elif key in TRANSITION_KEYS:
            message, hint = f"`{key}` belongs to a transition", "move it into `on`, `always` or `after`"
        elif key in _BESIDE:
            message, hint = f"`{key}` does not belong inside the machine", f"put it into {_BESIDE[key]}"
        report.error(code, state.path + pointer(key), message, hint)


def _check_kind(state: State, report: Report) -> None:
    """What a state of its kind may hold; XState ignores all of it in silence."""
    config, path = state.config, state.path
    written = config.get("type")
    has_children = bool(config.get("states"))
    if written in ("atomic", "final") and has_children:
        message = f"a state of type `{written}` has no children"
        report.error("children_not_allowed", path + "/states", message, "leave `type` out")
    if written in ("parallel", "compound") and not has_children:
        message = f"a {written} state needs children"
        report.error("children_missing", path, message, "add `states`, or leave `type` out")
    if "initial" in config and (written in ("parallel", "final", "history") or not has_children):
        what = "a state without children" if written in (None, "atomic", "compound") else f"a {written} state"
        report.error("initial_not_allowed", path + "/initial", f"{what} has no `initial`", "leave it out")
    is_history = state.node.type == "history"
    for key in config:
        place = path + pointer(key)
        if is_history and key in _NOT_HISTORY:
            hint = "it only leads to the states of its parent"
            report.error("history_key", place, f"a history node has no `{key}`", hint)
        if not is_history and key in _ONLY_HISTORY:
            report.error(
                "history_key", place, f"`{key}` belongs to a history node", 'add `"type": "history"`'
            )
    if is_history and config.get("history", "shallow") not in ("shallow", "deep"):
        report.error("history_kind", path + "/history", "a history node is `shallow` or `deep`")


def _check_texts(state: State, report: Report) -> None:
    for key in ("description", "version"):
        value = state.config.get(key, "")
        if not isinstance(value, str):
            path = state.path + pointer(key)
            report.error("text_expected", path, f"`{key}` must be a string, not {kind_of(value)}")


def _check_candidate(candidate: Candidate, named: frozenset[str], report: Report) -> None:
    config, path = candidate.config, candidate.path
    if not isinstance(config, dict):
        return
    for key in config:
        if key in _V4_TRANSITION:
            hint = _V4_TRANSITION[key]
            report.error("v4_key", path + pointer(key), f"`{key}` is not a key of XState v5", hint)
        elif key not in TRANSITION_KEYS:
            hint = report.suggest(key, TRANSITION_KEYS) or f"the keys are {', '.join(TRANSITION_KEYS)}"
            report.error("unknown_key", path + pointer(key), f"a transition has no key {key!r}", hint)
    if not isinstance(config.get("description", ""), str):
        report.error("text_expected", path + "/description", "`description` must be a string")
    guard = config.get("guard")
    if isinstance(guard, dict):
        _check_members(
            guard,
            path + "/guard",
            "a guard",
            'and, or, not and stateIn stand under `implementations.guards`, for example {"and": ["a", "b"]}',
            report,
        )
    _check_actions(config.get("actions"), path + "/actions", named, report)


def _check_members(use: dict[str, Any], path: str, what: str, hint: str, report: Report) -> None:
    for key in use:
        if key not in ("type", "params"):
            report.error("unknown_key", path + pointer(key), f"{what} has no key {key!r}", hint)


def _check_actions(value: object, path: str, named: frozenset[str], report: Report) -> None:
    for place, action in listed(value, path):
        name = action.get("type") if isinstance(action, dict) else action
        if isinstance(action, dict):
            _check_members(action, place, "an action", "arguments stand in `params`", report)
        if not isinstance(name, str):
            continue
        if name in BUILT_INS:
            _check_built_in(name, action.get("params") if isinstance(action, dict) else None, place, report)
        elif name not in named:
            _check_action_name(name, place, report)


def _check_action_name(name: str, path: str, report: Report) -> None:
    bare = name.removeprefix("xstate.")
    if bare in _ACTOR_ACTIONS:
        message = f"`{name}` speaks to an actor, and a machine here has none"
        report.error("actor_unsupported", path, message, _EFFECT_HINT)
    elif bare in _CODE_ACTIONS:
        message = f"`{name}` is code in XState and cannot stand in JSON"
        report.error("action_unsupported", path, message, _CODE_ACTIONS[bare])
    elif name != bare:
        hint = report.suggest(name, BUILT_INS) or f"the built-ins are {', '.join(BUILT_INS)}"
        report.error("action_unsupported", path, f"`{name}` is no built-in action here", hint)


def _check_built_in(name: str, params: object, path: str, report: Report) -> None:
    if not isinstance(params, dict):
        return
    known = BUILT_INS[name]
    for key in params:
        if key not in known:
            place = f"{path}/params{pointer(key)}"
            report.error(
                "unknown_key", place, f"`{name}` has no parameter {key!r}", report.suggest(key, known)
            )
    event = params.get("event")
    event_type = event.get("type") if isinstance(event, dict) else None
    if isinstance(event_type, str) and "*" in event_type.split("."):
        place = path + "/params/event/type"
        report.error("event_invalid", place, "a wildcard is no event", "name one event")


def _check_initial(state: State, named: frozenset[str], report: Report) -> None:
    initial = state.config.get("initial")
    if not isinstance(initial, dict):
        return
    for key in initial:
        if key not in ("target", "actions"):
            place = f"{state.path}/initial{pointer(key)}"
            message = f"`initial` has no key {key!r}"
            report.error("unknown_key", place, message, "it has `target` and `actions`")
    _check_actions(initial.get("actions"), state.path + "/initial/actions", named, report)
