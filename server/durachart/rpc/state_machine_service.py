"""durachart.v1.StateMachineService on the runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from google.protobuf.message import Message

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.many_events import DEFAULT_WINDOW, EventSender, EventStream, send_all
from durachart.rpc.watch_responses import WatchResponses, WatchTelling
from durachart.runtime.commands import CreateInstance, DeleteInstance
from durachart.runtime.preview import Asked
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import View, WatchSpec

STATE_MACHINE_SERVICE = pb.DESCRIPTOR.services_by_name["StateMachineService"]


class StateMachineHandlers:
    """Instances: create, send events, read, watch, and read the journal.

    Args:
        runtime: What does it.
        reconnect_delay: What watches are told to wait before they reconnect when the server shuts down.
        stream_window: How many events of one StreamEvents may be unanswered, >= 1.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        reconnect_delay: timedelta = timedelta(seconds=1),
        stream_window: int = DEFAULT_WINDOW,
    ) -> None:
        self._runtime = runtime
        self._stream_window = stream_window
        self._reconnect_delay = reconnect_delay
        self._responses = WatchResponses()

    async def create_instance(
        self, request: pb.CreateInstanceRequest, ctx: CallContext
    ) -> pb.CreateInstanceResponse:
        """Start an instance."""
        command = CreateInstance(
            key=convert.key_of(request.instance),
            input_json=request.input_json,
            request_id=request.request_id,
            labels=dict(request.labels),
            view=convert.view_of(request.view, View.FULL),
        )
        created = await self._runtime.create_instance(command, convert.caller_of(ctx))
        return pb.CreateInstanceResponse(
            state=convert.instance_state(created.state), replayed=created.replayed
        )

    async def send_event(self, request: pb.SendEventRequest, ctx: CallContext) -> pb.SendEventResponse:
        """Run one macrostep; answers after it is on disk."""
        command = convert.send_event(request)
        return convert.accepted(await self._runtime.send_event(command, convert.caller_of(ctx)))

    async def send_events(self, request: pb.SendEventsRequest, ctx: CallContext) -> pb.SendEventsResponse:
        """Send several events, each for itself."""
        return await send_all(EventSender(self._runtime, ctx), request.requests)

    async def stream_events(
        self, requests: AsyncIterator[pb.StreamEventsRequest], ctx: CallContext
    ) -> AsyncGenerator[pb.StreamEventsResponse, None]:
        """Send events as they come, and answer them as they are on disk."""
        stream = EventStream(EventSender(self._runtime, ctx), self._stream_window)
        ctx.on_drain = stream.drain
        async with aclosing(stream.answers(requests)) as answers:
            async for answer in answers:
                yield answer

    async def preview_event(
        self, request: pb.PreviewEventRequest, ctx: CallContext
    ) -> pb.PreviewEventResponse:
        """Tell what an event would do."""
        asked = Asked(
            key=convert.key_of(request.instance),
            event_type=request.event.type,
            data_json=request.event.data_json,
            version=request.version if request.HasField("version") else None,
            view=convert.view_of(request.view, View.FULL),
        )
        return convert.preview(await self._runtime.instances.preview(asked, convert.caller_of(ctx)))

    async def delete_instance(
        self, request: pb.DeleteInstanceRequest, ctx: CallContext
    ) -> pb.DeleteInstanceResponse:
        """End an instance."""
        command = DeleteInstance(
            key=convert.key_of(request.instance),
            expected_version=request.expected_version if request.HasField("expected_version") else None,
            request_id=request.request_id,
            purge=request.purge,
        )
        deleted = await self._runtime.delete_instance(command, convert.caller_of(ctx))
        return pb.DeleteInstanceResponse(
            state=convert.instance_state(deleted.state), replayed=deleted.replayed
        )

    async def get_state(self, request: pb.GetStateRequest, ctx: CallContext) -> pb.GetStateResponse:
        """The last committed state."""
        view = convert.view_of(request.view, View.FULL)
        state = await self._runtime.instances.get(convert.key_of(request.instance), view)
        return pb.GetStateResponse(state=convert.instance_state(state))

    async def watch_state(
        self, request: pb.WatchStateRequest, ctx: CallContext
    ) -> AsyncGenerator[pb.WatchStateResponse, None]:
        """What the watched instances are and what they become.

        Ends with a closing frame when the server shuts down.
        """
        interval = request.progress_interval
        spec = WatchSpec(
            instances=tuple(convert.key_of(ref) for ref in request.instances),
            filter=convert.watch_filter(request.filter) if request.HasField("filter") else None,
            resume_token=request.resume_token,
            view=convert.view_of(request.view, View.FULL),
            progress_interval=convert.interval_of(interval)
            if request.HasField("progress_interval")
            else None,
            end_on_final=request.end_on_final,
            conflate=request.conflate,
            include_tokens=request.include_tokens,
        )
        told = WatchTelling(self._responses, ctx.outlet, request.resume_token)

        def farewell() -> Message:
            frame = pb.WatchFrame(
                resume_token=told.last_token, closing=pb.WatchClosing(message="the server is shutting down")
            )
            frame.closing.reconnect_delay.FromTimedelta(self._reconnect_delay)
            return pb.WatchStateResponse(frames=[frame])

        ctx.farewell = farewell
        watching = self._runtime.watch(spec, convert.caller_of(ctx), told.outlet)
        async with aclosing(watching) as batches:
            async for batch in batches:
                for response in told.responses(batch):
                    yield response

    async def list_instances(
        self, request: pb.ListInstancesRequest, ctx: CallContext
    ) -> pb.ListInstancesResponse:
        """Instances by machine id, then instance id."""
        page = await self._runtime.instances.list(
            request.namespace,
            machine_id=request.machine_id,
            status=convert.status_of(request.status),
            state_ids=tuple(request.state_ids),
            tags=tuple(request.tags),
            labels=dict(request.labels),
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
            view=convert.view_of(request.view, View.BASIC),
        )
        states = [convert.instance_state(state) for state in page.items]
        return pb.ListInstancesResponse(instances=states, next_page_token=page.next_page_token)

    async def list_journal(self, request: pb.ListJournalRequest, ctx: CallContext) -> pb.ListJournalResponse:
        """One instance's journal by seq."""
        page = await self._runtime.instances.journal(
            convert.key_of(request.instance),
            page_size=request.page_size,
            page_token=request.page_token,
            newest_first=request.newest_first,
        )
        entries = [convert.journal_entry(entry) for entry in page.items]
        return pb.ListJournalResponse(entries=entries, next_page_token=page.next_page_token)
