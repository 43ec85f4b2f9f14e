"""The calls about instances."""

# A timeout is a parameter here because it travels: the server learns each call's deadline.
# ruff: noqa: ASYNC109

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal
from weakref import WeakSet

from durachart_client import convert
from durachart_client.errors import ServerError
from durachart_client.event_stream import EventStream
from durachart_client.gen import state_machine_service_pb2
from durachart_client.listing import Listing
from durachart_client.models import (
    Accepted,
    Created,
    Deleted,
    EventToSend,
    InstanceRef,
    InstanceState,
    JournalEntry,
    Json,
    Page,
    Preview,
    View,
)
from durachart_client.rebuild import status_error
from durachart_client.streams import OnInterrupt, ResumableStream
from durachart_client.stubs import Stubs
from durachart_client.watch import Watch


class InstanceCalls(ABC):
    """What :class:`Client` can ask of instances.

    Attributes:
        namespace: Namespace of every call that names none.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._streams: WeakSet[ResumableStream[Any] | EventStream] = WeakSet()

    @property
    @abstractmethod
    def _stubs(self) -> Stubs:
        """The open connection's. Raises RuntimeError when there is none."""

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
        key = self._request_id(request_id)
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
        event = EventToSend(
            machine_id,
            instance_id,
            event_type,
            data,
            expected_version=expected_version,
            create_if_missing=create_if_missing,
            input=input,
            request_id=request_id,
            view=view,
            namespace=namespace,
        )
        request = convert.send_event_request(event, self.namespace)
        answer = await self._write(self._stubs.instances.SendEvent, request, request.request_id, timeout)
        return convert.accepted(answer)

    async def send_many(
        self, events: Sequence[EventToSend], *, timeout: timedelta | None = None
    ) -> list[Accepted | ServerError]:
        """Send up to 1,000 events in one call, which costs much less than a call for each.

        It is no transaction: each stands for itself. Events of one instance are judged in the order given.

        Args:
            events: What to send.
            timeout: None takes the client's.

        Returns:
            For each event, in order, its answer, or the error that ``send`` would have raised. Those for
            which there is no room in 2 MiB together are in view ``basic``, with effects without parameters.

        Raises:
            ServerError: The call as a whole failed. Events that have request ids may be sent again.
        """
        requests = [convert.send_event_request(event, self.namespace) for event in events]
        answer = await self._stubs.connection.unary(
            self._stubs.instances.SendEvents,
            state_machine_service_pb2.SendEventsRequest(requests=requests),
            timeout=timeout,
            repeatable=all(request.request_id for request in requests),
        )
        return [
            convert.accepted(result.response)
            if result.HasField("response")
            else status_error(result.error, request_id=request.request_id)
            for request, result in zip(requests, answer.results, strict=True)
        ]

    def stream_events(self, *, window: int = 256) -> EventStream:
        """A stream of events that are sent without waiting for answers; the fastest way to send many.

        ``async with client.stream_events() as stream: answer = await stream.send(EventToSend(...))`` gives a
        future of the answer. A lost connection is replaced, and what has no answer yet is sent again.

        Args:
            window: How many events may be unanswered before ``send`` waits, >= 1; the server has one too.
        """
        stream = EventStream(self._stubs, self.namespace, window)
        self._streams.add(stream)
        return stream

    async def preview(
        self,
        machine_id: str,
        instance_id: str,
        event_type: str,
        data: Mapping[str, Json] | None = None,
        *,
        version: int | None = None,
        view: View | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> Preview:
        """What an event would do, without anything being written; a refusal is no error here.

        Args:
            machine_id: The machine.
            instance_id: The instance.
            event_type: What would happen.
            data: The event's own keys; None is none.
            version: At which version to ask; None is the current one. 0 is a version.
            view: How much of the state to return; None is the server's default, ``full``.
            namespace: None takes the client's.
            timeout: None takes the client's.

        Raises:
            InstanceNotFound: There is no such instance.
            VersionNotFound: It has not reached that version, or the journal does not hold it any more.
        """
        request = state_machine_service_pb2.PreviewEventRequest(
            instance=self._instance(machine_id, instance_id, namespace),
            version=version,
            view=convert.VIEWS[view],
        )
        request.event.type = event_type
        request.event.data_json = convert.json_text(dict(data)) if data else ""
        return convert.preview(await self._read(self._stubs.instances.PreviewEvent, request, timeout))

    async def delete(
        self,
        machine_id: str,
        instance_id: str,
        *,
        expected_version: int | None = None,
        purge: bool = False,
        request_id: str | None = None,
        namespace: str | None = None,
        timeout: timedelta | None = None,
    ) -> Deleted:
        """End an instance with its timers and effects; another may be created under its name.

        Args:
            machine_id: The machine.
            instance_id: The instance.
            expected_version: The version last seen; None takes whatever is current. 0 is a version.
            purge: Remove its journal and effects at once, but for the entry of the deletion itself.
            request_id: Idempotency key; None makes one, ``""`` sends none and then nothing is retried.
            namespace: None takes the client's.
            timeout: None takes the client's.

        Raises:
            InstanceNotFound: There is no such instance.
            VersionConflict: The instance is at another version than ``expected_version``.
        """
        key = self._request_id(request_id)
        request = state_machine_service_pb2.DeleteInstanceRequest(
            instance=self._instance(machine_id, instance_id, namespace),
            expected_version=expected_version,
            request_id=key,
            purge=purge,
        )
        answer = await self._write(self._stubs.instances.DeleteInstance, request, key, timeout)
        return Deleted(convert.instance_state(answer.state), answer.replayed)

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
        state_ids: Sequence[str] = (),
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        status: Literal["active", "done"] | None = None,
        resume_token: str = "",
        view: View | None = None,
        progress_interval: timedelta = timedelta(seconds=15),
        end_on_final: bool = False,
        conflate: bool = False,
        include_tokens: bool = False,
        namespace: str | None = None,
        on_interrupt: OnInterrupt | None = None,
    ) -> Watch:
        """Watch instances: what they are, then every accepted change, each once and in order.

        ``watch("order", "o-1")`` watches one instance, ``watch("order")`` all of a machine, ``instances=``
        any 1,000. What is watched of a machine can be narrowed; a change is told when the state before or
        after it is wanted, and says by ``matches`` whether the instance still is. A lost connection is
        replaced without loss; only the first must come about within the client's timeout.

        Args:
            machine_id: The machine; ``""`` when ``instances`` are given.
            instance_ids: Instances of that machine; none watches all of them.
            instances: Instances of several machines or namespaces.
            state_ids: Of a machine's instances, those with an active state of one of these ids; empty: any.
            tags: Those that have all of these tags; empty: any.
            labels: Those that have all of these labels; None or empty: any.
            status: Those with this status; None: any.
            resume_token: Token of the last event processed: go on strictly after it, without snapshots.
            view: How much state an event carries; None is the server's default, ``full``.
            progress_interval: How often the server proves to be alive, within 1 s and 60 s; after 2.5
                silent intervals the connection is replaced.
            end_on_final: End once every watched instance has finished; only with named instances.
            conflate: When this reader falls behind, skip to the latest state of each instance, with a
                :class:`Gap` each, instead of every transition however late.
            include_tokens: Text of the instances' generations as well, as :class:`Tokens`.
            namespace: None takes the client's.
            on_interrupt: Called with the reason and the wait when a connection was lost; the reason is
                ``StreamClosing`` when the server announced it.

        Raises:
            ValueError: Neither or both of ``machine_id`` and ``instances``, or named instances are narrowed.
        """
        if bool(machine_id) == bool(instances):
            raise ValueError("give either a machine, with instance ids or without, or `instances`")
        if (state_ids or tags or labels or status) and (instances or instance_ids):
            raise ValueError("state ids, tags, labels and status narrow a machine, not named instances")
        request = state_machine_service_pb2.WatchStateRequest(
            resume_token=resume_token,
            view=convert.VIEWS[view],
            end_on_final=end_on_final,
            conflate=conflate,
            include_tokens=include_tokens,
        )
        if machine_id and not instance_ids:
            request.filter.namespace = self.namespace if namespace is None else namespace
            request.filter.machine_id = machine_id
            request.filter.state_ids.extend(state_ids)
            request.filter.tags.extend(tags)
            request.filter.labels.update(labels or {})
            request.filter.status = convert.STATUSES[status]
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
        state_ids: Sequence[str] = (),
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        filter: str = "",  # noqa: A002 - the contract's word
        view: View | None = None,
        page_size: int = 100,
        page_token: str = "",
        namespace: str | None = None,
    ) -> Listing[InstanceState]:
        """Instances sorted by machine id, then instance id.

        Args:
            machine_id: Only of this machine; ``""`` is all.
            status: Only with this status; None is any.
            state_ids: Only with an active state of one of these ids; empty is any.
            tags: Only with all of these tags; empty is any.
            labels: Only with all of these labels; None or empty is any.
            filter: Only those for which this CEL expression is true, for example ``context.total > 100.0``; a
                page may then hold fewer instances, or none, and still not be the last. ``""`` is any.
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
                state_ids=state_ids,
                tags=tags,
                labels=labels or {},
                filter=filter,
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

    # --- inside ------------------------------------------------------------------------------------------

    def _instance(self, machine_id: str, instance_id: str, namespace: str | None) -> Any:
        chosen = self.namespace if namespace is None else namespace
        return convert.instance_message(InstanceRef(machine_id, instance_id, chosen))

    async def _read(self, method: Any, request: Any, timeout: timedelta | None = None) -> Any:
        return await self._stubs.connection.unary(method, request, timeout=timeout)

    async def _write(self, method: Any, request: Any, request_id: str, timeout: timedelta | None) -> Any:
        return await self._stubs.connection.unary(
            method, request, timeout=timeout, request_id=request_id, repeatable=bool(request_id)
        )

    @staticmethod
    def _request_id(given: str | None) -> str:
        return uuid.uuid4().hex if given is None else given
