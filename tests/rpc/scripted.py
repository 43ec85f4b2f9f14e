"""Handlers for the real contract whose behaviour the request chooses, so that a front can be seen doing
anything.

The instance id says what happens; what a handler saw and did is kept under it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from durachart.fronts.address import Address
from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcServer, GrpcSettings
from durachart.fronts.http_server import HttpSettings
from durachart.fronts.serving import Addresses, serving
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.context import CallContext
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.machine_service import MACHINE_SERVICE, MAX_REQUEST_BYTES
from durachart.rpc.service import Service
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE
from durachart.rpc.tracing import RpcTracing
from tests.rpc.samples import sample

ORIGIN = "https://app.example"
ANY_PORT = Address("127.0.0.1", 0)
FLOOD_FRAME_CHARS = 64 * 1024


class Scripted:
    """The handlers.

    Attributes:
        started: Set when the handler of an instance runs.
        ended: Set when it has been unwound; `how` says by what.
        how: "returned", or the name of what was raised.
        contexts: The context of the last call.
        produced: Responses given out by a stream.
    """

    def __init__(self) -> None:
        self.started: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.how: dict[str, str] = {}
        self.contexts: dict[str, CallContext] = {}
        self.produced: Counter[str] = Counter()

    @asynccontextmanager
    async def _running(self, name: str, ctx: CallContext) -> AsyncIterator[None]:
        self.contexts[name] = ctx
        self.started[name].set()
        try:
            yield
        except BaseException as error:
            self.how[name] = type(error).__name__
            raise
        else:
            self.how[name] = "returned"
        finally:
            self.ended[name].set()

    async def get_state(
        self, request: instances.GetStateRequest, ctx: CallContext
    ) -> instances.GetStateResponse:
        name = request.instance.instance_id
        async with self._running(name, ctx):
            if name.startswith("refuse "):
                ctx.add_trailer("x-refused", "yes")
                raise sample(name.removeprefix("refuse "))
            if name.startswith("hang"):
                await asyncio.get_running_loop().create_future()
            if name == "crash":
                raise RuntimeError("the secret of the server")
            if name == "nothing":
                return None  # type: ignore[return-value]
            if name == "metadata":
                ctx.add_header("x-answer", ctx.metadata.get("x-question"))
                ctx.add_header("x-answer-bin", b"\x00\xff")
                ctx.add_trailer("x-last", "word")
                ctx.add_trailer("x-last-bin", b"\x01\xfe")
            context = "x" * int(name.removeprefix("big ")) if name.startswith("big ") else "{}"
            state = types.InstanceState(instance=request.instance, version=2**53 + 1, context_json=context)
            return instances.GetStateResponse(state=state)

    async def watch_state(
        self, request: instances.WatchStateRequest, ctx: CallContext
    ) -> AsyncGenerator[instances.WatchStateResponse, None]:
        name = request.instances[0].instance_id
        async with self._running(name, ctx):
            ctx.farewell = lambda: _frame("goodbye")
            if name.startswith("hang"):
                await asyncio.get_running_loop().create_future()
            if name.startswith("refuse "):
                raise sample(name.removeprefix("refuse "))
            kind, _, count = name.partition(" ")
            padding = "x" * FLOOD_FRAME_CHARS if kind == "flood" else ""
            for number in range(int(count)):
                self.produced[name] += 1
                yield _frame(f"{number}{padding}")
            if kind == "stay":
                await asyncio.get_running_loop().create_future()
            if kind == "fail":
                raise sample("VERSION_CONFLICT")
            ctx.add_trailer("x-count", count)

    async def create_instance(
        self, request: instances.CreateInstanceRequest, ctx: CallContext
    ) -> instances.CreateInstanceResponse:
        return instances.CreateInstanceResponse(state=types.InstanceState(instance=request.instance))

    async def send_event(
        self, request: instances.SendEventRequest, ctx: CallContext
    ) -> instances.SendEventResponse:
        return instances.SendEventResponse(state=types.InstanceState(instance=request.instance), changed=True)

    async def send_events(
        self, request: instances.SendEventsRequest, ctx: CallContext
    ) -> instances.SendEventsResponse:
        results = [
            instances.SendEventResult(response=await self.send_event(r, ctx)) for r in request.requests
        ]
        return instances.SendEventsResponse(results=results)

    async def stream_events(
        self, requests: AsyncIterator[instances.StreamEventsRequest], ctx: CallContext
    ) -> AsyncGenerator[instances.StreamEventsResponse, None]:
        async for request in requests:
            response = instances.StreamEventsResponse()
            for event in request.events or (request,):
                response.results.add(
                    correlation_id=event.correlation_id, response=await self.send_event(event.send_event, ctx)
                )
            yield response

    async def preview_event(
        self, request: instances.PreviewEventRequest, ctx: CallContext
    ) -> instances.PreviewEventResponse:
        return instances.PreviewEventResponse(accepted=True)

    async def delete_instance(
        self, request: instances.DeleteInstanceRequest, ctx: CallContext
    ) -> instances.DeleteInstanceResponse:
        return instances.DeleteInstanceResponse(state=types.InstanceState(instance=request.instance))

    async def list_instances(
        self, request: instances.ListInstancesRequest, ctx: CallContext
    ) -> instances.ListInstancesResponse:
        return instances.ListInstancesResponse()

    async def list_journal(
        self, request: instances.ListJournalRequest, ctx: CallContext
    ) -> instances.ListJournalResponse:
        return instances.ListJournalResponse()

    async def publish_machine(
        self, request: machines.PublishMachineRequest, ctx: CallContext
    ) -> machines.PublishMachineResponse:
        machine = machines.Machine(machine_id="m", version=1, description=str(len(request.definition_json)))
        return machines.PublishMachineResponse(machine=machine, created=True)

    async def validate_machine(
        self, request: machines.ValidateMachineRequest, ctx: CallContext
    ) -> machines.ValidateMachineResponse:
        return machines.ValidateMachineResponse(valid=True)

    async def get_machine(
        self, request: machines.GetMachineRequest, ctx: CallContext
    ) -> machines.GetMachineResponse:
        return machines.GetMachineResponse()

    async def list_machines(
        self, request: machines.ListMachinesRequest, ctx: CallContext
    ) -> machines.ListMachinesResponse:
        return machines.ListMachinesResponse()


def _frame(token: str) -> instances.WatchStateResponse:
    return instances.WatchStateResponse(frames=[instances.WatchFrame(resume_token=token)])


def scripted_service(scripted: Scripted, tracing: RpcTracing | None = None) -> Service:
    """The scripted handlers as a service, health and reflection included."""
    return assemble(
        [
            Served(STATE_MACHINE_SERVICE, scripted),
            Served(MACHINE_SERVICE, scripted, max_request_bytes=MAX_REQUEST_BYTES),
        ],
        tracing=tracing,
    )


class Running:
    """A server with both fronts.

    Attributes:
        addresses: Where it listens.
        service: Its core.
        scripted: Its handlers.
        grpcio: Where gRPC's own server listens as well; None: nowhere.
    """

    def __init__(
        self, addresses: Addresses, service: Service, scripted: Scripted, grpcio: Address | None = None
    ) -> None:
        self.addresses = addresses
        self.grpcio = grpcio
        self.service = service
        self.scripted = scripted

    @property
    def grpc(self) -> Address:
        assert self.addresses.grpc is not None
        return self.addresses.grpc

    @property
    def http(self) -> Address:
        assert self.addresses.http is not None
        return self.addresses.http

    @property
    def url(self) -> str:
        return f"http://{self.http}"


@asynccontextmanager
async def running(
    tracing: RpcTracing | None = None,
    drain_grace_s: float = 5.0,
    make: Callable[[Scripted, RpcTracing | None], Service] = scripted_service,
    grpc_server: GrpcServer = "own",
    beside: GrpcServer | None = None,
) -> AsyncIterator[Running]:
    """A server with both fronts on ports of the system's choice; ``beside``: and another for gRPC."""
    scripted = Scripted()
    service = make(scripted, tracing)
    async with AsyncExitStack() as stack:
        other = None
        if beside is not None:
            settings = GrpcSettings(address=ANY_PORT, server=beside)
            other = await stack.enter_async_context(serve_grpc(service, settings))
        addresses = await stack.enter_async_context(
            serving(
                service,
                grpc=GrpcSettings(address=ANY_PORT, server=grpc_server),
                http=HttpSettings(address=ANY_PORT, cors_origins=(ORIGIN,)),
                drain_grace_s=drain_grace_s,
            )
        )
        yield Running(addresses, service, scripted, other)
