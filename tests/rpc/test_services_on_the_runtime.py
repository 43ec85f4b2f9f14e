"""The real services on the real runtime and store, over gRPC and over gRPC-Web from Node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from durachart.app.server import Server, running
from durachart.app.settings import Settings
from durachart.rpc.gen import errors_pb2 as details
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import token_service_pb2 as tokens
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.callers import Call, Caller, Driver, Ending, WebCaller, grpc_caller, outcome
from tests.rpc.scripted import ANY_PORT

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSTANCES, MACHINES, TOKENS = (
    f"durachart.v1.{name}" for name in ("StateMachineService", "MachineService", "TokenService")
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def durachart(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> AsyncIterator[Server]:
    data = tmp_path_factory.mktemp("data")
    settings = Settings(listen=ANY_PORT, http=ANY_PORT, data_dir=data, machines=repository / "machines")
    async with running(settings) as server:
        yield server


class Client:
    """Calls by name; every test has instances of its own.

    Attributes:
        prefix: Begins the names of its instances.
    """

    def __init__(self, caller: Caller, server: Server, prefix: str) -> None:
        self._caller = caller
        self._methods = server.service.methods
        self.prefix = prefix

    def ref(self, name: str, machine_id: str = "order") -> types.InstanceRef:
        return types.InstanceRef(machine_id=machine_id, instance_id=f"{self.prefix}-{name}")

    def start(self, method: str, request: Message) -> Call:
        return self._caller.start(self._methods[method], request)

    async def ask(self, method: str, request: Message) -> Any:
        """The one response."""
        responses, ending = await outcome(self.start(method, request))
        assert ending.code == "OK", ending
        (response,) = responses
        return response

    async def refused(self, method: str, request: Message) -> Ending:
        responses, ending = await outcome(self.start(method, request))
        assert responses == []
        return ending

    def event(self, name: str, kind: str, data: object = None, **fields: Any) -> instances.SendEventRequest:
        event = types.Event(type=kind, data_json="" if data is None else json.dumps(data))
        return instances.SendEventRequest(
            instance=fields.pop("instance", self.ref(name)), event=event, **fields
        )

    async def send(self, name: str, kind: str, data: object = None, **fields: Any) -> Any:
        return await self.ask(f"{INSTANCES}/SendEvent", self.event(name, kind, data, **fields))

    async def create(self, name: str, **fields: Any) -> Any:
        request = instances.CreateInstanceRequest(instance=fields.pop("instance", self.ref(name)), **fields)
        return await self.ask(f"{INSTANCES}/CreateInstance", request)


@pytest_asyncio.fixture(loop_scope="module", params=["grpc", "grpc_web"])
async def client(request: pytest.FixtureRequest, durachart: Server, driver: Driver) -> AsyncIterator[Client]:
    assert durachart.http is not None
    prefix = f"{request.param}-{request.node.originalname}"
    async with AsyncExitStack() as stack:
        caller: Caller = WebCaller(driver, f"http://{durachart.http}", request.param)
        if request.param == "grpc":
            caller = await stack.enter_async_context(grpc_caller(durachart.grpc))
        yield Client(caller, durachart, prefix)


ITEM = {"sku": "tea", "quantity": 2, "price_cents": 450}


async def test_an_order_is_driven_to_its_end(client: Client) -> None:
    """A12: state, context, version and allowed events come in one call."""
    created = await client.create("o", input_json='{"customer": "ada"}', labels={"shop": "berlin"})
    assert (created.state.version, created.state.value_json) == (0, '"draft"')
    assert dict(created.state.labels) == {"shop": "berlin"}
    added = await client.send("o", "ADD_ITEM", ITEM, expected_version=0)
    assert (added.state.version, added.changed, added.replayed) == (1, True, False)
    await client.send("o", "SUBMIT")
    read = await client.ask(f"{INSTANCES}/GetState", instances.GetStateRequest(instance=client.ref("o")))
    assert list(read.state.allowed_events) == ["CANCEL", "PAYMENT_FAILED", "PAYMENT_SUCCESS"]
    paid = await client.send("o", "PAYMENT_SUCCESS", {"payment_id": "p-7"}, view=types.INSTANCE_VIEW_BASIC)
    assert paid.state.status == types.INSTANCE_STATUS_DONE
    assert paid.state.context_json == ""
    read = await client.ask(f"{INSTANCES}/GetState", instances.GetStateRequest(instance=client.ref("o")))
    assert json.loads(read.state.context_json)["payment_id"] == "p-7"
    assert read.state.HasField("evaluate_time")


async def test_refusals_say_what_would_be_allowed(client: Client) -> None:
    """A5, A6: refusals are told apart, a conflict shows both versions, not-found is typed."""
    await client.create("o", input_json='{"customer": "ada"}')
    guard = await client.refused(f"{INSTANCES}/SendEvent", client.event("o", "SUBMIT"))
    assert (guard.code, guard.info.reason) == ("FAILED_PRECONDITION", "GUARD_REJECTED")
    refusal = guard.detail(details.EventRefusal)
    assert list(refusal.guards) == ["hasItems"]
    assert list(refusal.allowed_events) == ["ADD_ITEM", "CANCEL"]
    unknown = await client.refused(f"{INSTANCES}/SendEvent", client.event("o", "NOTHING"))
    assert unknown.info.reason == "EVENT_NOT_ALLOWED"
    conflict = await client.refused(f"{INSTANCES}/SendEvent", client.event("o", "CANCEL", expected_version=9))
    assert conflict.code == "ABORTED"
    assert conflict.detail(details.VersionConflict).actual_version == 0
    payload = await client.refused(f"{INSTANCES}/SendEvent", client.event("o", "ADD_ITEM", {"sku": 7}))
    assert (payload.code, payload.info.reason) == ("INVALID_ARGUMENT", "PAYLOAD_INVALID")
    missing = await client.refused(f"{INSTANCES}/SendEvent", client.event("nobody", "CANCEL"))
    assert (missing.code, missing.info.reason) == ("NOT_FOUND", "INSTANCE_NOT_FOUND")
    exists = instances.CreateInstanceRequest(instance=client.ref("o"))
    assert (await client.refused(f"{INSTANCES}/CreateInstance", exists)).code == "ALREADY_EXISTS"

    journal = await client.ask(
        f"{INSTANCES}/ListJournal", instances.ListJournalRequest(instance=client.ref("o"))
    )
    assert [(entry.seq, entry.reason) for entry in journal.entries] == [
        (1, ""),
        (2, "GUARD_REJECTED"),
        (3, "EVENT_NOT_ALLOWED"),
        (4, "VERSION_CONFLICT"),
        (5, "PAYLOAD_INVALID"),
        (6, "INSTANCE_EXISTS"),
    ]
    assert {entry.actor for entry in journal.entries} == {"anonymous"}


async def test_a_repeated_request_gets_its_first_answer(client: Client) -> None:
    first = await client.send("o", "ADD_ITEM", ITEM, create_if_missing=True, request_id="r-1")
    again = await client.send("o", "ADD_ITEM", ITEM, create_if_missing=True, request_id="r-1")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.state.version == first.state.version == 1
    reused = await client.refused(f"{INSTANCES}/SendEvent", client.event("o", "SUBMIT", request_id="r-1"))
    assert (reused.code, reused.info.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    refused = client.event("o", "NOTHING", request_id="r-2")
    await client.refused(f"{INSTANCES}/SendEvent", refused)
    replayed = await client.refused(f"{INSTANCES}/SendEvent", refused)
    assert replayed.info.metadata["replayed"] == "true"


async def test_lists_are_paged(client: Client) -> None:
    for name in "abc":
        await client.create(name)

    async def page(token: str) -> Any:
        request = instances.ListInstancesRequest(machine_id="order", page_size=2, page_token=token)
        return await client.ask(f"{INSTANCES}/ListInstances", request)

    found, token = [], ""
    while True:
        listed = await page(token)
        assert len(listed.instances) <= 2
        found += [state.instance.instance_id for state in listed.instances]
        if not (token := listed.next_page_token):
            break
    mine = [name for name in found if name.startswith(client.prefix)]
    assert mine == [f"{client.prefix}-{name}" for name in "abc"]
    assert found == sorted(found)
    bad = instances.ListInstancesRequest(page_token="made up")
    assert (await client.refused(f"{INSTANCES}/ListInstances", bad)).info.reason == "PAGE_TOKEN_INVALID"


async def test_lists_and_watches_are_narrowed_by_state_label_and_expression(client: Client) -> None:
    """E8: instances are found by state and by fields."""
    mine = {"narrow": client.prefix}
    for name in ("x", "y"):
        await client.create(name, labels=mine)
    await client.send("y", "ADD_ITEM", ITEM)
    await client.send("y", "CANCEL")
    wanted = instances.ListInstancesRequest(labels=mine, state_ids=["order.draft"], filter="version < 3")
    listed = await client.ask(f"{INSTANCES}/ListInstances", wanted)
    assert [state.instance for state in listed.instances] == [client.ref("x")]
    wrong = await client.refused(
        f"{INSTANCES}/ListInstances", instances.ListInstancesRequest(filter="context. >")
    )
    assert (wrong.code, wrong.info.reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    narrowed = instances.WatchFilter(machine_id="order", labels=mine, state_ids=["order.draft"])
    watch = client.start(f"{INSTANCES}/WatchState", instances.WatchStateRequest(filter=narrowed))
    frames: list[Any] = []
    while not frames or frames[-1].WhichOneof("body") != "synced":
        frames.extend((await watch.read()).frames)
    assert [frame.snapshot.instance for frame in frames[:-1]] == [client.ref("x")]
    await client.send("x", "CANCEL")
    while frames[-1].WhichOneof("body") != "transition":
        frames.extend((await watch.read()).frames)
    assert not frames[-1].transition.matches
    await watch.cancel()


async def test_a_watch_begins_with_what_is_and_goes_on_with_what_happens(client: Client) -> None:
    """F1, F3: state changes are streamed."""
    await client.create("o")
    request = instances.WatchStateRequest(instances=[client.ref("o")])
    watch = client.start(f"{INSTANCES}/WatchState", request)
    frames: list[Any] = []

    async def until(kind: str) -> Any:
        while not frames or frames[-1].WhichOneof("body") != kind:
            frames.extend((await watch.read()).frames)
        return frames[-1]

    synced = await until("synced")
    assert [frame.WhichOneof("body") for frame in frames] == ["snapshot", "synced"]
    await client.send("o", "ADD_ITEM", ITEM)
    moved = await until("transition")
    assert moved.transition.state.version == 1
    assert moved.transition.entry.event_type == "ADD_ITEM"
    await watch.cancel()

    await client.send("o", "CANCEL", {"reason": "changed my mind"})
    request.resume_token = synced.resume_token
    request.end_on_final = True
    responses, ending = await outcome(client.start(f"{INSTANCES}/WatchState", request))
    resumed = [frame for response in responses for frame in response.frames]
    versions = [frame.transition.state.version for frame in resumed if frame.HasField("transition")]
    assert (versions, ending.code) == ([1, 2], "OK")
    request.resume_token = "made up"
    assert (await client.refused(f"{INSTANCES}/WatchState", request)).info.reason == "RESUME_TOKEN_INVALID"


async def test_machines_are_checked_published_and_read(client: Client) -> None:
    definition = {
        "machine": {
            "id": client.prefix,
            "description": "a light",
            "initial": "off",
            "states": {"off": {"on": {"PRESS": "on"}}, "on": {"on": {"PRESS": "off"}}},
        }
    }
    publish = machines.PublishMachineRequest(definition_json=json.dumps(definition))
    published = await client.ask(f"{MACHINES}/PublishMachine", publish)
    assert (published.created, published.machine.version) == (True, 1)
    assert list(published.machine.event_types) == ["PRESS"]
    assert (await client.ask(f"{MACHINES}/PublishMachine", publish)).created is False

    read = await client.ask(f"{MACHINES}/GetMachine", machines.GetMachineRequest(machine_id=client.prefix))
    assert json.loads(read.machine.definition_json)["machine"] == definition["machine"]
    listed = await client.ask(f"{MACHINES}/ListMachines", machines.ListMachinesRequest())
    assert {client.prefix, "order", "canvas"} <= {machine.machine_id for machine in listed.machines}
    missing = machines.GetMachineRequest(machine_id=client.prefix, version=9)
    assert (await client.refused(f"{MACHINES}/GetMachine", missing)).info.reason == "MACHINE_NOT_FOUND"


async def test_a_definition_with_problems_names_them_all(client: Client) -> None:
    states = {"a": {"on": {"GO": "nowhere"}, "invoke": {"src": "fetch"}}}
    definition = json.dumps({"machine": {"id": client.prefix, "initial": "a", "states": states}})
    publish = machines.PublishMachineRequest(definition_json=definition)
    refused = await client.refused(f"{MACHINES}/PublishMachine", publish)
    assert (refused.code, refused.info.reason) == ("INVALID_ARGUMENT", "DEFINITION_INVALID")
    paths = {finding.path for finding in refused.detail(details.DefinitionProblems).findings}
    assert any(path.startswith("/machine/states/a/invoke") for path in paths)
    validate = machines.ValidateMachineRequest(definition_json=definition)
    checked = await client.ask(f"{MACHINES}/ValidateMachine", validate)
    assert checked.valid is False
    assert {finding.path for finding in checked.findings} >= paths
    nonsense = machines.ValidateMachineRequest(definition_json="{")
    assert (await client.ask(f"{MACHINES}/ValidateMachine", nonsense)).valid is False


async def test_a_generation_is_watched_to_its_end(client: Client) -> None:
    """F3, A20: tokens are streamed; the response is stored only when complete."""
    ref = client.ref("c", "canvas")
    none = await client.refused(f"{TOKENS}/WatchTokens", tokens.WatchTokensRequest(instance=ref))
    assert (none.code, none.info.reason) == ("NOT_FOUND", "NO_GENERATION")
    await client.send("c", "SUBMIT", {"prompt": "Explain statecharts."}, instance=ref, create_if_missing=True)
    responses, ending = await outcome(
        client.start(f"{TOKENS}/WatchTokens", tokens.WatchTokensRequest(instance=ref))
    )
    assert ending.code == "OK"
    frames = [frame for response in responses for frame in response.frames]
    assert frames[0].HasField("started")
    assert frames[-1].end.outcome == tokens.TokenEnd.OUTCOME_COMPLETED
    text = "".join(frame.text for frame in frames)
    offset = 0
    for frame in frames:
        assert frame.offset == offset
        offset = frame.next_offset
    state = (await client.ask(f"{INSTANCES}/GetState", instances.GetStateRequest(instance=ref))).state
    assert json.loads(state.context_json)["response"] == text
    late = tokens.WatchTokensRequest(instance=ref, attempt=1, offset=len(text) - 3)
    responses, _ = await outcome(client.start(f"{TOKENS}/WatchTokens", late))
    assert "".join(frame.text for response in responses for frame in response.frames) == text[-3:]


async def test_a_generation_is_stopped(client: Client) -> None:
    """A21: Stop aborts the stream, and the canvas shows its stored state again."""
    ref = client.ref("c", "canvas")
    await client.send("c", "SET_EVALS", {"evals": []}, instance=ref, create_if_missing=True)
    stop = tokens.StopGenerationRequest(instance=ref)
    idle = await client.ask(f"{TOKENS}/StopGeneration", stop)
    assert (idle.stopped, idle.effect_id) == (False, "")
    started = await client.send("c", "SUBMIT", {"prompt": "Write for long."}, instance=ref)
    watch = client.start(f"{TOKENS}/WatchTokens", tokens.WatchTokensRequest(instance=ref))
    stopped = await client.ask(f"{TOKENS}/StopGeneration", stop)
    assert stopped.stopped is True
    assert stopped.effect_id == started.effects[0].effect_id
    assert stopped.state.value_json == '"idle"'
    responses, ending = await outcome(watch)
    assert ending.code == "OK"
    assert responses[-1].frames[-1].end.outcome == tokens.TokenEnd.OUTCOME_STOPPED


async def test_a_watch_is_told_when_the_server_ends(tmp_path: Path, repository: Path, driver: Driver) -> None:
    settings = Settings(listen=ANY_PORT, http=ANY_PORT, data_dir=tmp_path, machines=repository / "machines")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(settings))
        assert server.http is not None
        caller = WebCaller(driver, f"http://{server.http}", "grpc_web")
        client = Client(caller, server, "x")
        await client.create("o")
        request = instances.WatchStateRequest(instances=[client.ref("o")])
        watch = client.start(f"{INSTANCES}/WatchState", request)
        frames = list((await watch.read()).frames)
        while not frames[-1].HasField("synced"):
            frames.extend((await watch.read()).frames)
        ending = asyncio.create_task(stack.aclose())
        closing = (await watch.read()).frames[-1]
        assert closing.resume_token
        assert closing.closing.message == "the server is shutting down"
        assert closing.closing.reconnect_delay.seconds == 1
        assert (await watch.ending()).info.reason == "SHUTTING_DOWN"
        await ending
