"""The publish profile (A4, A11, A14): what it refuses, what it warns of, and how it says so."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from durachart.definitions.definition import check_definition
from durachart.definitions.findings import Finding

DATA = Path(__file__).parents[2] / "conformance" / "data"

TWO: dict[str, Any] = {
    "id": "m",
    "initial": "a",
    "states": {"a": {"on": {"GO": "b"}}, "b": {"on": {"BACK": "a"}, "tags": "end"}},
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def with_a(**changes: Any) -> dict[str, Any]:
    """The machine of two states with more in state ``a``."""
    machine = copy.deepcopy(TWO)
    machine["states"]["a"] |= changes
    return machine


def with_other(name: str, other: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The machine of two states with more in state ``a``, and another state."""
    machine = with_a(**changes)
    machine["states"][name] = other
    return machine


def found(document: Any, **options: Any) -> list[tuple[str, str]]:
    """Codes and places; places of the machine without ``/machine``."""
    return [
        (finding.code, finding.path.removeprefix("/machine"))
        for finding in check_definition(document, **options)
    ]


def findings_of(document: Any) -> list[Finding]:
    return check_definition(document)


# --- what XState refuses or takes in silence ---------------------------------------------------------------


@pytest.mark.parametrize("row", rows("rejects.jsonl"), ids=lambda row: row["id"])
def test_what_xstate_refuses_is_refused(row: dict[str, Any]) -> None:
    findings = findings_of({"machine": row["machine"]})
    errors = [finding for finding in findings if finding.severity == "error"]
    # The rows come without implementations, so a missing guard alone would refuse most of them.
    about = {finding.code for finding in errors} - {"guard_missing", "delay_missing", "machine_id_missing"}
    assert about or row["kind"] == "guard_missing_at_start"


@pytest.mark.parametrize("row", rows("accepted_but_suspicious.jsonl"), ids=lambda row: row["kind"])
def test_what_xstate_takes_although_nobody_can_mean_it_is_told(row: dict[str, Any]) -> None:
    codes = {finding.code for finding in findings_of({"machine": row["machine"]})} - {"machine_trivial"}
    assert codes & {
        "candidate_unreachable",
        "children_missing",
        "children_not_allowed",
        "delay_invalid",
        "delay_missing",
        "done_never",
        "final_with_transitions",
        "guard_missing",
        "history_kind",
        "history_of_root",
        "id_duplicate",
        "id_with_dot",
        "initial_not_allowed",
        "machine_id_missing",
        "state_key_invalid",
        "state_unreachable",
        "target_not_found",
        "target_not_string",
        "targets_conflict",
        "type_unknown",
        "unknown_key",
        "v4_key",
        "wildcard_misplaced",
    }


# --- one problem each --------------------------------------------------------------------------------------

