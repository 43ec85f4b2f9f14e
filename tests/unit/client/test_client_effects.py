"""The calls about effects carry what was asked; answers and refusals come back typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.rpc import error_details_pb2

from durachart_client import (
    Client,
    EffectError,
    EffectNotFound,
    EffectNotRetryable,
    InstanceRef,
    LeaseLost,
)
from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.gen import types_pb2
from tests.unit.client.scripted import Server, refuse

INSTANCE = types_pb2.InstanceRef(machine_id="order", instance_id="o-1", namespace="shop")
AT = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


async def test_leases_come_as_values_with_what_earlier_attempts_recorded(
    client: Client, server: Server
) -> None:
    leased = pb.LeasedEffect(
        instance=INSTANCE,
        effect_id="e-1",
        type="sendEmail",
        handler="email.send",
        params_json='{"to":"ada"}',
        attempt=2,
        max_attempts=3,
        lease_token="t",
        lease_expire_time=AT,
        timeout=timedelta(seconds=5),
        create_time=AT,
        machine_version=4,
        steps=[
            pb.EffectStep(
                name="charge",
                state=pb.EffectStep.STATE_FAILED,
                attempt=1,
                error=pb.EffectError(reason="BUSY", message="No."),
                start_time=AT,
                end_time=AT,
            )
        ],
    )
    server.script["LeaseEffects"] = lambda request, context: pb.LeaseEffectsResponse(effects=[leased])
    [effect] = await client.effects.lease(
        ["email.send"], worker_id="w", max_effects=3, wait=timedelta(seconds=2), lease=timedelta(seconds=9)
    )
    request = server.requests["LeaseEffects"][0]
    assert (list(request.handlers), request.worker_id, request.max_effects) == (["email.send"], "w", 3)
    assert (request.wait.seconds, request.lease_duration.seconds) == (2, 9)
    assert effect.instance == InstanceRef("order", "o-1", "shop")
    assert (effect.params, effect.timeout, effect.lease_expires_at) == (
        {"to": "ada"},
        timedelta(seconds=5),
        AT,
    )
    [step] = effect.steps
    assert (step.name, step.state, step.attempt, step.ended_at) == ("charge", "failed", 1, AT)
    assert step.error == EffectError("BUSY", "No.")
    server.script["FailEffect"] = lambda request, context: pb.FailEffectResponse(retry_time=AT)
    assert await client.effects.fail(effect, EffectError("BUSY", "No.")) == AT
    server.script["HeartbeatEffect"] = lambda request, context: pb.HeartbeatEffectResponse(
        lease_expire_time=AT
    )
    beat = await client.effects.heartbeat(effect)
    assert (beat.cancelled, beat.lease_expires_at) == (False, AT)
    server.script["CompleteEffect"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "LEASE_LOST"
    )
    with pytest.raises(LeaseLost):
        await client.effects.complete(effect)


async def test_an_effect_is_read_with_attempts_and_steps(client: Client, server: Server) -> None:
    effect = pb.Effect(
        instance=INSTANCE,
        effect_id="e-1",
        state=pb.EFFECT_STATE_DISCARDED,
        priority=2,
        attempt=2,
        max_attempts=2,
        worker_id="w",
        create_time=AT,
        finalize_time=AT,
        error=pb.EffectError(reason="BUSY", message="No."),
        attempts=[
            pb.EffectAttempt(attempt=1, start_time=AT, end_time=AT, outcome=pb.EffectAttempt.OUTCOME_LOST),
            pb.EffectAttempt(attempt=2, start_time=AT),
        ],
        steps=[pb.EffectStep(name="charge", state=pb.EffectStep.STATE_COMPLETED, output_json="1")],
    )
    server.script["GetEffect"] = lambda request, context: pb.GetEffectResponse(effect=effect)
    found = await client.effects.get("order", "o-1", "e-1", namespace="shop")
    assert server.requests["GetEffect"][0].instance == INSTANCE
    assert (found.state, found.error, found.finalized_at) == ("discarded", EffectError("BUSY", "No."), AT)
    assert (found.scheduled_at, found.output) == (None, None)
    assert [(one.outcome, one.ended_at) for one in found.attempts] == [("lost", AT), ("", None)]
    assert [(one.state, one.output) for one in found.steps] == [("completed", 1)]


async def test_dead_letters_are_listed_page_by_page_and_given_back(client: Client, server: Server) -> None:
    def pages(request: pb.ListEffectsRequest, context: object) -> pb.ListEffectsResponse:
        page = pb.ListEffectsResponse(effects=[pb.Effect(effect_id=f"e-{request.page_token}")])
        page.next_page_token = "" if request.page_token else "2"
        return page

    server.script["ListEffects"] = pages
    listing = client.effects.list("order", "o-1", handler="email.send", state="discarded", page_size=1)
    assert [one.effect_id async for one in listing] == ["e-", "e-2"]
    request = server.requests["ListEffects"][0]
    assert (request.machine_id, request.instance_id, request.handler) == ("order", "o-1", "email.send")
    assert (request.state, request.page_size) == (pb.EFFECT_STATE_DISCARDED, 1)

    server.script["RetryEffect"] = lambda request, context: pb.RetryEffectResponse(
        effect=pb.Effect(effect_id="e-1", state=pb.EFFECT_STATE_AVAILABLE)
    )
    assert (await client.effects.retry("order", "o-1", "e-1")).state == "available"
    assert server.requests["RetryEffect"][0].request_id


async def test_refusals_about_effects_are_typed(client: Client, server: Server) -> None:
    resource = error_details_pb2.ResourceInfo(resource_type="effect", resource_name="e-1")
    server.script["GetEffect"] = lambda request, context: refuse(
        context, grpc.StatusCode.NOT_FOUND, "EFFECT_NOT_FOUND", resource
    )
    with pytest.raises(EffectNotFound) as missing:
        await client.effects.get("order", "o-1", "e-1")
    assert missing.value.resource_name == "e-1"
    server.script["RetryEffect"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "EFFECT_NOT_RETRYABLE"
    )
    with pytest.raises(EffectNotRetryable):
        await client.effects.retry("order", "o-1", "e-1")
