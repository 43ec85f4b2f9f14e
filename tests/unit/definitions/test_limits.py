"""What is at a limit is loaded, what is beyond is refused, and nothing recurses."""

import json

import pytest

from durachart.definitions.build import build_machine, compile_machine
from durachart.definitions.definition import check_definition
from durachart.definitions.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_document
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.implementations import MAX_EXPRESSIONS, MAX_GUARD_PARTS, MAX_TOO_LARGE
from durachart.definitions.simulation import Simulator
from durachart.definitions.states import MAX_ID_LENGTH, MAX_NESTING, MAX_STATES


def codes(machine, implementations=None):
    return [finding.code for finding in compile_machine(machine, implementations)[1]]


def ring(size):
    states = {f"s{index}": {"on": {"E": f"s{(index + 1) % size}"}} for index in range(size)}
    return {"id": "m", "initial": "s0", "states": states}


def nested(levels, kind="compound"):
    state = {}
    for _ in range(levels):
        state = {"states": {"a": state}, **({"initial": "a"} if kind == "compound" else {"type": kind})}
    return {"id": "m", **state}


def test_a_machine_with_as_many_states_as_allowed_runs():
    machine = build_machine(ring(MAX_STATES - 1))
    assert len(machine.nodes) == MAX_STATES
    simulator = Simulator(machine)
    simulator.send({"type": "E"})
    assert simulator.describe()["value"] == "s1"


def test_one_state_more_is_refused():
    assert codes(ring(MAX_STATES)) == ["too_many_states"]


@pytest.mark.parametrize("kind", ["compound", "parallel"])
def test_states_nested_as_deep_as_allowed_run(kind):
    simulator = Simulator(build_machine(nested(MAX_NESTING, kind)))
    assert simulator.status == "active"
    value = simulator.describe()["value"]
    for _ in range(MAX_NESTING - 1):
        value = value["a"]
    assert value in ("a", {"a": {}})


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 90])
def test_states_nested_deeper_are_refused(levels):
    assert codes(nested(levels)) == ["nested_too_deeply"]


@pytest.mark.parametrize("levels", [500, 50_000])
def test_a_document_nested_deeper_is_refused_as_text(levels):
    text = '{"initial":"a","states":{"a":' * levels + "{}" + "}}" * levels
    with pytest.raises(DefinitionInvalid, match=f"nested more than {MAX_DEPTH} deep"):
        parse_document(text)


def test_a_document_of_the_largest_size_is_read():
    text = json.dumps({"context": {"x": ""}})
    document = parse_document(text.replace('""', '"' + "y" * (MAX_BYTES - len(text)) + '"'))
    assert len(document.machine["context"]["x"]) == MAX_BYTES - len(text)


def with_values(count, filler="0"):
    """A text of exactly so many objects, arrays and commas."""
    return '{"context":{"a":[' + ",".join([filler] * (count - 2)) + "]}}"


def test_a_document_of_the_most_values_is_read():
    assert len(parse_document(with_values(MAX_VALUES)).machine["context"]["a"]) == MAX_VALUES - 2


@pytest.mark.parametrize("filler", ["0", '""', "{}", "[[]]", '{"":""}'])
def test_a_document_of_more_values_is_refused_as_text(filler):
    with pytest.raises(
        DefinitionInvalid, match=r"has at least [1-3],\d+,\d+ values; at most 1,000,000 are taken"
    ):
        parse_document(with_values(MAX_VALUES + 1, filler)[:MAX_BYTES])


@pytest.mark.parametrize("text", [",{[" * 1_000_000, r"\"," * 1_000_000, r"\\\"{" * 1_000_000])
def test_what_stands_in_strings_is_no_value(text):
    document = parse_document('{"description":"' + text + r'\\","id":"m"}')
    assert document.machine["description"] == json.loads(f'"{text}"') + "\\"
    assert document.machine["id"] == "m"


def test_a_text_of_strings_alone_is_refused_before_it_is_taken_apart():
    with pytest.raises(DefinitionInvalid, match="values; at most"):
        parse_document("[" + ",".join(['""'] * 3_000_000) + "]")


@pytest.mark.parametrize("before", ["", "\ufeff", '{"machine":'])
def test_far_too_many_states_are_counted(before):
    text = '{"id":"m","states":{' + ",".join(f'"s{index}":{{}}' for index in range(300_000)) + "}}"
    with pytest.raises(DefinitionInvalid, match="has 300,001 states; at most 50,000 are taken") as refused:
        parse_document(before + text + ("}" if before.startswith("{") else ""))
    assert refused.value.findings[0].path == ("/machine" if before.startswith("{") else "")


