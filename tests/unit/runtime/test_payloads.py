"""JSON from callers: kept as it is, or refused in words."""

from __future__ import annotations

import json

import pytest

from durachart.runtime.instance import Unstorable, dumps
from durachart.runtime.judge.payload import MAX_DEPTH, Malformed, parse_json, parse_object


@pytest.mark.parametrize(
    "text",
    ["null", "1", "-0.5", '"[[[["', "[]", '{"a":{"b":[1,2.5,true,null]}}', "9223372036854775807"],
)
def test_json_is_read_as_it_is(text: str) -> None:
    assert parse_json(text) == json.loads(text)


def test_u0000_travels_escaped_so_that_every_database_keeps_it() -> None:
    for value in ({"a\0b": ["\0", "x\0"]}, "\0"):
        text = dumps(value)
        assert "\0" not in text
        assert r"\u0000" in text
        assert parse_json(text) == value
    with pytest.raises(Malformed):
        parse_json('"\0"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("{'a':1}", "not valid JSON"),
        ("[1,]", "not valid JSON"),
        ("NaN", "not valid JSON"),
        ("Infinity", "not valid JSON"),
        ('"\\ud800"', "not valid JSON"),
        ("9223372036854775808", "9223372036854775808 does not fit into 64 bits; send it as a string"),
        ("[-9223372036854775809]", "does not fit into 64 bits"),
        ('{"a":' + "1" * 300 + "}", "the integer 11111111111111111111… does not fit into 64 bits"),
        ('{"a":' + "1" * 100_000 + "}", "not valid JSON"),
    ],
)
def test_what_would_lose_something_is_refused(text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        parse_json(text)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_bounded(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    inner = "[]" if opening == "[" else "{}"
    deepest = opening * (MAX_DEPTH - 1) + inner + closing * (MAX_DEPTH - 1)
    assert parse_json(deepest) is not None
    with pytest.raises(Malformed, match="nested more than 64 levels deep"):
        parse_json(opening + deepest + closing)
    with pytest.raises(Malformed):
        parse_json(opening * 100_000)


def test_many_shallow_values_are_not_deep() -> None:
    assert len(parse_json("[" + ",".join(["[]"] * 1_000) + "]")) == 1_000


def test_digits_in_a_string_are_no_number() -> None:
    assert parse_json('{"iban":"12345678901234567890123"}') == {"iban": "12345678901234567890123"}


def test_of_equal_keys_the_last_counts() -> None:
    assert parse_json('{"a":1,"a":2}') == {"a": 2}


def test_an_object_may_be_left_out_but_not_be_something_else() -> None:
    assert parse_object("") == {}
    with pytest.raises(Malformed, match="must be a JSON object, not null"):
        parse_object("null")


@pytest.mark.parametrize("value", [None, {"a": [1, 2.5, "ü", None, True]}, "null", [], 2**63 - 1])
def test_what_is_written_reads_back_as_it_was(value: object) -> None:
    assert json.loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [float("nan"), [None, float("inf")], {"a": {"b": -float("inf")}}, 2**64, {1: "x"}, {"a": object()}],
)
def test_what_would_read_back_otherwise_is_not_written(value: object) -> None:
    with pytest.raises(Unstorable):
        dumps(value)
