"""An outbox behind the scripted server: hands out effects, one for each credit, and keeps what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.gen import types_pb2
from tests.unit.client.scripted import Server, refuse

INSTANCE = types_pb2.InstanceRef(machine_id="order", instance_id="o-1")
ENDS = ("CompleteEffect", "FailEffect", "RejectEffect")


class EffectServer:
    """Plays the server's part.

    Attributes:
        told: Names of the calls about effects, in order, with their requests.
        refusals: Per call the refusals that come before it succeeds: a status and a reason.
        cancelled: Effects whose heartbeats are answered with "cancelled".
        steps: Completed steps, by effect and name, with their output.
    """

    def __init__(self, server: Server) -> None:
        self.told: list[tuple[str, Any]] = []
        self.refusals: dict[str, list[tuple[grpc.StatusCode, str]]] = {}
        self.cancelled: set[str] = set()
        self.steps: dict[tuple[str, str], str] = {}
        self._waiting: list[pb.LeasedEffect] = []
        self._cancels: list[pb.CancelledEffect] = []
        self._changed = asyncio.Condition()
        self._streams = 0
        self._server = server
        server.script["StreamEffects"] = self._stream
        for name, answer in (
            ("CompleteEffect", lambda request: pb.CompleteEffectResponse()),
            ("FailEffect", lambda request: pb.FailEffectResponse()),
            ("RejectEffect", lambda request: pb.RejectEffectResponse()),
            ("HeartbeatEffect", self._heartbeat),
            ("RecordEffectStep", self._record),
        ):
            server.script[name] = self._scripted(name, answer)

    @property
    def openings(self) -> list[pb.StreamEffectsRequest]:
        """The first request of each stream."""
        return [one for one in self._server.requests.get("StreamEffects", []) if one.handlers]

    @property
    def ends(self) -> list[Any]:
        """What the server was told about the ends of attempts."""
        return [request for name, request in self.told if name in ENDS]

    async def ask(
        self, effect_id: str, params: Any = None, handler: str = "email.send", **fields: Any
    ) -> None:
        """Let an effect wait for a worker."""
        effect = pb.LeasedEffect(
            instance=INSTANCE,
            effect_id=effect_id,
            type="sendEmail",
            handler=handler,
            params_json="" if params is None else json.dumps(params),
            attempt=fields.pop("attempt", 1),
            max_attempts=3,
            lease_token=f"token-of-{effect_id}",
            **fields,
        )
        if not effect.HasField("timeout"):
            effect.timeout.FromSeconds(300)
        async with self._changed:
            self._waiting.append(effect)
            self._changed.notify_all()

    async def cancel(self, effect_id: str) -> None:
        """Tell the worker that holds it to stop."""
        async with self._changed:
            self._cancels.append(pb.CancelledEffect(instance=INSTANCE, effect_id=effect_id))
            self._changed.notify_all()

    async def wait_told(self, name: str, count: int = 1) -> list[Any]:
        """Wait until a call was made so many times; returns its requests."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self._of(name)) >= count)
        return self._of(name)

    async def wait_ends(self, count: int = 1) -> list[Any]:
        """Wait until so many attempts have ended; returns the requests that said so."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.ends) >= count)
        return self.ends

    async def wait_openings(self, count: int) -> None:
        """Wait until so many streams have been opened."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.openings) >= count)

    async def wait_left(self) -> None:
        """Wait until no stream is open: until then a worker that has left may still be given effects."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: not self._streams)

    def _of(self, name: str) -> list[Any]:
        return [request for told, request in self.told if told == name]

    def _scripted(self, name: str, answer: Callable[[Any], Any]) -> Any:
        async def script(request: Any, context: grpc.aio.ServicerContext) -> Any:
            refusals = self.refusals.get(name)
            if refusals:
                code, reason = refusals.pop(0)
                await refuse(context, code, reason)
            async with self._changed:
                self.told.append((name, request))
                self._changed.notify_all()
            return answer(request)

        return script

    def _heartbeat(self, request: pb.HeartbeatEffectRequest) -> pb.HeartbeatEffectResponse:
        return pb.HeartbeatEffectResponse(cancelled=request.effect_id in self.cancelled)

    def _record(self, request: pb.RecordEffectStepRequest) -> pb.RecordEffectStepResponse:
        step, key = request.step, (request.effect_id, request.step.name)
        if step.state == pb.EffectStep.STATE_COMPLETED:
            self.steps.setdefault(key, step.output_json)
        if key in self.steps:
            done = pb.EffectStep.STATE_COMPLETED
            step = pb.EffectStep(name=step.name, state=done, output_json=self.steps[key])
        return pb.RecordEffectStepResponse(step=step)

    async def _stream(
        self, requests: AsyncIterator[pb.StreamEffectsRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.StreamEffectsResponse]:
        opening = await anext(requests)
        async with self._changed:
            self._streams += 1
            self._changed.notify_all()
        handlers = list(opening.handlers)
        credit = asyncio.Semaphore(opening.credits)

        async def read() -> None:
            async for request in requests:
                async with self._changed:
                    for _ in range(request.credits):
                        credit.release()
                    self._changed.notify_all()

        reading = asyncio.create_task(read())
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(
                        lambda: self._cancels or not (credit.locked() or self._next(handlers) is None)
                    )
                    cancelled, self._cancels = self._cancels, []
                    effects = []
                    while not credit.locked() and (effect := self._next(handlers)) is not None:
                        self._waiting.remove(effect)
                        await credit.acquire()
                        effects.append(effect)
                yield pb.StreamEffectsResponse(effects=effects, cancelled=cancelled)
        finally:
            reading.cancel()
            async with self._changed:
                self._streams -= 1
                self._changed.notify_all()

    def _next(self, handlers: Any) -> pb.LeasedEffect | None:
        return next((one for one in self._waiting if one.handler in handlers), None)
