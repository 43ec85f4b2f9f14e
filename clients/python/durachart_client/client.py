"""The client: one class, one method for each call of the service."""

# A timeout is a parameter here because it travels: the server learns each call's deadline.
# ruff: noqa: ASYNC109

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2

from durachart_client import convert
from durachart_client.calls import Connection, Metadata
from durachart_client.effects import Effects
from durachart_client.gen import machine_service_pb2, token_service_pb2
from durachart_client.instance_calls import InstanceCalls
from durachart_client.listing import Listing
from durachart_client.models import (
    Json,
    Machine,
    Page,
    Published,
    RetryPolicy,
    Stopped,
    Validation,
)
from durachart_client.streams import OnInterrupt
from durachart_client.stubs import Stubs
from durachart_client.tokens import TokenStream

DEFAULT_TARGET = "127.0.0.1:7575"


class Client(InstanceCalls):
    """A connection to a Durachart server, shared by any number of tasks of one event loop.

    ``async with Client("127.0.0.1:7575") as client: state = await client.get("order", "o-1")``

    Every write carries a ``request_id``, made once per call unless given; a call that fails because no
    server answered is made again with the same id, so that the event is taken once however often it was
    sent.

    Args:
        target: ``HOST:PORT`` of the server.
        credentials: For TLS, for example ``grpc.ssl_channel_credentials()``; None connects in the clear.
        namespace: Namespace of every call that names none; ``""`` is the default namespace.
        timeout: Bound of each call with all its attempts.
        metadata: Headers of every call, or a function that returns them for each call anew.
        retry: Waits between attempts, and how many there may be.
        options: Further gRPC channel options; one given here wins over the client's own.

    Every call raises a subclass of ``ServerError`` (see ``durachart_client.errors``), and ``RuntimeError``
    outside the ``async with`` block.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        namespace: str = "",
        timeout: timedelta = timedelta(seconds=10),
        metadata: Metadata | None = None,
        retry: RetryPolicy | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        super().__init__(namespace)
        self.target = target
        self._credentials = credentials
        self._timeout = timeout
        self._metadata: Metadata = metadata if metadata is not None else {}
        self._retry = retry or RetryPolicy()
        self._options = options
        self._open: Stubs | None = None
        self._effects = Effects(lambda: self._stubs, namespace)

    async def __aenter__(self) -> Self:
        if self._open is None:
            self._open = Stubs(
                Connection(
                    self.target,
                    credentials=self._credentials,
                    metadata=self._metadata,
                    timeout=self._timeout,
                    policy=self._retry,
                    options=self._options,
                )
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every stream and close the channel; closing again does nothing."""
        opened, self._open = self._open, None
        for stream in list(self._streams):
            await stream.aclose()
        if opened is not None:
            await opened.connection.close()

    # --- machines ----------------------------------------------------------------------------------------

    async def publish(
        self, definition: Mapping[str, Json] | str, *, timeout: timedelta | None = None
    ) -> Published:
        """Check a definition and store it as the next version of its machine.

        Args:
            definition: The document, or its JSON text, which keeps the order of its keys.
            timeout: None takes the client's.

        Raises:
            DefinitionInvalid: With every problem.
        """
        request = machine_service_pb2.PublishMachineRequest(definition_json=_definition_text(definition))
        answer = await self._read(self._stubs.machines.PublishMachine, request, timeout)
        warnings = tuple(convert.finding(one) for one in answer.warnings)
        return Published(convert.machine(answer.machine), answer.created, warnings)

    async def validate(
        self, definition: Mapping[str, Json] | str, *, timeout: timedelta | None = None
    ) -> Validation:
        """Check a definition as ``publish`` would, and store nothing; problems are no error here."""
        request = machine_service_pb2.ValidateMachineRequest(definition_json=_definition_text(definition))
        answer = await self._read(self._stubs.machines.ValidateMachine, request, timeout)
        return Validation(answer.valid, tuple(convert.finding(one) for one in answer.findings))

    async def machine(
        self, machine_id: str, version: int = 0, *, timeout: timedelta | None = None
    ) -> Machine:
        """One version of a machine with its definition; version 0 is the latest.

        Raises:
            MachineNotFound: There is no such machine or version.
        """
        request = machine_service_pb2.GetMachineRequest(machine_id=machine_id, version=version)
        answer = await self._read(self._stubs.machines.GetMachine, request, timeout)
        return convert.machine(answer.machine)

    def machines(self, *, page_size: int = 100, page_token: str = "") -> Listing[Machine]:
        """The latest version of each machine, without definitions, sorted by machine id."""

        async def fetch(token: str) -> Page[Machine]:
            request = machine_service_pb2.ListMachinesRequest(page_size=page_size, page_token=token)
            answer = await self._read(self._stubs.machines.ListMachines, request)
            return Page([convert.machine(one) for one in answer.machines], answer.next_page_token)

        return Listing(fetch, page_token)

    # --- generations -------------------------------------------------------------------------------------

    def watch_tokens(
        self,
        machine_id: str,
        instance_id: str,
        effect_id: str = "",
        *,
        attempt: int = 0,
        offset: int = 0,
        namespace: str | None = None,
        on_interrupt: OnInterrupt | None = None,
    ) -> TokenStream:
        """Follow a generation's text: what there is so far, then what comes, then how it ended.

        Args:
            machine_id: The machine.
            instance_id: The instance.
            effect_id: Which generation; ``""`` is the running one, or else the latest.
            attempt: The attempt ``offset`` counts in; 0 is the current one from its beginning.
            offset: Go on from here, in Unicode code points.
            namespace: None takes the client's.
            on_interrupt: Called with the reason and the wait when a connection was lost.
        """
        request = token_service_pb2.WatchTokensRequest(
            instance=self._instance(machine_id, instance_id, namespace),
            effect_id=effect_id,
            attempt=attempt,
            offset=offset,
        )
        stubs = self._stubs
        stream = TokenStream(stubs.connection, stubs.tokens.WatchTokens, request, on_interrupt=on_interrupt)
        self._streams.add(stream)
        return stream

    async def stop_generation(
        self,
        machine_id: str,
        instance_id: str,
        effect_id: str = "",
        *,
        request_id: str | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> Stopped:
        """End a generation: the provider's request is aborted, the instance takes its ``stopped`` event.

        One that has ended already is left as it is. ``effect_id`` ``""`` is the running one.
        """
        key = self._request_id(request_id)
        request = token_service_pb2.StopGenerationRequest(
            instance=self._instance(machine_id, instance_id, namespace), effect_id=effect_id, request_id=key
        )
        answer = await self._write(self._stubs.tokens.StopGeneration, request, key, timeout)
        return Stopped(convert.instance_state(answer.state), answer.stopped, answer.effect_id)

    # --- effects -----------------------------------------------------------------------------------------

    @property
    def effects(self) -> Effects:
        """The calls about effects: leases for workers, lists and retries for operators."""
        return self._effects

    # --- the server --------------------------------------------------------------------------------------

    async def health(self, service: str = "", *, timeout: timedelta | None = None) -> bool:
        """Whether the server, or one service of it, says that it serves; asked once, without retries.

        Raises:
            Unavailable: No server answered.
        """
        stubs = self._stubs
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await stubs.connection.unary(stubs.health.Check, request, timeout=timeout, repeatable=False)
        serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
        return serving

    # --- inside ------------------------------------------------------------------------------------------

    @property
    def _stubs(self) -> Stubs:
        if self._open is None:
            raise RuntimeError("the client is not open: use it inside `async with Client(...) as client:`")
        return self._open


def _definition_text(definition: Mapping[str, Json] | str) -> str:
    return definition if isinstance(definition, str) else convert.json_text(dict(definition))
