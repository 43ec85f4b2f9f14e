"""Answers to events as results of a message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from durachart.rpc.context import CallContext
from durachart.rpc.errors import shutting_down
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.many_events import EventSender
from durachart.runtime.views import Accepted, InstanceState, JournalEffect
from durachart.store.keys import InstanceKey

AT = datetime(2030, 1, 2, tzinfo=UTC)
RESULTS = [pb.SendEventResult, pb.StreamEventsResult]


def state(value: str) -> InstanceState:
    return InstanceState(
        key=InstanceKey("", "job", "j-1"),
        uid="u" * 32,
        version=1,
        machine_version=1,
        value_json=value,
        context_json="",
        allowed_events=(),
        tags=(),
        meta_json="",
        labels={},
        status="active",
        output_json="",
        running_effects=(),
        created_at=AT,
        updated_at=AT,
        evaluated_at=None,
    )


@pytest.fixture
def sender() -> EventSender:
    # To fill a result nobody is asked.
    return EventSender(cast(Any, None), CallContext("x/Y"))


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_holds_the_answer_or_the_error(sender: EventSender, kind: Any) -> None:
    result = kind()
    sender.fill(result, Accepted(state('"idle"'), True, True, (JournalEffect("e", "t", "{}", False),)))
    assert result.WhichOneof("result") == "response"
    assert (result.response.state.value_json, result.response.changed, result.response.replayed) == (
        '"idle"',
        True,
        True,
    )
    assert result.response.effects[0].effect_id == "e"
    refused = kind()
    sender.fill(refused, shutting_down())
    assert refused.error == shutting_down().status()


@pytest.mark.parametrize("kind", RESULTS)
def test_an_answer_that_cannot_be_written_is_an_error_of_that_event(sender: EventSender, kind: Any) -> None:
    result = kind()
    sender.fill(result, Accepted(state('"\ud800"'), True, False, ()))
    assert result.WhichOneof("result") == "error"
    info = ErrorInfo()
    result.error.details[0].Unpack(info)
    assert info.reason == "INTERNAL"
    assert kind.FromString(result.SerializeToString()) == result
