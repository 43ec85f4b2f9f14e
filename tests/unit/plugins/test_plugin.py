"""Plug-ins collect implementations by name; clashes are refused, and answers are checked for their type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import EvaluationFailed, initial_macrostep, macrostep
from durachart.plugins import EffectCall, Plugin, Step
from durachart.plugins.collection import PluginCollection
from durachart.plugins.errors import PluginFailed, PluginsUnusable
from durachart.plugins.loading import load_plugins


def _collect(kind: str, answer: Callable[[Step], Any]) -> Callable[..., Any]:
    plugin = Plugin("shop", version="1")
    getattr(plugin, kind)("it")(answer)
    call: Callable[..., Any] = getattr(PluginCollection([plugin]), f"{kind}s")["it"]
    return lambda: call({"n": 1}, {"type": "GO"}, None, 5, None)


def test_decorators_take_the_functions_name_or_another() -> None:
    plugin = Plugin("shop", version="1")

    @plugin.guard
    def is_open(step: Step) -> bool:
        return True

    @plugin.guard("isShut")
    def shut(step: Step) -> bool:
        return not is_open(step)

    @plugin.effect("shop.call")
    async def call(effect: EffectCall) -> None: ...

    assert list(plugin.guards) == ["is_open", "isShut"]
    assert is_open(Step({}, {"type": "GO"}))
    assert plugin.effects["shop.call"] == (call, 16)


def test_an_implementation_that_cannot_be_one_is_refused_where_it_is_written() -> None:
    plugin = Plugin("shop", version="1")

    async def later(step: Any) -> bool:
        return True

    def now(call: Any) -> None: ...

    with pytest.raises(TypeError, match="a step does not wait"):
        plugin.guard(later)
    with pytest.raises(TypeError, match="must be an `async def`"):
        plugin.effect("shop.now")(now)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="is no name"):
        plugin.action("xstate.raise")(now)
    with pytest.raises(ValueError, match="is no name"):
        plugin.action("")(now)
    plugin.action("now")(now)
    with pytest.raises(ValueError, match="has two actions 'now'"):
        plugin.action("now")(now)
    with pytest.raises(ValueError, match="at least 1"):
        plugin.effect("shop.later", concurrency=0)
    with pytest.raises(ValueError, match="needs a name"):
        Plugin("")


@pytest.mark.parametrize(
    ("kind", "answer", "given"),
    [
        ("guard", True, True),
        ("action", {"n": 2}, {"n": 2}),
        ("action", None, {}),
        ("delay", 1.5, 1.5),
        ("delay", 0, 0),
        ("delay", timedelta(seconds=2), 2000),
    ],
)
def test_answers_of_the_right_type_are_taken(kind: str, answer: Any, given: Any) -> None:
    assert _collect(kind, lambda _: answer)() == given


@pytest.mark.parametrize(
    ("kind", "answer", "complaint"),
    [
        ("guard", 1, "gave int, not True or False"),
        ("guard", None, "gave NoneType, not True or False"),
        ("action", [1], "gave list, not keys of the context"),
        ("action", {"n": object()}, "gave what the context cannot hold: TypeError: object is no JSON"),
        (
            "action",
            {"n": float("nan")},
            "gave what the context cannot hold: ValueError: nan is no JSON number",
        ),
        ("delay", "soon", "gave str, not milliseconds or a timedelta"),
        ("delay", True, "gave bool, not milliseconds or a timedelta"),
        ("delay", -1, "gave -1 ms; a delay is finite and not negative"),
        ("delay", float("inf"), "gave inf ms; a delay is finite and not negative"),
    ],
)
def test_answers_of_another_type_are_failures_that_name_the_plugin(
    kind: str, answer: Any, complaint: str
) -> None:
    with pytest.raises(PluginFailed) as raised:
        _collect(kind, lambda _: answer)()
    assert str(raised.value) == f"{kind} 'it' of plug-in 'shop' {complaint}"


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even that fails")


def _raises(error: BaseException) -> Callable[[Step], Any]:
    def implementation(_: Step) -> Any:
        raise error

    return implementation


def _recurses(step: Step) -> Any:
    return _recurses(step)


def _writes(step: Any) -> Any:
    step.context["n"] = 2


@pytest.mark.parametrize("kind", ["guard", "action", "delay"])
@pytest.mark.parametrize(
    ("implementation", "complaint"),
    [
        (_raises(ValueError("no\nprice")), "raised ValueError: no price"),
        (_raises(KeyError()), "raised KeyError"),
        (_raises(_Speechless()), "raised _Speechless"),
        (_raises(ValueError("x" * 10_000)), f"raised ValueError: {'x' * 500}…"),
        (_raises(SystemExit(3)), "raised SystemExit: 3"),
        (_recurses, "raised RecursionError: maximum recursion depth exceeded"),
        (_writes, "raised TypeError: 'FrozenMapping' object does not support item assignment"),
    ],
)
def test_whatever_is_raised_is_a_failure_that_names_the_plugin(
    kind: str, implementation: Callable[[Step], Any], complaint: str
) -> None:
    with pytest.raises(PluginFailed) as raised:
        _collect(kind, implementation)()
    assert str(raised.value).startswith(f"{kind} 'it' of plug-in 'shop' {complaint}")


def test_a_step_with_a_failing_implementation_fails_and_names_it() -> None:
    plugin = Plugin("shop", version="1")
    plugin.guard("may")(_raises(ValueError("closed")))
    plugin.action("count")(lambda step: {"n": step.context["n"] + step.params["by"]})
    config = {
        "id": "m",
        "context": {"n": 1},
        "on": {
            "COUNT": {"actions": {"type": "count", "params": {"by": 2}}},
            "ASK": {"guard": "may", "actions": "count"},
        },
    }
    machine = build_machine(config, plugins=PluginCollection([plugin]))
    start = initial_macrostep(machine, now_ms=0).snapshot
    counted = macrostep(machine, start, {"type": "COUNT"}, now_ms=0).snapshot
    assert counted.context == {"n": 3}
    with pytest.raises(EvaluationFailed, match=r"guard 'may' of plug-in 'shop' raised ValueError: closed"):
        macrostep(machine, counted, {"type": "ASK"}, now_ms=0)
    assert counted.context == {"n": 3}


# --- together


def _plugin(name: str, version: str = "1", **implementations: str) -> Plugin:
    plugin = Plugin(name, version=version)
    for kind, implemented in implementations.items():
        getattr(plugin, kind)(implemented)(lambda _: True)
    return plugin


def test_a_name_two_plugins_implement_is_refused_with_both() -> None:
    with pytest.raises(PluginsUnusable) as raised:
        PluginCollection([_plugin("a", guard="isOpen"), _plugin("b", guard="isOpen")])
    assert str(raised.value) == (
        "the plug-ins 'a' and 'b' both have the guard 'isOpen'; rename it in one of them, or leave one out"
    )
    together = PluginCollection([_plugin("a", guard="isOpen"), _plugin("b", action="isOpen")])
    assert together.names == ("a", "b")


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(PluginsUnusable, match="two plug-ins are called 'a'"):
        PluginCollection([_plugin("a"), _plugin("a")])


def test_the_digest_covers_the_plugins_that_are_used_and_no_other() -> None:
    first = PluginCollection([_plugin("a", guard="g"), _plugin("b", action="x")])
    second = PluginCollection([_plugin("a", guard="g"), _plugin("b", "2", action="x")])
    assert first.digest_of([("guard", "g")]) == second.digest_of([("guard", "g")])
    assert first.digest_of([("guard", "g"), ("action", "x")]) != second.digest_of(
        [("guard", "g"), ("action", "x")]
    )
    assert first.digest_of([("guard", "unknown")]) == first.digest_of([])


# --- loading

SOURCE = """
from durachart.plugins import Plugin
plugin = Plugin("written")
@plugin.guard
def may(step):
    return {answer}
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module into a working directory of the test's own, to be imported by its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(name, None)
        return name

    return write


