"""What a snapshot would allow, and why an event is refused."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import InvalidEvent, allowed_events, can, explain, initial_macrostep, macrostep


def start(config, implementations=None, **more):
    machine = build_machine(config, implementations, **more)
    return machine, initial_macrostep(machine, now_ms=0).snapshot


GUARDS = {
    "guards": {
        "yes": "true",
        "no": "false",
        "fails": "1 / 0 == 1",
        "paid": "event.amount > 0",
        "notPaid": {"not": "paid"},
        "notYes": {"not": "yes"},
        "paidAndYes": {"and": ["paid", "yes"]},
        "paidAndNo": {"and": ["paid", "no"]},
        "yesOrPaid": {"or": ["yes", "paid"]},
        "noOrPaid": {"or": ["no", "paid"]},
        "paidAndFails": {"and": ["paid", "fails"]},
        "failsAndPaid": {"and": ["fails", "paid"]},
        "late": "now > timestamp('2020-01-01T00:00:00Z')",
        "type": "event.type == 'E'",
    }
}


def one_candidate(**transition):
    return {"id": "m", "initial": "a", "states": {"a": {"on": {"E": transition}}, "b": {}}}


@pytest.mark.parametrize(
    ("guard", "allowed"),
    [
        ("yes", True),
        ("no", False),
        ("fails", False),
        ("nobody", False),
        ("paid", True),
        ("notPaid", True),
        ("notYes", False),
        ("paidAndYes", True),
        ("paidAndNo", False),
        ("yesOrPaid", True),
        ("noOrPaid", True),
        ("paidAndFails", True),
        ("failsAndPaid", False),
        ("type", True),
    ],
)
def test_an_event_is_allowed_when_some_payload_might_be_accepted(guard, allowed):
    """A11."""
    machine, snapshot = start(one_candidate(guard=guard, target="b"), GUARDS)
    assert allowed_events(machine, snapshot, now_ms=0) == (["E"] if allowed else [])


def test_guards_see_the_instant_of_the_question():
    machine, snapshot = start(one_candidate(guard="late", target="b"), GUARDS)
    assert allowed_events(machine, snapshot, now_ms=0) == []
    assert allowed_events(machine, snapshot, now_ms=1_700_000_000_000) == ["E"]


@pytest.mark.parametrize(
    ("candidates", "allowed"),
    [
        ([{}], False),
        ([{"guard": "paid"}, {"target": "b"}], True),
        ([{"guard": "paid"}, {"guard": "no", "target": "b"}], False),
        ([{"guard": "yes"}, {"target": "b"}], False),
        ([{"guard": "fails"}, {"target": "b"}], False),
        ([{"guard": "paid", "target": "b"}, {"guard": "fails"}], True),
        ([{"target": ""}], False),
        ([{"actions": "fx"}], True),
    ],
)
def test_candidates_are_considered_in_order(candidates, allowed):
    machine, snapshot = start(one_candidate_list(candidates), GUARDS)
    assert allowed_events(machine, snapshot, now_ms=0) == (["E"] if allowed else [])


def one_candidate_list(candidates):
    return {"id": "m", "initial": "a", "states": {"a": {"on": {"E": candidates}}, "b": {}}}


def parallel(first, second, root=()):
    return {
        "type": "parallel",
        "on": {"E": list(root)},
        "states": {
            "r": {"initial": "x", "states": {"x": {"on": {"E": first}}, "y": {}}},
            "s": {"initial": "x", "states": {"x": {"on": {"E": second}}, "y": {}}},
        },
    }


FIRES = {"target": "y"}
INERT = {"guard": "paid"}


@pytest.mark.parametrize(
    ("first", "second", "root", "allowed"),
    [
        (FIRES, {}, [], True),
        ({}, {}, [], False),
        ({"guard": "no"}, {"guard": "no"}, [{"actions": "fx"}], True),
        (INERT, INERT, [{"actions": "fx"}], True),
        ({}, INERT, [{"actions": "fx"}], False),
        ({"guard": "fails"}, FIRES, [], False),
        (INERT, {}, [], False),
        ({"guard": "no"}, {"guard": "no"}, [], False),
    ],
)
def test_regions_are_considered_together(first, second, root, allowed):
    machine, snapshot = start(parallel(first, second, root), GUARDS)
    assert allowed_events(machine, snapshot, now_ms=0) == (["E"] if allowed else [])


def test_types_of_the_schema_count_when_a_wildcard_matches_them():
    machine, snapshot = start(
        {"initial": "a", "states": {"a": {"on": {"order.*": {"target": "a"}, "STOP": "b"}}, "b": {}}}
    )
    types = ["order.paid", "order", "other", "xstate.order"]
    assert allowed_events(machine, snapshot, types, now_ms=0) == ["STOP", "order", "order.paid"]


def test_internal_types_are_never_listed():
    machine, snapshot = start(
        {"initial": "a", "states": {"a": {"on": {"*": "a", "xstate.done.actor.x": "a"}}}}
    )
    assert allowed_events(machine, snapshot, now_ms=0) == []
    assert allowed_events(machine, snapshot, ["E"], now_ms=0) == ["E"]


@pytest.mark.parametrize(
    ("guard", "allowed"), [("yes", True), ("no", False), ("type", True), ("paid", True), ("fails", False)]
)
def test_an_eventless_transition_that_may_fire_makes_an_event_allowed(guard, allowed):
    config = {
        "initial": "start",
        "states": {
            "start": {"on": {"GO": "a"}},
            "a": {"on": {"E": {}, "F": {"guard": "no"}}, "always": {"guard": guard, "target": "b"}},
            "b": {},
        },
    }
    machine = build_machine(config, GUARDS)
    node = machine.by_id["(machine).a"]
    configuration = machine.configurations.intern((machine.root, node))
    snapshot = initial_macrostep(machine, now_ms=0).snapshot._replace(configuration=configuration)
    types = allowed_events(machine, snapshot, now_ms=0)
    assert ("E" in types) is allowed
    assert ("F" in types) is (allowed and guard != "type")


COUNTED = {
    "context": {"n": 0},
    "initial": "a",
    "states": {
        "a": {
            "on": {
                "ADD": {"actions": "add"},
                "FEW": {"guard": "few", "target": "b"},
                "MANY": {"guard": {"type": "many"}, "target": "b"},
                "PAID": {"guard": "paid", "target": "b"},
                "HERE": {"guard": "here", "target": "b"},
                "NONE": {},
            }
        },
        "b": {},
    },
}
COUNTING = {
    "guards": {
        **GUARDS["guards"],
        "few": "context.n < 1",
        "many": {"and": ["here", "several"]},
        "several": "context.n >= 1",
        "here": {"stateIn": "#(machine).a"},
    },
    "actions": {"add": {"assign": {"n": "context.n + 1"}}},
}


def test_what_is_remembered_of_a_configuration_does_not_outlive_the_context_it_depends_on():
    """A11: the context counts, and the answer is sorted and stable."""
    machine, before = start(COUNTED, COUNTING)
    after = macrostep(machine, before, {"type": "ADD"}, now_ms=0).snapshot
    assert before.configuration is after.configuration
    for _ in range(2):
        assert allowed_events(machine, before, now_ms=0) == ["ADD", "FEW", "HERE", "PAID"]
        assert allowed_events(machine, after, now_ms=0) == ["ADD", "HERE", "MANY", "PAID"]


ALWAYS = {
    "context": {"n": 0},
    "initial": "a",
    "states": {
        "a": {
            "on": {"ADD": {"actions": "add"}, "IDLE": {}, "ALSO": {"guard": "fails", "target": "b"}},
            "always": {"guard": "guarded", "target": "b"},
        },
        "b": {},
    },
}


@pytest.mark.parametrize(
    ("guard", "before", "after"),
    [
        ("context.n > 0", ["ADD"], ["ADD", "IDLE", "OTHER"]),
        ("context.n > 0 && event.type == 'IDLE'", ["ADD"], ["ADD", "IDLE"]),
        ({"stateIn": "#(machine).a"}, ["ADD", "IDLE", "OTHER"], ["ADD", "IDLE", "OTHER"]),
    ],
)
def test_eventless_transitions_are_asked_once_unless_they_know_the_type(guard, before, after):
    implementations = {"guards": {**COUNTING["guards"], "guarded": guard}, "actions": COUNTING["actions"]}
    machine = build_machine(ALWAYS, implementations)
    configuration = machine.configurations.intern((machine.root, machine.by_id["(machine).a"]))
    snapshot = initial_macrostep(
        build_machine({**ALWAYS, "states": {"a": {}, "b": {}}}, implementations), now_ms=0
    ).snapshot._replace(configuration=configuration)
    for n, expected in ((0, before), (1, after), (0, before)):
        asked = snapshot._replace(context={"n": n})
        assert allowed_events(machine, asked, ("OTHER",), now_ms=0) == expected


def test_what_is_remembered_is_given_to_one_caller_at_a_time():
    machine, snapshot = start(one_candidate(target="b"))
    allowed_events(machine, snapshot, now_ms=0).append("mine")
    assert allowed_events(machine, snapshot, now_ms=0) == ["E"]


def test_what_is_remembered_is_for_the_types_it_was_asked_with():
    machine, snapshot = start({"initial": "a", "states": {"a": {"on": {"*": "a"}}}})
    for types in (("A",), ("B", "A"), ["B"], (), ("A",)):
        assert allowed_events(machine, snapshot, types, now_ms=0) == sorted(types)


def test_what_is_remembered_counts_and_is_forgotten_with_the_rest():
    machine, snapshot = start({"initial": "a", "states": {"a": {"on": {"*": "a"}}}})
    table = machine.configurations
    types = tuple(f"E{number}" for number in range(table.limit))
    before = table.size
    assert len(allowed_events(machine, snapshot, types, now_ms=0)) == table.limit
    assert table.size > before + table.limit
    assert snapshot.configuration.allowed is not None
    table.intern((machine.root,))
    assert snapshot.configuration.allowed is None
    assert table.size == 1


def test_nothing_is_allowed_once_the_machine_is_done():
    machine, snapshot = start(
        {"initial": "z", "on": {"E": {"actions": "fx"}}, "states": {"z": {"type": "final"}}}
    )
    assert allowed_events(machine, snapshot, now_ms=0) == []
    assert not can(machine, snapshot, "E", now_ms=0)
    assert explain(machine, snapshot, {"type": "E"}, now_ms=0) == []


def test_can_asks_without_payload():
    machine, snapshot = start(one_candidate(guard="paid", target="b"), GUARDS)
    assert not can(machine, snapshot, "E", now_ms=0)
    machine, snapshot = start(one_candidate(target="b"))
    assert can(machine, snapshot, "E", now_ms=0)
    assert not can(machine, snapshot, "UNKNOWN", now_ms=0)


def test_can_works_without_expressions_too():
    machine, snapshot = start(one_candidate(actions="fx"))
    assert machine.make_budget is None
    assert can(machine, snapshot, "E", now_ms=0)
    assert explain(machine, snapshot, {"type": "E"}, now_ms=0)[0].passed


def test_explain_tells_what_every_guard_said():
    machine, snapshot = start(
        one_candidate_list(
            [
                {"guard": "fails", "target": "b"},
                {"guard": {"type": "paid", "params": {"k": 1}}, "target": "b"},
                {"guard": "paidAndYes", "target": "b"},
                {"actions": "fx"},
                {"target": "b"},
            ]
        ),
        GUARDS,
    )
    verdicts = explain(machine, snapshot, {"type": "E", "amount": 0}, now_ms=0)
    assert [(verdict.guard, verdict.passed) for verdict in verdicts] == [
        ("fails", None),
        ("paid", False),
        ("paidAndYes", False),
        ("", True),
    ]
    assert verdicts[0].error
    assert verdicts[1].params == {"k": 1}
    assert verdicts[2].members == (("paid", False), ("yes", True))
    assert (verdicts[3].state, verdicts[3].event_type, verdicts[3].targets) == ("m.a", "E", ())


def test_explain_goes_through_the_regions_and_then_outwards():
    machine, snapshot = start(parallel({"guard": "no"}, {"guard": "no"}, [{"guard": "no"}]), GUARDS)
    states = [verdict.state for verdict in explain(machine, snapshot, {"type": "E"}, now_ms=0)]
    assert states == ["(machine).r.x", "(machine).s.x", "(machine)"]
    machine, snapshot = start(parallel(FIRES, {"guard": "no"}, [{"guard": "no"}]), GUARDS)
    states = [verdict.state for verdict in explain(machine, snapshot, {"type": "E"}, now_ms=0)]
    assert states == ["(machine).r.x", "(machine).s.x"]


def test_explain_of_an_event_nobody_names_is_empty():
    machine, snapshot = start(one_candidate(target="b"))
    assert explain(machine, snapshot, {"type": "UNKNOWN"}, now_ms=0) == []
    with pytest.raises(InvalidEvent):
        explain(machine, snapshot, {}, now_ms=0)


def test_what_is_allowed_agrees_with_what_is_accepted():
    machine, snapshot = start(parallel(FIRES, {"guard": "paid", "target": "y"}), GUARDS)
    for event in ("E", "UNKNOWN"):
        accepted = macrostep(machine, snapshot, {"type": event, "amount": 1}, now_ms=0).accepted
        assert (event in allowed_events(machine, snapshot, ["UNKNOWN"], now_ms=0)) is accepted
