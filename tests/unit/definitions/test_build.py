"""Building machines: what is refused, where, and what else is said about it."""

import pytest

from durachart.definitions.build import build_machine, compile_machine
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.report import MAX_FINDINGS
from durachart.definitions.states import javascript_order
from durachart.definitions.targets import split_path
from durachart.definitions.transitions import delay_of_key


def findings(machine, implementations=None, **paths):
    built, found = compile_machine(machine, implementations, **paths)
    assert (built is None) is any(finding.severity == "error" for finding in found)
    return [(finding.code, finding.path) for finding in found]


def with_a(**state):
    return {"id": "m", "initial": "a", "states": {"a": state, "b": {}}}


def on(transition):
    return with_a(on={"E": transition})


@pytest.mark.parametrize(
    ("machine", "code", "path"),
    [
        ([], "machine_not_object", ""),
        ({"id": 5}, "id_not_string", "/id"),
        ({"states": []}, "states_not_object", "/states"),
        ({"states": [1]}, "states_not_object", "/states"),
        ({"initial": "a", "states": {"a": None}}, "state_not_object", "/states/a"),
        ({"states": {"a": {}}}, "initial_missing", ""),
        ({"type": "compound"}, "initial_missing", ""),
        ({"initial": "b", "states": {"a": {}}}, "initial_not_found", "/initial"),
        ({"initial": {"target": ["a"]}, "states": {"a": {}}}, "initial_not_found", "/initial"),
        (with_a(initial="x"), "initial_not_found", "/states/a/initial"),
        (with_a(type="widget"), "type_unknown", "/states/a/type"),
        (with_a(type=7), "type_unknown", "/states/a/type"),
        ({"type": "history"}, "type_unknown", "/type"),
        (with_a(id="m.b"), "id_duplicate", "/states/b"),
        ({"initial": "a", "states": {"a": {"id": "k"}, "b": {"id": "k"}}}, "id_duplicate", "/states/b/id"),
        (with_a(tags=[1]), "tags_malformed", "/states/a/tags"),
        (with_a(on=[]), "on_not_object", "/states/a/on"),
        (with_a(on=["E"]), "on_not_object", "/states/a/on"),
        (with_a(on={"": "b"}), "event_type_empty", "/states/a/on/"),
        (on(None), "transition_malformed", "/states/a/on/E"),
        (on(["b", 5]), "transition_malformed", "/states/a/on/E/1"),
        (on({"target": 5}), "target_not_string", "/states/a/on/E/target"),
        (on({"target": ["b", ""]}), "target_not_string", "/states/a/on/E/target"),
        (on({"target": ["b", "c"]}), "target_not_found", "/states/a/on/E/target/1"),
        (on("#nobody"), "target_not_found", "/states/a/on/E"),
        (on(".x"), "target_not_found", "/states/a/on/E"),
        ({"on": {"a/b~c": "x"}}, "target_not_from_root", "/on/a~1b~0c"),
        (on({"reenter": "yes"}), "reenter_not_boolean", "/states/a/on/E/reenter"),
        (on({"guard": 5}), "guard_malformed", "/states/a/on/E/guard"),
        (on({"guard": {"type": "g", "params": 5}}), "params_not_object", "/states/a/on/E/guard/params"),
        (on({"actions": [{}]}), "action_malformed", "/states/a/on/E/actions/0"),
        (with_a(entry=""), "action_malformed", "/states/a/entry"),
        (with_a(exit={"type": "x", "params": []}), "params_not_object", "/states/a/exit/params"),
        (with_a(after=["x"]), "after_not_object", "/states/a/after"),
        (with_a(after={"10": "nope"}), "target_not_found", "/states/a/after/10"),
        (with_a(after={"10": [{"guard": "g"}, "b"]}), "after_target_ignored", "/states/a/after/10/1"),
        (with_a(always="nope"), "target_not_found", "/states/a/always"),
        (with_a(invoke=5), "invoke_malformed", "/states/a/invoke"),
        (with_a(invoke=[{"src": "x"}, {"id": "y"}]), "invoke_malformed", "/states/a/invoke/1"),
        (with_a(invoke={"src": "x", "id": 5}), "invoke_malformed", "/states/a/invoke"),
        ({"context": [1]}, "context_not_object", "/context"),
        (with_a(type="history", target="nope"), "target_not_found", "/states/a/target"),
        (with_a(type="history", target=5), "target_not_string", "/states/a/target"),
        (with_a(type="history", target="#nope"), "target_not_found", "/states/a/target"),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_place(machine, code, path):
    assert findings(machine, machine_path="") == [(code, path)]


def builtin(name, **params):
    return with_a(entry={"type": name, "params": params})


@pytest.mark.parametrize(
    "machine",
    [
        builtin("xstate.raise", event="E"),
        builtin("xstate.raise", event={}),
        builtin("xstate.raise", event={"type": "*"}),
        builtin("xstate.raise", event={"type": "E"}, delay=True),
        builtin("xstate.raise", event={"type": "E"}, delay=[]),
        builtin("xstate.raise", event={"type": "E"}, id=5),
        builtin("xstate.cancel"),
        builtin("xstate.emit", event=[]),
        with_a(entry="xstate.raise"),
    ],
)
def test_built_in_actions_need_their_parameters(machine):
    assert findings(machine) == [("action_malformed", "/machine/states/a/entry/params")]


@pytest.mark.parametrize(
    ("implementations", "code", "path"),
    [
        ([], "implementation_malformed", ""),
        ({"guards": []}, "implementation_malformed", "/guards"),
        ({"guards": {"g": 5}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"and": "x"}}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"or": [1]}}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"not": ["x"]}}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"xor": []}}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"and": [], "or": []}}}, "implementation_malformed", "/guards/g"),
        ({"guards": {"g": {"stateIn": 5}}}, "implementation_malformed", "/guards/g/stateIn"),
        ({"guards": {"g": {"stateIn": {"a": 5}}}}, "implementation_malformed", "/guards/g/stateIn"),
        ({"guards": {"g": {"stateIn": "#nope"}}}, "target_not_found", "/guards/g/stateIn"),
        ({"guards": {"g": "1 +"}}, "expression_invalid", "/guards/g"),
        ({"guards": {"g": "'text'"}}, "expression_invalid", "/guards/g"),
        ({"actions": {"x": {"assign": {"k": "1 +"}}}}, "expression_invalid", "/actions/x/assign/k"),
        ({"actions": {"x": {"assign": {"k": 1}}}}, "implementation_malformed", "/actions/x/assign/k"),
        ({"actions": {"x": {"assign": 1}}}, "implementation_malformed", "/actions/x"),
        ({"actions": {"x": {"assign": {}, "params": {}}}}, "implementation_malformed", "/actions/x"),
        ({"actions": {"x": {"params": {"k": ")"}}}}, "expression_invalid", "/actions/x/params/k"),
        ({"delays": {"d": True}}, "implementation_malformed", "/delays/d"),
        ({"delays": {"d": "1 +"}}, "expression_invalid", "/delays/d"),
        ({"context": {"k": 1}}, "implementation_malformed", "/context/k"),
        ({"context": {"k": "event.x"}}, "expression_invalid", "/context/k"),
        ({"outputs": {"m": 1}}, "implementation_malformed", "/outputs/m"),
        ({"outputs": {"m": "1 +"}}, "expression_invalid", "/outputs/m"),
        ({"outputs": {"m": {"k": "1 +"}}}, "expression_invalid", "/outputs/m/k"),
        ({"outputs": {"m.c": "1"}}, "output_of_unknown_state", "/outputs/m.c"),
        ({"guards": {"g": {"not": "g"}}}, "guard_circular", "/guards/g"),
    ],
)
def test_implementations_that_mean_nothing_are_refused_used_or_not(implementations, code, path):
    assert findings(with_a(), implementations, implementations_path="") == [(code, path)]


