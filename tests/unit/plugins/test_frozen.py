"""What a plug-in is given can be read like the data it shows, and cannot be written to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from durachart.plugins import FrozenList, FrozenMapping, Step, thaw
from durachart.plugins.frozen import MAX_DEPTH, checked


def _step() -> Step:
    context = {"items": [{"sku": "tea"}], "by": {"name": "ada"}, "n": 1}
    return Step(context, {"type": "GO", "list": [1]}, {"limit": 3}, 1_735_689_600_000)


def _set(step: Any) -> None:
    step.context["n"] = 2


def _set_below(step: Any) -> None:
    step.context["by"]["name"] = "bob"


def _delete(step: Any) -> None:
    del step.context["n"]


def _append(step: Any) -> None:
    step.context["items"].append(1)


def _set_in_list(step: Any) -> None:
    step.context["items"][0]["sku"] = "coffee"


def _set_in_event(step: Any) -> None:
    step.event["list"][0] = 2


def _set_in_slice(step: Any) -> None:
    step.event["list"][:][0] = 2


def _set_in_values(step: Any) -> None:
    for value in step.context.values():
        value["name"] = "bob"


def _set_params(step: Any) -> None:
    step.params["limit"] = 4


def _update(step: Any) -> None:
    step.context.update(n=2)


def _replace(step: Any) -> None:
    step.now_ms = 0


def _replace_hidden(step: Any) -> None:
    step._context = {}


@pytest.mark.parametrize(
    "write",
    [
        _set,
        _set_below,
        _delete,
        _append,
        _set_in_list,
        _set_in_event,
        _set_in_slice,
        _set_in_values,
        _set_params,
        _update,
        _replace,
        _replace_hidden,
    ],
)
def test_nothing_of_a_step_can_be_written_to(write: Any) -> None:
    step = _step()
    with pytest.raises((TypeError, AttributeError)):
        write(step)
    assert thaw(step.context) == {"items": [{"sku": "tea"}], "by": {"name": "ada"}, "n": 1}
    assert thaw(step.event) == {"type": "GO", "list": [1]}


def test_views_read_like_the_data_they_show() -> None:
    step = _step()
    context = step.context
    assert context == {"items": [{"sku": "tea"}], "by": {"name": "ada"}, "n": 1}
    assert context["items"] == [{"sku": "tea"}]
    assert context["items"][0] == FrozenMapping({"sku": "tea"})
    assert context["items"][-1:] == FrozenList([{"sku": "tea"}])
    assert [*context] == ["items", "by", "n"]
    assert "n" in context
    assert "nothing" not in context
    assert context.get("nothing", 7) == 7
    assert {**context["by"]} == {"name": "ada"}
    assert len(context["items"]) == 1
    assert {"sku": "tea"} in context["items"]
    assert step.params["limit"] == 3
    assert Step({}, {"type": "GO"}).params == {}
    assert repr(step.event) == "FrozenMapping({'type': 'GO', 'list': [1]})"


def test_now_is_the_recorded_instant() -> None:
    assert _step().now == datetime(2025, 1, 1, tzinfo=UTC)
    assert _step().now_ms == 1_735_689_600_000


def test_thaw_gives_a_copy_that_may_be_written_to() -> None:
    source = {"items": [{"sku": "tea"}]}
    copy: Any = thaw(FrozenMapping(source))
    copy["items"][0]["sku"] = "coffee"
    assert source == {"items": [{"sku": "tea"}]}


def test_what_is_put_back_from_a_view_is_not_copied() -> None:
    items = [{"sku": "tea"}]
    step = Step({"items": items}, {"type": "GO"})
    given: Any = checked({"kept": step.context["items"], "all": [*step.context["items"], {"sku": "milk"}]})
    assert given["kept"] is items
    assert given["all"] == [{"sku": "tea"}, {"sku": "milk"}]
    assert type(given["all"][0]) is dict


def test_what_an_implementation_keeps_a_hand_on_is_copied() -> None:
    mine: dict[str, Any] = {"list": [1]}
    given = checked(mine)
    mine["list"].append(2)
    assert given == {"list": [1]}


def _endless() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ({1: "one"}, TypeError),
        ({"at": datetime(2025, 1, 1, tzinfo=UTC)}, TypeError),
        ({"set": {1}}, TypeError),
        ({"bytes": b"x"}, TypeError),
        (_endless(), ValueError),
    ],
)
def test_what_is_no_json_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(value)


def test_depth_is_bounded_without_a_recursion_error() -> None:
    with pytest.raises(ValueError, match=f"more than {MAX_DEPTH} deep"):
        checked(_deep())
