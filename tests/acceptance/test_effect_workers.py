"""Workers without our library, on generated stubs alone: killed in the middle, and outliving their server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from durachart_client import Client
from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.gen.effect_service_pb2_grpc import EffectServiceStub
from durachart_client.gen.types_pb2 import InstanceRef
from tests.processes import PATIENCE_S, Server, environment

JOB = {
    "machine": {
        "id": "job",
        "initial": "working",
        "states": {"working": {"entry": "act", "on": {"DONE": "ended"}}, "ended": {}},
    },
    "effects": {"act": {"handler": "raw", "done": "DONE"}},
}
# Leases one effect, says which, and never ends.
HOLDER = """
import sys, time, grpc
from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.gen.effect_service_pb2_grpc import EffectServiceStub
effects = EffectServiceStub(grpc.insecure_channel(sys.argv[1]))
spans = {"lease_duration": {"seconds": 2}, "wait": {"seconds": 60}}
(leased,) = effects.LeaseEffects(pb.LeaseEffectsRequest(handlers=["raw"], worker_id="first", **spans)).effects
print(leased.lease_token, flush=True)
time.sleep(3600)
"""


@asynccontextmanager
async def effects_of(address: str) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield EffectServiceStub(channel)


async def lease(effects: Any, seconds: int) -> Any:
    request = pb.LeaseEffectsRequest(
        handlers=["raw"],
        worker_id="second",
        lease_duration={"seconds": seconds},
        wait={"seconds": 60},
    )
    (leased,) = (await effects.LeaseEffects(request)).effects
    return leased


def report(leased: Any, lease_token: str = "") -> Any:
    return pb.CompleteEffectRequest(
        instance=leased.instance,
        effect_id=leased.effect_id,
        lease_token=lease_token or leased.lease_token,
        output_json='{"ok": true}',
    )


async def ends(client: Client) -> list[str]:
    return [entry.event_type async for entry in client.journal("job", "a") if entry.cause == "effect"]


async def test_a_worker_that_is_killed_is_followed_by_another_and_the_effect_ends_once() -> None:
    """A7, D2, D3: the attempts say lost, then completed; the machine hears of one end."""
    async with Server.running() as server, Client(server.grpc) as client, effects_of(server.grpc) as effects:
        await client.publish(json.dumps(JOB))
        await client.create("job", "a")
        first = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLDER, server.grpc, stdout=asyncio.subprocess.PIPE, env=environment()
        )
        try:
            assert first.stdout is not None
            async with asyncio.timeout(PATIENCE_S):
                stale_token = (await first.stdout.readline()).decode().strip()
        finally:
            first.kill()
            await first.wait()
        leased = await lease(effects, 30)
        assert leased.attempt == 2
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await effects.CompleteEffect(report(leased, stale_token))
        assert late.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        await effects.CompleteEffect(report(leased))
        await effects.CompleteEffect(report(leased))
        record = await client.effects.get("job", "a", leased.effect_id)
        assert [(attempt.worker_id, attempt.outcome) for attempt in record.attempts] == [
            ("first", "lost"),
            ("second", "completed"),
        ]
        assert await ends(client) == ["DONE"]


async def test_a_worker_outlives_its_server_and_completes_under_its_lease(tmp_path: Path) -> None:
    """D3, D4: what a worker has begun is not begun again because the server was killed."""
    data = ("--data-dir", str(tmp_path))
    async with Server.running(*data) as server, Client(server.grpc) as client:
        await client.publish(json.dumps(JOB))
        await client.create("job", "a")
        async with effects_of(server.grpc) as effects:
            leased = await lease(effects, 3_600)
        server.kill()
        await server.wait()
    async with (
        Server.running(*data) as server,
        Client(server.grpc) as client,
        effects_of(server.grpc) as effects,
    ):
        request = pb.LeaseEffectsRequest(handlers=["raw"], worker_id="third")
        assert not (await effects.LeaseEffects(request)).effects
        beat = pb.HeartbeatEffectRequest(
            instance=InstanceRef(machine_id="job", instance_id="a"),
            effect_id=leased.effect_id,
            lease_token=leased.lease_token,
        )
        assert not (await effects.HeartbeatEffect(beat)).cancelled
        await effects.CompleteEffect(report(leased))
        record = await client.effects.get("job", "a", leased.effect_id)
        assert [(attempt.worker_id, attempt.outcome) for attempt in record.attempts] == [
            ("second", "completed")
        ]
        assert await ends(client) == ["DONE"]
