"""How values look on the command line."""

from datetime import UTC, datetime

import pytest

from durachart.app.cli.arguments import event_data
from durachart.app.cli.exits import MEANINGS, ExitCode, Failure
from durachart.app.cli.jsonlines import plain
from durachart.app.cli.rendering import shortened, value_text
from durachart_client import InstanceRef


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("draft", "draft"),
        ({"paying": "card"}, "paying.card"),
        ({"audio": "on", "video": "off"}, "audio.on + video.off"),
        ({"call": {"audio": "on", "video": {}}}, "call.(audio.on + video)"),
        ({}, ""),
        (None, ""),
    ],
)
def test_state_values_fit_a_line(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ([], {}),
        (['{"a": {"b": 1}}'], {"a": {"b": 1}}),
        (
            ["sku=tea", "quantity=2", "gift=true", "note="],
            {"sku": "tea", "quantity": 2, "gift": True, "note": ""},
        ),
        (
            ['code="007"', "list=[1,2]", "url=http://x?a=b"],
            {"code": "007", "list": [1, 2], "url": "http://x?a=b"},
        ),
        (["amount=NaN", "most=-Infinity"], {"amount": "NaN", "most": "-Infinity"}),
    ],
)
def test_event_data_from_words(words: list[str], data: dict[str, object]) -> None:
    assert event_data(words) == data


def test_words_that_are_no_data_are_usage_errors() -> None:
    deep = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    for words in (["nope"], ["=1"], ["{", "}"], ["{bad"], ['{"a": NaN}'], [deep]):
        with pytest.raises(Failure) as caught:
            event_data(words)
        assert caught.value.code is ExitCode.USAGE


def test_values_become_json_data() -> None:
    moment = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    value = {"ref": InstanceRef("m", "i"), "at": moment, "many": (1, InstanceRef("n", "j"))}
    assert plain(value) == {
        "ref": {"machine_id": "m", "instance_id": "i", "namespace": ""},
        "at": "2031-01-02T03:04:05Z",
        "many": [1, {"machine_id": "n", "instance_id": "j", "namespace": ""}],
    }


def test_long_text_is_cut() -> None:
    assert shortened("x" * 10, 10) == "x" * 10
    assert shortened("x" * 11, 10) == "x" * 10 + "…"


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)