def test_a_circle_of_guards_is_found_wherever_it_is_entered():
    guards = {"a": {"and": ["t", "b"]}, "b": {"or": ["c", "t"]}, "c": {"not": "a"}, "t": "true"}
    ((code, _),) = findings(with_a(), {"guards": guards})
    assert code == "guard_circular"


def test_guards_compose_to_a_limit():
    chain = {f"g{index}": {"not": f"g{index + 1}"} for index in range(63)} | {"g63": "true"}
    assert findings(on({"guard": "g0", "target": "b"}), {"guards": chain}) == []
    longer = {"g-1": {"not": "g0"}, **chain}
    assert findings(with_a(), {"guards": longer}) == [
        ("guard_nested_too_deeply", "/implementations/guards/g-1")
    ]


def test_a_shared_member_is_no_circle():
    guards = {"g": {"and": ["h", "t", "t"]}, "h": {"or": ["t", "t"]}, "t": "true"}
    assert findings(with_a(), {"guards": guards}) == []


def test_all_problems_are_told_at_once_in_order():
    machine = {
        "initial": "nope",
        "states": {
            "a": {"on": {"E": "x", "F": {"target": "y", "actions": 5}}},
            "b": {"states": {"c": {}}},
        },
    }
    assert findings(machine, {"guards": {"g": "("}}) == [
        ("expression_invalid", "/implementations/guards/g"),
        ("initial_not_found", "/machine/initial"),
        ("target_not_found", "/machine/states/a/on/E"),
        ("target_not_found", "/machine/states/a/on/F/target"),
        ("action_malformed", "/machine/states/a/on/F/actions"),
        ("initial_missing", "/machine/states/b"),
    ]