def test_objects_that_are_no_states_are_not_counted_as_such():
    text = '{"id":"m","context":{"a":[' + ",".join(["{}"] * (MAX_STATES + 1)) + "]}}"
    assert len(parse_document(text).machine["context"]["a"]) == MAX_STATES + 1
    for broken in ("\ud800", "1" * 30, "NaN"):
        with pytest.raises(DefinitionInvalid):
            parse_document(text[:-1] + f',"meta":{broken}}}}}')


def test_expressions_are_limited_in_number_and_not_compiled_beyond():
    many = {f"g{index}": "(" for index in range(MAX_EXPRESSIONS + 1)}
    assert codes({}, {"guards": many}) == ["too_many_expressions"]
    entries = {f"k{index}": "(" for index in range(MAX_EXPRESSIONS + 1)}
    assert codes({}, {"actions": {"a": {"assign": entries}}}) == ["too_many_expressions"]


def test_as_many_expressions_as_allowed_are_compiled():
    implementations = {"guards": {f"g{index}": "true" for index in range(MAX_EXPRESSIONS)}}
    assert codes({}, implementations) == []
    found = check_definition(
        {"machine": {}, "implementations": {"guards": {**implementations["guards"], "g": "1"}}}
    )
    assert [(finding.code, finding.message) for finding in found] == [
        ("too_many_expressions", "there are 20,001 expressions; at most 20,000 are taken")
    ]


def test_a_guard_is_made_of_no_more_guards_than_can_be_asked():
    machine = {"id": "m", "initial": "a", "states": {"a": {"on": {"E": {"guard": "top", "target": "a"}}}}}
    guards = {"g": "true", "top": {"and": ["g"] * (MAX_GUARD_PARTS - 1)}}
    simulator = Simulator(build_machine(machine, {"guards": guards}))
    simulator.send({"type": "E"})
    assert codes(machine, {"guards": {**guards, "top": {"or": ["g"] * MAX_GUARD_PARTS}}}) == [
        "guard_too_large"
    ]
    doubled = {f"g{index}": {"and": [f"g{index - 1}"] * 2} for index in range(1, 60)}
    doubled = {"g0": "true", **doubled, "top": {"not": "g59"}}
    assert set(codes(machine, {"guards": doubled})) == {"guard_too_large"}


@pytest.mark.parametrize(
    "text", ["1+" * 40_000 + "1 > 0", "||".join(["true"] * 10_001), "(" * 65 + "true" + ")" * 65]
)
def test_some_expressions_that_are_too_large_are_enough(text):
    guards = {f"g{index}": text for index in range(100)}
    found = check_definition({"machine": {"id": "m"}, "implementations": {"guards": guards}})
    assert [finding.code for finding in found] == ["expression_too_large"] * MAX_TOO_LARGE
    assert all("than" in finding.message or "limit" in finding.message for finding in found)
    two = check_definition({"machine": {"id": "m"}, "implementations": {"guards": {"a": text, "b": "("}}})
    assert {"expression_too_large", "expression_invalid"} <= {finding.code for finding in two}


def test_what_is_over_a_limit_is_looked_at_no_further():
    machine = {"id": "m", "initial": "nowhere", "states": {"a": {"id": "i" * (MAX_ID_LENGTH + 1)}}}
    assert [finding.code for finding in check_definition(machine)] == ["id_too_long"]
    machine["states"] = {"a": {"id": "i" * MAX_ID_LENGTH}}
    assert [finding.code for finding in check_definition(machine)] == ["initial_not_found"]
    schemas = {"context": {"allOf": [{}] * 20_000}}
    found = check_definition({"machine": machine, "schemas": schemas})
    assert [finding.code for finding in found] == ["schema_too_large"]


def test_wide_parallel_states_start_and_step():
    region = {"initial": "a", "states": {"a": {"on": {"E": "b"}}, "b": {"type": "final"}}}
    machine = build_machine({"type": "parallel", "states": {f"r{index}": region for index in range(2_000)}})
    simulator = Simulator(machine)
    simulator.send({"type": "E"})
    assert simulator.status == "done"


def test_many_candidates_and_types_are_no_deeper_than_few():
    candidates = [{"guard": "no", "actions": "x"}] * 20_000
    machine = {
        "id": "m",
        "initial": "a",
        "states": {"a": {"on": {"E": candidates, **{f"e{index}.*": "a" for index in range(5_000)}}}},
    }
    simulator = Simulator(build_machine(machine, {"guards": {"no": "false"}}))
    simulator.send({"type": "E"})
    simulator.send({"type": "e7.x"})
    assert simulator.status == "active"
