"""The client: one class, one method for each call of the service."""

# A timeout is a parameter here because it travels: the server learns each call's deadline.
# ruff: noqa: ASYNC109

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakSet

import grpc
from grpc_health.v1 import health_pb2

from durachart_client import convert
from durachart_client.calls import Connection, Metadata
from durachart_client.effects import Effects
from durachart_client.gen import machine_service_pb2, state_machine_service_pb2, token_service_pb2
from durachart_client.listing import Listing
from durachart_client.models import (
    Accepted,
    Created,
    InstanceRef,
    InstanceState,
    JournalEntry,
    Json,
    Machine,
    Page,
    Published,
    RetryPolicy,
    Stopped,
    Validation,
    View,
)
from durachart_client.streams import OnInterrupt, ResumableStream
from durachart_client.stubs import Stubs
from durachart_client.tokens import TokenStream
from durachart_client.watch import Watch

DEFAULT_TARGET = "127.0.0.1:7575"


class Client:
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
        self.target = target
        self.namespace = namespace
        self._credentials = credentials
        self._timeout = timeout
        self._metadata: Metadata = metadata if metadata is not None else {}
        self._retry = retry or RetryPolicy()
        self._options = options
        self._open: Stubs | None = None
        self._streams: WeakSet[ResumableStream[Any]] = WeakSet()
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

    # --- instances ---------------------------------------------------------------------------------------

    async def create(
        self,
        machine_id: str,
        instance_id: str,
        input: Json = None,  # noqa: A002 - the contract's word
        *,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        view: View | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> Created:
        """Start an instance at version 0 in the machine's initial state.

        Args:
            machine_id: A published machine; its latest version is pinned.
            instance_id: The caller's own key for the entity.
            input: The machine's input; None means no input.
            labels: To keep with the instance.
            request_id: Idempotency key; None makes one, ``""`` sends none and then nothing is retried.
            view: How much of the state to return; None is the server's default, ``full``.
            namespace: None takes the client's.
            timeout: None takes the client's.

        Raises:
            InstanceExists: There is one already, and no earlier call with this ``request_id`` made it.
            MachineNotFound: No such machine is published.
            PayloadInvalid: The input does not fit the machine's schema.
        """
        key = _request_id(request_id)
        request = state_machine_service_pb2.CreateInstanceRequest(
            instance=self._instance(machine_id, instance_id, namespace),
            input_json="" if input is None else convert.json_text(input),
            request_id=key,
            labels=labels or {},
            view=convert.VIEWS[view],
        )
        answer = await self._write(self._stubs.instances.CreateInstance, request, key, timeout)
        return Created(convert.instance_state(answer.state), answer.replayed)

    async def send(
        self,
        machine_id: str,
        instance_id: str,
        event_type: str,
        data: Mapping[str, Json] | None = None,
        *,
        expected_version: int | None = None,
        create_if_missing: bool = False,
        input: Json = None,  # noqa: A002 - the contract's word
        request_id: str | None = None,
        view: View | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> Accepted:
        """Send one event and return the state it led to, which is on disk by then.

        Args:
            machine_id: The machine.
            instance_id: The instance.
            event_type: What happened.
            data: The event's own keys; None is none.
            expected_version: The version last seen; None takes whatever is current. 0 is a version.
            create_if_missing: Create the instance in the same transaction if there is none.
            input: The machine's input in that case.
            request_id: Idempotency key; None makes one, ``""`` sends none and then nothing is retried.
            view: How much of the state to return; None is the server's default, ``full``.
            namespace: None takes the client's.
            timeout: None takes the client's.

        Raises:
            EventRefused: The machine refused; the subclass says why, and it is in the journal.
            VersionConflict: The instance is at another version than ``expected_version``.
            PayloadInvalid: ``data`` does not fit the event's schema.
            InstanceNotFound: There is no such instance.
            RequestIdReused: ``request_id`` was used for another request.
            Unavailable, DeadlineExceeded: The event may have been taken; send it again with the error's
                ``request_id``.
        """
        key = _request_id(request_id)
        request = state_machine_service_pb2.SendEventRequest(
            instance=self._instance(machine_id, instance_id, namespace),
            expected_version=expected_version,
            request_id=key,
            create_if_missing=create_if_missing,
            input_json="" if input is None else convert.json_text(input),
            view=convert.VIEWS[view],
        )
        request.event.type = event_type
        request.event.data_json = convert.json_text(dict(data)) if data else ""
        answer = await self._write(self._stubs.instances.SendEvent, request, key, timeout)
        return Accepted(
            state=convert.instance_state(answer.state),
            changed=answer.changed,
            replayed=answer.replayed,
            effects=tuple(convert.journal_effect(one) for one in answer.effects),
        )

    async def get(
        self,
        machine_id: str,
        instance_id: str,
        *,
        view: View | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> InstanceState:
        """The last committed state of an instance.

        Raises:
            InstanceNotFound: There is no such instance.
        """
        request = state_machine_service_pb2.GetStateRequest(
            instance=self._instance(machine_id, instance_id, namespace), view=convert.VIEWS[view]
        )
        answer = await self._read(self._stubs.instances.GetState, request, timeout)
        return convert.instance_state(answer.state)

    def watch(
        self,
        machine_id: str = "",
        *instance_ids: str,
        instances: Sequence[InstanceRef] = (),
        resume_token: str = "",
        view: View | None = None,
        progress_interval: timedelta = timedelta(seconds=15),
        end_on_final: bool = False,
        namespace: str | None = None,
        on_interrupt: OnInterrupt | None = None,
    ) -> Watch:
        """Watch instances: what they are, then every accepted change, each once and in order.

        ``watch("order", "o-1")`` watches one instance, ``watch("order")`` all of a machine, ``instances=``
        any 1,000. A lost connection is replaced without loss; only the first must come about within the
        client's timeout.

        Args:
            machine_id: The machine; ``""`` when ``instances`` are given.
            instance_ids: Instances of that machine; none watches all of them.
            instances: Instances of several machines or namespaces.
            resume_token: Token of the last event processed: go on strictly after it, without snapshots.
            view: How much state an event carries; None is the server's default, ``full``.
            progress_interval: How often the server proves to be alive, within 1 s and 60 s; after 2.5
                silent intervals the connection is replaced.
            end_on_final: End once every watched instance has finished; only with named instances.
            namespace: None takes the client's.
            on_interrupt: Called with the reason and the wait when a connection was lost.

        Raises:
            ValueError: Neither or both of ``machine_id`` and ``instances``.
        """
        if bool(machine_id) == bool(instances):
            raise ValueError("give either a machine, with instance ids or without, or `instances`")
        request = state_machine_service_pb2.WatchStateRequest(
            resume_token=resume_token, view=convert.VIEWS[view], end_on_final=end_on_final
        )
        if machine_id and not instance_ids:
            request.filter.namespace = self.namespace if namespace is None else namespace
            request.filter.machine_id = machine_id
        request.instances.extend(self._instance(machine_id, one, namespace) for one in instance_ids)
        request.instances.extend(convert.instance_message(one) for one in instances)
        stubs = self._stubs
        watch = Watch(
            stubs.connection,
            stubs.instances.WatchState,
            request,
            progress_interval=progress_interval,
            on_interrupt=on_interrupt,
        )
        self._streams.add(watch)
        return watch

    def instances(
        self,
        machine_id: str = "",
        *,
        status: Literal["active", "done"] | None = None,
        view: View | None = None,
        page_size: int = 100,
        page_token: str = "",
        namespace: str | None = None,
    ) -> Listing[InstanceState]:
        """Instances sorted by machine id, then instance id.

        Args:
            machine_id: Only of this machine; ``""`` is all.
            status: Only with this status; None is any.
            view: How much of each; None is the server's default, ``basic``.
            page_size: Instances per call, at most 1,000.
            page_token: Where to begin; ``""`` is the start.
            namespace: None takes the client's.
        """

        async def fetch(token: str) -> Page[InstanceState]:
            request = state_machine_service_pb2.ListInstancesRequest(
                namespace=self.namespace if namespace is None else namespace,
                machine_id=machine_id,
                status=convert.STATUSES[status],
                page_size=page_size,
                page_token=token,
                view=convert.VIEWS[view],
            )
            answer = await self._read(self._stubs.instances.ListInstances, request)
            return Page([convert.instance_state(one) for one in answer.instances], answer.next_page_token)

        return Listing(fetch, page_token)

    def journal(
        self,
        machine_id: str,
        instance_id: str,
        *,
        newest_first: bool = False,
        page_size: int = 100,
        page_token: str = "",
        namespace: str | None = None,
    ) -> Listing[JournalEntry]:
        """Every attempt to change an instance, accepted or refused, oldest first.

        Args:
            machine_id: The machine.
            instance_id: The instance; its journal may outlive it.
            newest_first: The other way round.
            page_size: Entries per call, at most 1,000.
            page_token: Where to begin; ``""`` is the start.
            namespace: None takes the client's.

        Raises while iterating:
            InstanceNotFound: There is no such journal.
        """

        async def fetch(token: str) -> Page[JournalEntry]:
            request = state_machine_service_pb2.ListJournalRequest(
                instance=self._instance(machine_id, instance_id, namespace),
                page_size=page_size,
                page_token=token,
                newest_first=newest_first,
            )
            answer = await self._read(self._stubs.instances.ListJournal, request)
            return Page([convert.journal_entry(one) for one in answer.entries], answer.next_page_token)

        return Listing(fetch, page_token)

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
        key = _request_id(request_id)
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

    def _instance(self, machine_id: str, instance_id: str, namespace: str | None) -> Any:
        chosen = self.namespace if namespace is None else namespace
        return convert.instance_message(InstanceRef(machine_id, instance_id, chosen))

    async def _read(self, method: Any, request: Any, timeout: timedelta | None = None) -> Any:
        return await self._stubs.connection.unary(method, request, timeout=timeout)

    async def _write(self, method: Any, request: Any, request_id: str, timeout: timedelta | None) -> Any:
        return await self._stubs.connection.unary(
            method, request, timeout=timeout, request_id=request_id, repeatable=bool(request_id)
        )


def _request_id(given: str | None) -> str:
    return uuid.uuid4().hex if given is None else given


def _definition_text(definition: Mapping[str, Json] | str) -> str:
    return definition if isinstance(definition, str) else convert.json_text(dict(definition))