def test_the_error_shows_its_findings_and_counts_the_rest():
    states = {f"s{index}": {"on": {"E": "nope"}} for index in range(30)}
    with pytest.raises(DefinitionInvalid) as caught:
        build_machine({"initial": "s0", "states": states})
    assert len(caught.value.findings) == 30
    assert "the definition has 30 problems" in str(caught.value)
    assert "and 10 more" in str(caught.value)


def test_findings_are_bounded_and_keep_an_error():
    transitions = [{"guard": "g"}, "b"] * (MAX_FINDINGS + 10)
    machine = with_a(after={"10": transitions}, always="nope")
    found = findings(machine)
    assert len(found) == MAX_FINDINGS
    assert found[-1] == ("target_not_found", "/machine/states/a/always")


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("sumitted", "did you mean `submitted`?"),
        ("#ordr", "did you mean `order`?"),
        ("#x.y", "an id is read up to its first dot; write '#x\\.y'"),
    ],
)
def test_a_hint_names_what_was_probably_meant(target, hint):
    machine = {
        "id": "order",
        "initial": "draft",
        "states": {"draft": {"on": {"E": target}}, "submitted": {}, "z": {"id": "x.y"}},
    }
    _, found = compile_machine(machine)
    assert found[0].hint == hint


def test_a_target_with_an_escaped_dot_finds_its_state():
    machine = build_machine(
        {"initial": "a", "states": {"a": {"on": {"E": "#x\\.y", "F": "b\\.c"}}, "b.c": {"id": "x.y"}}}
    )
    on_a = machine.by_id["(machine).a"].on
    assert [on_a[event][0].targets[0].id for event in ("E", "F")] == ["x.y", "x.y"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a", ["a"]),
        ("a.b", ["a", "b"]),
        ("a\\.b.c", ["a.b", "c"]),
        (".a", ["", "a"]),
        ("a\\", ["a"]),
        ("", [""]),
    ],
)
def test_paths_are_split_at_dots(path, names):
    assert split_path(path) == names


def test_an_empty_name_ends_a_path():
    machine = build_machine(
        {
            "initial": "a",
            "states": {"a": {"on": {"E": "b.", "F": "."}}, "b": {"initial": "c", "states": {"c": {}}}},
        }
    )
    on_a = machine.by_id["(machine).a"].on
    assert [on_a[event][0].targets[0].key for event in ("E", "F")] == ["b", "a"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1000", 1000),
        ("1e3", 1000),
        (" 5 ", 5),
        ("", 0),
        (".5", 0.5),
        ("-5", -5),
        ("1e300", 1e300),
        ("wait", None),
        ("1_000", None),
        ("0x10", None),
        ("NaN", None),
    ],
)
def test_a_delay_key_is_a_number_or_a_name(key, expected):
    assert delay_of_key(key) == expected


def test_keys_are_iterated_as_javascript_does():
    assert javascript_order(["b", "10", "a", "2", "01", "-1", "4294967295"]) == [
        "2",
        "10",
        "b",
        "a",
        "01",
        "-1",
        "4294967295",
    ]


def test_ids_default_to_the_path_from_the_machines_id():
    machine = build_machine(
        {"id": "m", "initial": "a", "states": {"a": {"id": "own", "initial": "b", "states": {"b": {}}}}}
    )
    assert [node.id for node in machine.nodes] == ["m", "own", "m.a.b"]
    assert build_machine({}).id == "(machine)"
    assert build_machine({"id": ""}).id == "(machine)"


@pytest.mark.parametrize(
    "states",
    [
        {"h": {"type": "history"}, "x": {}},
        {"h": {"history": True}, "x": {}},
        {
            "h": {"type": "history", "target": "x.y"},
            "x": {"initial": "k", "states": {"k": {"type": "history", "target": "#p.h"}, "y": {}}},
        },
        {"h": {"type": "history", "target": "#p"}, "x": {}},
    ],
)
def test_a_start_that_leads_back_to_itself_is_refused(states):
    machine = {"initial": "p", "states": {"p": {"id": "p", "initial": "h", "states": states}}}
    assert [code for code, _ in findings(machine)] == ["default_entry_circular"]


def test_a_history_state_that_starts_its_parent_is_no_circle():
    machine = {
        "initial": "p",
        "states": {"p": {"initial": "x", "states": {"h": {"type": "history"}, "x": {}}}},
    }
    assert findings(machine) == []
    parallel = {"type": "parallel", "states": {"h": {"type": "history"}, "x": {}}}
    assert findings(parallel) == []


def test_a_chain_of_defaults_has_a_limit():
    states = {
        f"s{index}": {
            "initial": "h",
            "states": {"h": {"type": "history", "target": f"#(machine).s{index + 1}"}, "x": {}},
        }
        for index in range(150)
    }
    machine = {"initial": "s0", "states": {**states, "s150": {}}}
    assert [code for code, _ in findings(machine)] == ["default_entry_too_long"]


def test_context_that_is_null_is_no_context():
    assert build_machine({"context": None}).context == {}
