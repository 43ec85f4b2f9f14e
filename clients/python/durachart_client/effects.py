"""The calls of EffectService: for workers that do without :class:`Worker`, and for operators."""

# A timeout is a parameter here because it travels: the server learns each call's deadline.
# ruff: noqa: ASYNC109

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durachart_client import convert, effect_convert
from durachart_client.effect_models import (
    EffectError,
    EffectRecord,
    EffectState,
    EffectStep,
    Heartbeat,
    LeasedEffect,
)
from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.listing import Listing
from durachart_client.models import InstanceRef, Json, Page
from durachart_client.stubs import Stubs
from durachart_client.token_writer import TokenWriter


class Effects:
    """What a client can do with effects; it is ``Client.effects``.

    An attempt's end may be repeated with the same lease, so every call is made again while it fails in
    passing. A call about an attempt whose lease is gone raises ``LeaseLost``.
    """

    def __init__(self, stubs: Callable[[], Stubs], namespace: str) -> None:
        self._stubs = stubs
        self._namespace = namespace

    # --- attempts ----------------------------------------------------------------------------------------

    async def lease(
        self,
        handlers: Sequence[str],
        *,
        worker_id: str,
        max_effects: int = 1,
        lease: timedelta | None = None,
        wait: timedelta | None = None,
    ) -> Sequence[LeasedEffect]:
        """Begin attempts at effects that wait.

        Args:
            handlers: Handlers to lease for, 1 to 100.
            worker_id: Name of the worker, shown to operators.
            max_effects: Lease at most this many, 1 to 1,000.
            lease: How long a lease lasts unless it is prolonged; None is 30 s.
            wait: How long to wait when nothing is there, at most 60 s; None is not at all.

        Returns:
            By priority, then those that wait longest. A lost answer loses its leases, which run out.
        """
        request = pb.LeaseEffectsRequest(
            handlers=handlers,
            max_effects=max_effects,
            lease_duration=effect_convert.duration(lease),
            wait=effect_convert.duration(wait),
            worker_id=worker_id,
        )
        stubs = self._stubs()
        timeout = stubs.connection.timeout + (wait or timedelta())
        answer = await self._call(stubs.effects.LeaseEffects, request, timeout)
        return [effect_convert.leased_effect(one) for one in answer.effects]

    async def heartbeat(
        self, effect: LeasedEffect, *, lease: timedelta | None = None, timeout: timedelta | None = None
    ) -> Heartbeat:
        """Prolong the lease to last ``lease`` (None: 30 s) from now, and learn whether to go on."""
        request = pb.HeartbeatEffectRequest(**_of(effect), lease_duration=effect_convert.duration(lease))
        answer = await self._call(self._stubs().effects.HeartbeatEffect, request, timeout)
        return effect_convert.heartbeat(answer)

    async def complete(
        self, effect: LeasedEffect, output: Json = None, *, timeout: timedelta | None = None
    ) -> None:
        """End the effect with its output, None for none; the machine takes the ``done`` event.

        Raises:
            LeaseLost: The effect is another worker's by now, or has ended.
            RequestInvalid: The output is larger than the server takes.
            ValueError, TypeError: The output is no JSON.
        """
        text = "" if output is None else convert.json_text(output)
        request = pb.CompleteEffectRequest(**_of(effect), output_json=text)
        await self._call(self._stubs().effects.CompleteEffect, request, timeout)

    async def fail(
        self,
        effect: LeasedEffect,
        error: EffectError,
        *,
        delay: timedelta | None = None,
        final: bool = False,
        timeout: timedelta | None = None,
    ) -> datetime | None:
        """End an attempt that did not succeed.

        Args:
            effect: The attempt.
            error: Why.
            delay: How long to wait before the next attempt; None leaves it to the retry policy.
            final: Make no further attempt.
            timeout: None takes the client's.

        Returns:
            When the next attempt may begin; None: there is none, the machine took the ``failed`` event.

        Raises:
            LeaseLost: The effect is another worker's by now, or has ended.
        """
        request = pb.FailEffectRequest(
            **_of(effect),
            error=effect_convert.error_message(error),
            retry_delay=effect_convert.duration(delay),
            final=final,
        )
        answer = await self._call(self._stubs().effects.FailEffect, request, timeout)
        if not answer.HasField("retry_time"):
            return None
        retry_at: datetime = answer.retry_time.ToDatetime(tzinfo=UTC)
        return retry_at

    async def reject(
        self, effect: LeasedEffect, error: EffectError, *, timeout: timedelta | None = None
    ) -> None:
        """End the effect for a reason no retry would change; the machine takes the ``rejected`` event.

        Raises:
            LeaseLost: The effect is another worker's by now, or has ended.
        """
        request = pb.RejectEffectRequest(**_of(effect), error=effect_convert.error_message(error))
        await self._call(self._stubs().effects.RejectEffect, request, timeout)

    async def step_started(
        self, effect: LeasedEffect, name: str, *, timeout: timedelta | None = None
    ) -> EffectStep:
        """Record that a step begins; the answer is ``completed`` if it was, and then not to be done again."""
        return await self._step(effect, timeout, name=name, state=effect_convert.STEP_STATES["started"])

    async def step_completed(
        self, effect: LeasedEffect, name: str, output: Json = None, *, timeout: timedelta | None = None
    ) -> EffectStep:
        """Record that a step is done, with what it yielded: at most 256 KiB of JSON."""
        text = "" if output is None else convert.json_text(output)
        state = effect_convert.STEP_STATES["completed"]
        return await self._step(effect, timeout, name=name, state=state, output_json=text)

    async def step_failed(
        self, effect: LeasedEffect, name: str, error: EffectError, *, timeout: timedelta | None = None
    ) -> EffectStep:
        """Record that a step failed; it is done again by the next attempt."""
        state, why = effect_convert.STEP_STATES["failed"], effect_convert.error_message(error)
        return await self._step(effect, timeout, name=name, state=state, error=why)

    def tokens(self, effect: LeasedEffect, model: str = "") -> TokenWriter:
        """Show viewers the text of a generation while it comes; its lease is to be prolonged all the same.

        Args:
            effect: The attempt, an effect of the handler ``llm.generate``.
            model: Model that answers; ``""`` when unknown.
        """
        return TokenWriter(self._stubs(), effect, model)

    # --- operators ---------------------------------------------------------------------------------------

    async def get(
        self,
        machine_id: str,
        instance_id: str,
        effect_id: str,
        *,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> EffectRecord:
        """One effect with its attempts and steps.

        Raises:
            EffectNotFound: There is no such effect.
        """
        request = pb.GetEffectRequest(
            instance=self._instance(machine_id, instance_id, namespace), effect_id=effect_id
        )
        answer = await self._call(self._stubs().effects.GetEffect, request, timeout)
        return effect_convert.effect_record(answer.effect)

    def list(
        self,
        machine_id: str = "",
        instance_id: str = "",
        *,
        handler: str = "",
        state: EffectState | None = None,
        page_size: int = 100,
        page_token: str = "",
        namespace: str | None = None,
    ) -> Listing[EffectRecord]:
        """Effects, without attempts and steps; those of one instance in the order they were asked for.

        Args:
            machine_id: Only of this machine; ``""`` is all.
            instance_id: Only of this instance of it; ``""`` is all.
            handler: Only of this handler; ``""`` is all.
            state: Only in this state, for example ``discarded`` for the dead letters; None is any.
            page_size: Effects per call, at most 1,000.
            page_token: Where to begin; ``""`` is the start.
            namespace: None takes the client's.
        """

        async def fetch(token: str) -> Page[EffectRecord]:
            request = pb.ListEffectsRequest(
                namespace=self._namespace if namespace is None else namespace,
                machine_id=machine_id,
                instance_id=instance_id,
                handler=handler,
                state=effect_convert.STATES[state],
                page_size=page_size,
                page_token=token,
            )
            answer = await self._call(self._stubs().effects.ListEffects, request, None)
            return Page([effect_convert.effect_record(one) for one in answer.effects], answer.next_page_token)

        return Listing(fetch, page_token)

    async def retry(
        self,
        machine_id: str,
        instance_id: str,
        effect_id: str,
        *,
        request_id: str | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> EffectRecord:
        """Give a discarded effect back for further attempts; completed steps stay completed.

        Args:
            machine_id: The machine.
            instance_id: The instance.
            effect_id: The effect.
            request_id: Idempotency key; None makes one, ``""`` sends none and then nothing is retried.
            namespace: None takes the client's.
            timeout: None takes the client's.

        Raises:
            EffectNotFound: There is no such effect.
            EffectNotRetryable: It is not discarded.
        """
        key = uuid.uuid4().hex if request_id is None else request_id
        request = pb.RetryEffectRequest(
            instance=self._instance(machine_id, instance_id, namespace), effect_id=effect_id, request_id=key
        )
        stubs = self._stubs()
        answer = await stubs.connection.unary(
            stubs.effects.RetryEffect, request, timeout=timeout, request_id=key, repeatable=bool(key)
        )
        return effect_convert.effect_record(answer.effect)

    # --- inside ------------------------------------------------------------------------------------------

    async def _call(self, method: Any, request: Any, timeout: timedelta | None) -> Any:
        return await self._stubs().connection.unary(method, request, timeout=timeout)

    async def _step(self, effect: LeasedEffect, timeout: timedelta | None, **step: Any) -> EffectStep:
        request = pb.RecordEffectStepRequest(**_of(effect), step=pb.EffectStep(**step))
        answer = await self._call(self._stubs().effects.RecordEffectStep, request, timeout)
        return effect_convert.effect_step(answer.step)

    def _instance(self, machine_id: str, instance_id: str, namespace: str | None) -> Any:
        chosen = self._namespace if namespace is None else namespace
        return convert.instance_message(InstanceRef(machine_id, instance_id, chosen))


def _of(effect: LeasedEffect) -> dict[str, Any]:
    return {
        "instance": convert.instance_message(effect.instance),
        "effect_id": effect.effect_id,
        "lease_token": effect.lease_token,
    }
