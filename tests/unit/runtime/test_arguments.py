"""What a command must be whatever is stored."""

from __future__ import annotations

import pytest

from durachart.runtime.arguments import (
    require_event_type,
    require_key,
    require_labels,
    require_request_id,
)
from durachart.runtime.errors import InvalidArgument
from durachart.store.keys import InstanceKey


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (InstanceKey("a b", "m", "i"), "instance.namespace"),
        (InstanceKey("n" * 129, "m", "i"), "instance.namespace"),
        (InstanceKey("", "", "i"), "instance.machine_id"),
        (InstanceKey("", "m" * 129, "i"), "instance.machine_id"),
        (InstanceKey("", "a\0b", "i"), "instance.machine_id"),
        (InstanceKey("", "m", ""), "instance.instance_id"),
        (InstanceKey("", "m", "i" * 257), "instance.instance_id"),
        (InstanceKey("", "m", "a\nb"), "instance.instance_id"),
        (InstanceKey("", "m", "a\0b"), "instance.instance_id"),
    ],
)
def test_a_key_that_names_no_instance(key: InstanceKey, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        require_key(key)
    assert refused.value.field == field


def test_the_longest_key() -> None:
    require_key(InstanceKey("n" * 128, "m" * 128, "i" * 256))


@pytest.mark.parametrize("event_type", ["", "xstate.init", "xstate.after.1.a", "*", "E" * 257, "a\0b"])
def test_types_callers_may_not_send(event_type: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        require_event_type(event_type)
    assert refused.value.field == "event.type"


@pytest.mark.parametrize("event_type", ["GO", "a.b", "xstate", "E" * 256])
def test_types_callers_may_send(event_type: str) -> None:
    require_event_type(event_type)


def test_request_ids_and_labels_are_bounded() -> None:
    require_request_id("r" * 128)
    require_labels({f"{n}": "v" * 128 for n in range(32)})
    with pytest.raises(InvalidArgument):
        require_request_id("r" * 129)
    with pytest.raises(InvalidArgument, match=r"U\+0000"):
        require_request_id("a\0b")
    for labels in ({"a\0b": "x"}, {"x": "a\0b"}):
        with pytest.raises(InvalidArgument, match=r"U\+0000"):
            require_labels(labels)
    for labels in ({f"{n}": "" for n in range(33)}, {"": "x"}, {"k" * 129: ""}, {"k": "v" * 129}):
        with pytest.raises(InvalidArgument):
            require_labels(labels)