def test_a_module_in_the_working_directory_is_found(modules: Callable[[str, str], str]) -> None:
    plugins = load_plugins([modules("written_plugin", SOURCE.format(answer=True))])
    assert plugins.names == ("written",)
    assert plugins.guards["may"]({}, {"type": "GO"}, None, 0, None) is True


def test_without_a_version_the_source_is_what_counts(modules: Callable[[str, str], str]) -> None:
    used = [("guard", "may")]
    one = load_plugins([modules("first_source", SOURCE.format(answer=True))])
    same = load_plugins(["first_source"])
    other = load_plugins([modules("second_source", SOURCE.format(answer=False))])
    assert one.digest_of(used) == same.digest_of(used) != other.digest_of(used)


def test_a_module_named_twice_counts_once(modules: Callable[[str, str], str]) -> None:
    name = modules("named_twice", SOURCE.format(answer=True))
    assert load_plugins([name, name]).names == ("written",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def broken(", "SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_sentence(
    modules: Callable[[str, str], str], text: str, complaint: str
) -> None:
    with pytest.raises(PluginsUnusable) as raised:
        load_plugins([modules("broken_plugin", text)])
    said = str(raised.value)
    assert said.startswith(f"--plugins: the module 'broken_plugin' cannot be imported: {complaint}")
    assert "\n" not in said


def test_a_module_without_a_plugin_is_refused(modules: Callable[[str, str], str]) -> None:
    with pytest.raises(PluginsUnusable, match="--plugins empty_module has no plug-in in it"):
        load_plugins([modules("empty_module", "")])


def test_installed_packages_bring_theirs_by_entry_point(
    modules: Callable[[str, str], str], tmp_path: Path
) -> None:
    modules("installed_plugin", SOURCE.format(answer=True))
    info = tmp_path / "installed_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-plugin\nVersion: 1.0\n")
    points = info / "entry_points.txt"
    points.write_text("[durachart.plugins]\nmine = installed_plugin:plugin\n")
    sys.path.insert(0, str(tmp_path))
    assert load_plugins().names == ("written",)
    assert load_plugins(["installed_plugin"]).names == ("written",)
    points.write_text("[durachart.plugins]\nmine = installed_plugin:nothing\n")
    with pytest.raises(PluginsUnusable, match=r"the installed plug-in 'mine' \(installed_plugin:nothing\)"):
        load_plugins()
