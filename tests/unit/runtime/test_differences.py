"""Differences of JSON texts: as values, by place, and short."""

from __future__ import annotations

import pytest

from durachart.runtime.verification.differences import Difference, differences


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        (None, None),
        ("{", "{"),
        ('{"a":1,"b":[1,{"c":null}]}', '{"b":[1,{"c":null}],"a":1}'),
        ("[1, 2]", "[1,2]"),
    ],
)
def test_the_same_values_do_not_differ(stored: str | None, computed: str | None) -> None:
    assert differences(stored, computed) == ()


@pytest.mark.parametrize(
    ("stored", "computed", "found"),
    [
        ('{"a":1}', '{"a":1.0}', ("/a", "1", "1.0")),
        ('{"a":true}', '{"a":1}', ("/a", "true", "1")),
        ('{"a":null}', "{}", ("/a", "null", "nothing")),
        ("{}", '{"a/b":{"~":0}}', ("/a~1b", "nothing", '{"~":0}')),
        ('{"a/b":{"~":1}}', '{"a/b":{"~":0}}', ("/a~1b/~0", "1", "0")),
        ("[1,2]", "[1]", ("/1", "2", "nothing")),
        ('"late"', '"idle"', ("", '"late"', '"idle"')),
        ("{", "{}", ("", "{", "{}")),
        (None, '"x"', ("", "nothing", '"x"')),
        ("", '"x"', ("", "nothing at all", '"x"')),
    ],
)
def test_a_difference_names_its_place(stored: str | None, computed: str, found: tuple[str, str, str]) -> None:
    assert differences(stored, computed) == (Difference(*found),)


def test_the_first_three_are_enough() -> None:
    found = differences('{"a":1,"b":2,"c":3,"d":4}', '{"a":0,"b":0,"c":0,"d":0}')
    assert [difference.path for difference in found] == ["/a", "/b", "/c"]
    assert str(found[0]) == "/a: stored 1, computed 0"


def test_long_values_are_cut() -> None:
    (found,) = differences(f'"{"x" * 5_000}"', '"y"')
    assert len(found.stored) < 150
    assert found.stored.endswith("(5002 characters)")


def test_values_nested_as_deep_as_json_may_be_are_compared() -> None:
    deep = 1_000
    (found,) = differences("[" * deep + "1" + "]" * deep, "[" * deep + "2" + "]" * deep)
    assert (found.path, found.stored, found.computed) == ("/0" * deep, "1", "2")