ONE_PROBLEM: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("nothing wrong", TWO, []),
    ("no id", {**TWO, "id": None}, [("machine_id_missing", "")]),
    ("empty id", {**TWO, "id": ""}, [("machine_id_invalid", "/id")]),
    ("long id", {**TWO, "id": "m" * 129}, [("machine_id_invalid", "/id")]),
    ("control character in the id", {**TWO, "id": "a\nb"}, [("machine_id_invalid", "/id")]),
    ("unknown key", with_a(enttry="x"), [("unknown_key", "/states/a/enttry")]),
    ("context below the root", with_a(context={}), [("unknown_key", "/states/a/context")]),
    ("transition key on a state", with_a(guard="g"), [("unknown_key", "/states/a/guard")]),
    ("implementations inside", {**TWO, "guards": {}}, [("unknown_key", "/guards")]),
    ("effects inside", {**TWO, "effects": {}}, [("unknown_key", "/effects")]),
    ("version is text", {**TWO, "version": 2}, [("text_expected", "/version")]),
    ("description is text", with_a(description=["x"]), [("text_expected", "/states/a/description")]),
    ("data", with_a(data={}), [("v4_key", "/states/a/data")]),
    ("services", {**TWO, "services": {}}, [("v4_key", "/services")]),
    ("activities", with_a(activities="x"), [("v4_key", "/states/a/activities")]),
    ("strict", {**TWO, "strict": True}, [("v4_key", "/strict")]),
    ("invoke", with_a(invoke={"src": "fetch"}), [("invoke_unsupported", "/states/a/invoke")]),
    ("cond", with_a(on={"GO": {"target": "b", "cond": "g"}}), [("v4_key", "/states/a/on/GO/cond")]),
    ("in", with_a(on={"GO": {"target": "b", "in": "#m"}}), [("v4_key", "/states/a/on/GO/in")]),
    (
        "internal",
        with_a(on={"GO": {"target": "b", "internal": True}}),
        [("v4_key", "/states/a/on/GO/internal")],
    ),
    ("gaurd", with_a(on={"GO": {"target": "b", "gaurd": "g"}}), [("unknown_key", "/states/a/on/GO/gaurd")]),
    (
        "description of a transition",
        with_a(on={"GO": {"target": "b", "description": 5}}),
        [("text_expected", "/states/a/on/GO/description")],
    ),
    (
        "key of an action",
        with_a(entry={"type": "xstate.emit", "params": {"event": {"type": "E"}}, "delay": 5}),
        [("unknown_key", "/states/a/entry/delay")],
    ),
    (
        "parameter of a built-in",
        with_a(entry={"type": "xstate.raise", "params": {"event": {"type": "E"}, "dealy": 5}}),
        [("unknown_key", "/states/a/entry/params/dealy")],
    ),
    (
        "wildcard raised",
        with_a(entry={"type": "xstate.raise", "params": {"event": {"type": "a.*"}}}),
        [("event_invalid", "/states/a/entry/params/event/type")],
    ),
    ("sendTo", with_a(entry="sendTo"), [("actor_unsupported", "/states/a/entry")]),
    ("xstate.spawnChild", with_a(exit=["xstate.spawnChild"]), [("actor_unsupported", "/states/a/exit/0")]),
    ("assign in JSON", with_a(entry={"type": "assign"}), [("action_unsupported", "/states/a/entry")]),
    (
        "xstate.enqueueActions",
        with_a(entry="xstate.enqueueActions"),
        [("action_unsupported", "/states/a/entry")],
    ),
    ("unknown built-in", with_a(entry="xstate.rais"), [("action_unsupported", "/states/a/entry")]),
    (
        "key of initial",
        {**TWO, "initial": {"target": "a", "action": "x"}},
        [("unknown_key", "/initial/action")],
    ),
    (
        "atomic with children",
        with_a(type="atomic", initial="x", states={"x": {}}),
        [("children_not_allowed", "/states/a/states")],
    ),
    ("parallel without", with_a(type="parallel"), [("children_missing", "/states/a")]),
    (
        "parallel with initial",
        with_a(type="parallel", initial="x", states={"x": {}, "y": {}}),
        [("initial_not_allowed", "/states/a/initial")],
    ),
    ("history key on a state", with_a(target="b"), [("history_key", "/states/a/target")]),
    (
        "event on a history node",
        with_a(initial="x", states={"x": {"on": {"H": "h"}}, "h": {"type": "history", "tags": "t"}}),
        [("history_key", "/states/a/states/h/tags")],
    ),
    (
        "kind of history",
        with_a(initial="x", states={"x": {"on": {"H": "h"}}, "h": {"type": "history", "history": "medium"}}),
        [("history_kind", "/states/a/states/h/history")],
    ),
    (
        "dot in a key",
        {**with_other("c.d", {"on": {"X": "a"}}), "initial": "c.d"},
        [("state_key_invalid", "/states/c.d")],
    ),
    (
        "key that is a number",
        with_other("1", {}, on={"GO": "b", "ONE": "1"}),
        [("state_key_integer", "/states")],
    ),
    (
        "dot in an id",
        with_a(id="x.y"),
        [("id_with_dot", "/states/a/id")],
    ),
    (
        "wildcard in the middle",
        with_a(on={"GO": "b", "a.*.b": "b"}),
        [("wildcard_misplaced", "/states/a/on/a.*.b")],
    ),
    ("wildcard in a word", with_a(on={"GO": "b", "a*": "b"}), [("wildcard_misplaced", "/states/a/on/a*")]),
    (
        "long event type",
        with_a(on={"GO": "b", "E" * 257: "b"}),
        [("event_invalid", "/states/a/on/" + "E" * 257)],
    ),
    (
        "v4 event",
        with_a(on={"GO": "b", "done.state.m.a": "b"}),
        [("v4_event", "/states/a/on/done.state.m.a")],
    ),
    (
        "event nothing sends",
        with_a(on={"GO": "b", "xstate.x": "b"}),
        [("event_never_sent", "/states/a/on/xstate.x")],
    ),
    (
        "wildcard for events nothing sends",
        with_a(on={"GO": "b", "xstate.actor.*": "b"}),
        [("event_never_sent", "/states/a/on/xstate.actor.*")],
    ),
    ("negative delay", with_a(after={"-5": "b"}), [("delay_invalid", "/states/a/after/-5")]),
    ("no delay", with_a(after={"": "b"}), [("delay_invalid", "/states/a/after/")]),
    ("unknown delay", with_a(after={"soon": "b"}), [("delay_missing", "/states/a/after/soon")]),
    (
        "unknown delay of a raise",
        with_a(entry={"type": "xstate.raise", "params": {"event": {"type": "GO"}, "delay": "soon"}}),
        [("delay_missing", "/states/a/entry/params/delay")],
    ),
    (
        "negative delay of a raise",
        with_a(entry={"type": "xstate.raise", "params": {"event": {"type": "GO"}, "delay": -1}}),
        [("delay_invalid", "/states/a/entry/params/delay")],
    ),
    (
        "missing guard",
        with_a(on={"GO": {"target": "b", "guard": "g"}}),
        [("guard_missing", "/states/a/on/GO/guard")],
    ),
    ("action nobody runs", with_a(entry=["mail", "mail"]), [("effect_without_handler", "/states/a/entry/0")]),
    (
        "final that seems to be left",
        with_other("f", {"type": "final", "on": {"X": "a"}}, on={"GO": "b", "END": "f"}),
        [("final_with_transitions", "/states/f/on")],
    ),
    (
        "unreachable",
        with_other("c", {"initial": "d", "states": {"d": {}}}),
        [("state_unreachable", "/states/c")],
    ),
    ("never done", with_a(initial="x", states={"x": {}}, onDone="b"), [("done_never", "/states/a/onDone")]),
    (
        "second candidate",
        with_a(on={"GO": ["b", {"target": "a"}]}),
        [("candidate_unreachable", "/states/a/on/GO/1")],
    ),
    (
        "history of the root",
        {**TWO, "on": {"H": ".h"}, "states": TWO["states"] | {"h": {"type": "history"}}},
        [("history_of_root", "/states/h")],
    ),
    (
        "history nobody uses",
        with_a(initial="x", states={"x": {}, "h": {"type": "history"}}),
        [("history_unused", "/states/a/states/h")],
    ),
    (
        "conflicting targets",
        with_a(on={"GO": {"target": ["b", "a"]}}),
        [("targets_conflict", "/states/a/on/GO/target")],
    ),
    ("endless start", with_other("b", {"always": "a"}, always="b"), [("start_endless", "")]),
]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [(machine, expected) for _, machine, expected in ONE_PROBLEM],
    ids=[name for name, _, _ in ONE_PROBLEM],
)
def test_machine_with_one_problem_has_one_finding(machine: Any, expected: list[tuple[str, str]]) -> None:
    if machine.get("id", "") is None:
        machine = {key: value for key, value in machine.items() if key != "id"}
    assert found({"machine": machine}) == expected


def document(machine: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {"machine": machine, **sections}


GUARDED = with_a(on={"GO": {"target": "b", "guard": "g", "actions": "act"}})
GUARDED_IMPLEMENTATIONS = {"guards": {"g": "true"}, "actions": {"act": {"assign": {"n": "1"}}}}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, []),
        ({"extra": 1}, [("unknown_key", "/extra")]),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"gaurds": {}}},
            [("unknown_key", "/implementations/gaurds")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"actors": {}}},
            [("invoke_unsupported", "/implementations/actors")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"delays": {"d": -1}}},
            [
                ("delay_invalid", "/implementations/delays/d"),
                ("implementation_unused", "/implementations/delays/d"),
            ],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"guards": {"g": {"and": ["x"]}}}},
            [("guard_missing", "/implementations/guards/g/and/0")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"guards": {"g": "true", "h": "true"}}},
            [("implementation_unused", "/implementations/guards/h")],
        ),
        ({"effects": {"act": {"handler": "h"}}}, [("effect_of_assign", "/effects/act")]),
        ({"effects": {"axt": {"handler": "h"}}}, [("effect_unused", "/effects/axt")]),
        (
            {"schemas": {"context": {"properties": {"m": {}}}}},
            [("context_key_unknown", "/implementations/actions/act/assign/n")],
        ),
        (
            {"schemas": {"context": {"properties": {"n": {"type": "string"}}}}},
            [("expression_type", "/implementations/actions/act/assign/n")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "input.x"}}},
            [("start_not_tried", "")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "[1][2]"}}},
            [("start_failed", "")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "18446744073709551615u"}}},
            [("start_failed", "")],
        ),
        (
            {"implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "[type(1)]"}}},
            [("start_failed", "")],
        ),
        (
            {
                "implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "input.x"}},
                "schemas": {"input": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}},
            },
            [],
        ),
        (
            {
                "implementations": GUARDED_IMPLEMENTATIONS | {"context": {"x": "1 / input.x"}},
                "schemas": {"input": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}},
            },
            [("start_failed", "")],
        ),
        (
            {"schemas": {"input": {"type": "string", "pattern": "^[a-z]{3}$"}}},
            [("start_not_tried", "/schemas/input")],
        ),
        (
            {"schemas": {"context": {"properties": {"n": {"type": "integer"}}, "required": ["n"]}}},
            [("context_misfit", "")],
        ),
    ],
)
def test_document_with_one_problem_has_one_finding(
    sections: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    sections = {"implementations": GUARDED_IMPLEMENTATIONS} | sections
    assert found(document(GUARDED, **sections)) == expected


@pytest.mark.parametrize(
    "text",
    ["type(1)", "b'x'", 'rb"x"', "bytes('x')", "int", "true ? string : bool", "google.protobuf.Timestamp"],
)
def test_what_json_cannot_hold_is_refused_wherever_it_would_be_kept(text: str) -> None:
    actions = GUARDED_IMPLEMENTATIONS["actions"]
    for sections, place in (
        ({"context": {"x": text}}, "context/x"),
        ({"actions": actions | {"act": {"assign": {"n": text}}}}, "actions/act/assign/n"),
        ({"actions": actions | {"act": {"params": {"n": text}}}}, "actions/act/params/n"),
        ({"outputs": {"m": text}}, "outputs/m"),
        ({"outputs": {"m": {"k": text}}}, "outputs/m/k"),
    ):
        written = document(GUARDED, implementations=GUARDED_IMPLEMENTATIONS | sections)
        assert ("expression_type", f"/implementations/{place}") in found(written)


@pytest.mark.parametrize("descriptor", ["xstate.done.state.m.a", "xstate.done.*", "xstate.*", "*"])
def test_what_the_interpreter_sends_may_be_handled(descriptor: str) -> None:
    machine = with_a(on={"GO": "b", descriptor: "b"})
    assert "event_never_sent" not in [code for code, _ in found(machine)]


def test_effect_must_be_heard_of_where_it_says_so() -> None:
    machine = with_a(entry="charge", on={"GO": "b", "PAID": "b", "gone.*": "b"})
    entry = {"handler": "pay", "done": "PAID", "failed": "PAIDD", "stopped": "gone.away"}
    [finding] = findings_of(document(machine, effects={"charge": entry}))
    assert (finding.code, finding.path, finding.hint) == (
        "effect_event_unhandled",
        "/effects/charge/failed",
        "did you mean `PAID`?",
    )


def test_unknown_handler_is_a_warning_when_handlers_are_known() -> None:
    given = document(with_a(entry="charge"), effects={"charge": {"handler": "pay"}})
    assert found(given) == []
    assert found(given, handlers=frozenset({"llm.generate"})) == [
        ("handler_unknown", "/effects/charge/handler")
    ]


def test_output_of_a_machine_that_ends_at_once_is_held_against_its_schema() -> None:
    machine = {"id": "m", "initial": "a", "states": {"a": {"type": "final"}}, "output": 5}
    assert ("output_misfit", "") in found(document(machine, schemas={"output": {"type": "string"}}))
    assert ("output_misfit", "") not in found(document(machine, schemas={"output": {"type": "integer"}}))


# --- how it is told ----------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_in_document_order() -> None:
    """`invoke` with its alternative among them. Row: A4."""
    given = {
        "machine": {
            "id": "m",
            "initial": "drfat",
            "states": {
                "draft": {"on": {"SUBMIT": {"target": "pendng", "cond": "g"}}, "invoke": {"src": "x"}},
                "pending": {"type": "paralel"},
            },
        },
        "implementations": {"guards": {"g": "context.a +"}},
        "effects": {"mail": {"handler": "mail", "timeout": 5}},
    }
    assert [(finding.code, finding.path, finding.hint) for finding in findings_of(given)] == [
        ("initial_not_found", "/machine/initial", "did you mean `draft`?"),
        ("target_not_found", "/machine/states/draft/on/SUBMIT/target", "did you mean `pending`?"),
        ("v4_key", "/machine/states/draft/on/SUBMIT/cond", "XState v5 calls it `guard`"),
        (
            "invoke_unsupported",
            "/machine/states/draft/invoke",
            "ask for the work with an action that has an entry in `effects`; its `done` and `failed` events "
            "bring the answer",
        ),
        ("type_unknown", "/machine/states/pending/type", "did you mean `parallel`?"),
        ("expression_invalid", "/implementations/guards/g", ""),
        ("implementation_unused", "/implementations/guards/g", ""),
        ("effect_unused", "/effects/mail", ""),
        ("unknown_key", "/effects/mail/timeout", "did you mean `timeout_ms`?"),
    ]


def test_places_in_a_bare_config_are_those_its_author_knows() -> None:
    [finding] = findings_of(with_a(enttry="x"))
    assert (finding.path, finding.hint) == ("/states/a/enttry", "did you mean `entry`?")
    [finding] = findings_of({key: value for key, value in TWO.items() if key != "id"})
    assert (finding.code, finding.path) == ("machine_id_missing", "")


def test_sentences_are_sentences() -> None:
    for row in [*rows("rejects.jsonl")[:60], *rows("accepted_but_suspicious.jsonl")]:
        for finding in findings_of({"machine": row["machine"]}):
            assert re.fullmatch(r"[a-z][a-z0-9_]+", finding.code)
            assert finding.message
            assert not finding.message.endswith(".")


def test_many_problems_are_bounded_and_errors_come_first() -> None:
    states = {f"s{number}": {"entry": "act", "bad": 1} for number in range(2_000)}
    findings = findings_of({"machine": {"id": "m", "initial": "s0", "states": states}})
    assert len(findings) <= 1_000
    assert any(finding.severity == "error" for finding in findings)


def test_machine_over_a_limit_is_refused_for_that_alone() -> None:
    states: dict[str, Any] = {f"s{number}": {"bad": 1} for number in range(50_001)}
    assert found({"machine": {"id": "m", "initial": "s0", "states": states}}) == [("too_many_states", "")]
    nested: dict[str, Any] = {}
    for _ in range(65):
        nested = {"initial": "x", "states": {"x": nested}}
    [(code, _)] = found({"machine": {"id": "m", "wrong": 1, **nested}})
    assert code == "nested_too_deeply"


# --- types -------------------------------------------------------------------------------------------------

TYPED_SCHEMAS = {
    "context": {
        "type": "object",
        "properties": {"total": {"type": "number"}, "items": {"type": "array", "items": {"type": "string"}}},
    },
    "events": {
        "GO": {"type": "object", "properties": {"amount": {"type": "number"}}},
        "BACK": {"type": "object", "properties": {"why": {"type": "string"}}},
    },
}


def typed(guard: str, **actions: str) -> list[Finding]:
    machine = with_a(on={"GO": {"target": "b", "guard": "g", "actions": list(actions) and ["act"]}})
    machine["context"] = {"total": 0.5, "items": []}
    implementations: dict[str, Any] = {"guards": {"g": guard}}
    if actions:
        implementations["actions"] = {"act": {"assign": actions}}
    return findings_of(document(machine, implementations=implementations, schemas=TYPED_SCHEMAS))


def test_expression_is_checked_against_the_schema_of_its_event() -> None:
    assert typed("event.amount > 1.5") == []
    [finding] = typed("true &&\n  event.why == 'x'")
    assert (finding.code, finding.line, finding.column) == ("expression_type", 2, 9)
    assert "'GO'" in finding.message
    assert "`why`" in finding.message


def test_expression_is_checked_against_the_schema_of_the_context() -> None:
    [finding] = typed("context.totl > 1.0")
    assert (finding.code, finding.path) == ("expression_invalid", "/implementations/guards/g")
    assert finding.hint == "did you mean `total`?"
    assert finding.column == 9


def test_what_is_assigned_is_checked_against_the_schema_of_its_key() -> None:
    assert typed("true", total="event.amount + 1.0") == []
    assert typed("true", total="1") == []
    assert typed("true", total="'1'") != []
    assert [finding.path for finding in typed("true", items="[1, 2]")] == [
        "/implementations/actions/act/assign/items"
    ]


def test_members_of_a_composite_guard_are_checked_too() -> None:
    machine = with_a(on={"GO": {"target": "b", "guard": "both"}})
    guards = {
        "both": {"and": ["first", "second"]},
        "first": "true",
        "second": {"not": "third"},
        "third": "event.x == 1",
    }
    findings = findings_of(
        document(
            machine, implementations={"guards": guards}, schemas={"events": {"GO": {"properties": {"y": {}}}}}
        )
    )
    assert [(finding.code, finding.path) for finding in findings] == [
        ("expression_type", "/implementations/guards/third")
    ]


def test_delay_gives_a_number() -> None:
    machine = with_a(after={"soon": "b"}) | {"context": {"n": 1}}
    for text, expected in (("context.n * 2", []), ("5", []), ("'5'", ["expression_type"])):
        findings = findings_of(document(machine, implementations={"delays": {"soon": text}}))
        assert [finding.code for finding in findings if finding.severity == "error"] == expected


def test_fields_of_events_without_a_schema_are_not_guessed() -> None:
    machine = with_a(on={"GO": {"target": "b", "guard": "g"}, "OTHER": {"target": "b", "guard": "g"}})
    schemas = {"events": {"GO": {"properties": {"why": {"type": "string"}}}}}
    implementations = {"guards": {"g": "event.why == 5"}}
    [finding] = findings_of(document(machine, implementations=implementations, schemas=schemas))
    assert finding.message.startswith("on 'GO': ")


# --- what could be published and never run ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"meta": {"large": 10**30}}, "/states/a/meta/large"),
        ({"entry": {"type": "note", "params": {"list": [0, -(2**63) - 1]}}}, "/states/a/entry/params/list/1"),
    ],
)
def test_integers_that_no_instance_could_store_are_refused(changes: dict[str, Any], place: str) -> None:
    assert ("number_too_large", place) in found({"machine": with_a(**changes)})


def test_integers_of_64_bits_are_taken() -> None:
    assert found({"machine": with_a(meta={"least": -(2**63), "most": 2**63 - 1})}) == []


def test_delays_that_can_never_be_armed_are_refused() -> None:
    for key in ("99999999999999999999999", "9223372036854775807"):
        assert ("delay_invalid", f"/states/a/after/{key}") in found({"machine": with_a(after={key: "b"})})
    assert found({"machine": with_a(after={str(2**52): "b"})}) == []
    late = {"type": "xstate.raise", "params": {"event": {"type": "GO"}, "delay": 1e300}}
    assert ("delay_invalid", "/states/a/entry/params/delay") in found({"machine": with_a(entry=late)})
    slow = {"machine": with_a(after={"slow": "b"}), "implementations": {"delays": {"slow": 2**53}}}
    assert ("delay_invalid", "/implementations/delays/slow") in found(slow)


def test_event_types_that_nobody_can_send_are_refused() -> None:
    for control in ("A\n", "A\x00", "A\x9f"):
        assert ("event_invalid", f"/states/a/on/{control}") in found({"machine": with_a(on={control: "b"})})
