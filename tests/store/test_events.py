"""Commands through the queue: what is acknowledged can be read, by everyone, from then on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import Caller, SendEvent
from durachart.runtime.errors import (
    DeadlineExceeded,
    DurachartError,
    EvaluationFailed,
    EventNotAllowed,
    InstanceCorrupt,
    InstanceNotFound,
    InvalidArgument,
    MachineNotFound,
    Overloaded,
    PageTokenInvalid,
    PayloadInvalid,
    RequestIdReused,
    ShuttingDown,
    StoreUnavailable,
    VersionConflict,
)
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import View
from durachart.store.errors import StoreFailed
from durachart.store.interface import CommitResult, InstanceUpdate, LogMatch, Store, Writes
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.store.stored_rows import journal
from tests.unit.runtime.samples import START_MS, SimulatedClock, job_json, key

StoreMaker = Callable[[], Store]


async def test_an_acknowledged_event_is_read_by_the_next_call_and_after_a_restart(
    make_store: StoreMaker,
) -> None:
    async with serving(make_store) as service:
        await service.create(labels={"team": "red"})
        accepted = await service.send("ADD", {"by": 5})
        assert (accepted.state.version, accepted.changed, accepted.replayed) == (1, True, False)
        state = await service.runtime.instances.get(key())
        assert state == accepted.state
    async with serving(make_store) as service:
        restored = await service.runtime.instances.get(key())
        assert restored == state
        assert (await service.send("ADD", {"by": 2})).state.version == 2
        assert await service.context() == {"n": 7, "who": None}


HISTORY = {
    "machine": {
        "id": "visit",
        "initial": "work",
        "states": {
            "work": {
                "initial": "a",
                "states": {
                    "a": {"on": {"NEXT": "b"}},
                    "b": {"initial": "b1", "states": {"b1": {"on": {"NEXT": "b2"}}, "b2": {}}},
                    "last": {"type": "history"},
                    "exact": {"type": "history", "history": "deep"},
                },
                "on": {"LEAVE": "away"},
            },
            "away": {"on": {"BACK": "work.last", "EXACTLY": "work.exact"}},
        },
    }
}


@pytest.mark.parametrize(
    ("event", "value"), [("BACK", {"work": {"b": "b1"}}), ("EXACTLY", {"work": {"b": "b2"}})]
)
async def test_history_is_restored_after_a_restart(make_store: StoreMaker, event: str, value: Any) -> None:
    """Shallow and deep. Row: B4."""
    visit = InstanceKey("", "visit", "v-1")
    async with serving(make_store) as service:
        await service.runtime.publish(json.dumps(HISTORY), ADA)
        await service.create(visit)
        for each in ("NEXT", "NEXT", "LEAVE"):
            await service.send(each, of=visit)
    async with serving(make_store) as service:
        assert json.loads((await service.send(event, of=visit)).state.value_json) == value


async def test_a_definition_is_read_from_the_store_and_a_newer_one_is_taken_at_once(
    make_store: StoreMaker,
) -> None:
    """What runs keeps its version; nothing is restarted. Row: B5."""
    newer = json.loads(job_json())
    newer["machine"]["states"]["idle"]["on"]["GREET"] = {"actions": "inc"}
    async with serving(make_store) as service:
        await service.create(key("old"))
    async with serving(make_store, published=False) as service:
        assert (await service.send("ADD", of=key("old"))).state.machine_version == 1
        await service.runtime.publish(json.dumps(newer), ADA)
        await service.create(key("new"))
        assert (await service.send("GREET", of=key("new"))).state.machine_version == 2
        with pytest.raises(EventNotAllowed):
            await service.send("GREET", of=key("old"))


async def test_a_state_shows_what_its_view_promises(service: Service) -> None:
    created = await service.create(input_json='{"who":"ada"}', labels={"team": "red"})
    state = created.state
    assert (state.value_json, state.status, state.tags, state.meta_json) == (
        '"idle"',
        "active",
        ("resting",),
        "",
    )
    assert state.allowed_events == ("ADD", "DIVIDE", "GO", "NOTE", "TELL")
    assert state.evaluated_at is not None
    assert state.evaluated_at.timestamp() * 1000 == START_MS
    basic = (await service.send("GO", view=View.BASIC)).state
    assert (basic.context_json, basic.allowed_events, basic.meta_json, basic.evaluated_at) == (
        "",
        (),
        "",
        None,
    )
    assert (basic.labels, basic.version, len(basic.running_effects)) == ({"team": "red"}, 1, 1)
    full = await service.runtime.instances.get(key())
    assert full.meta_json == '{"job.working":{"hint":"wait"}}'
    done = (await service.send("PAID", {"output": {"receipt": "abc"}})).state
    assert (done.status, done.output_json, done.allowed_events) == ("done", '{"ok":true}', ())


async def test_every_attempt_is_in_the_journal(service: Service) -> None:
    await service.create()
    bob = Caller("bob", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    for event in ("ADD", "PAID", "IF_POSITIVE", "DIVIDE", "GO"):
        with suppress(EventNotAllowed, EvaluationFailed):
            await service.send(event, caller=bob)
    entries = await service.journal()
    assert [(entry.seq, entry.event_type, entry.outcome, entry.to_version) for entry in entries] == [
        (1, "", "accepted", 0),
        (2, "ADD", "accepted", 1),
        (3, "PAID", "refused", 1),
        (4, "IF_POSITIVE", "accepted", 2),
        (5, "DIVIDE", "refused", 2),
        (6, "GO", "accepted", 3),
    ]
    revisions = [entry.revision for entry in entries]
    assert revisions == sorted(set(revisions))
    assert {entry.actor for entry in entries} == {"ada", "bob"}
    assert entries[1].traceparent.startswith("00-1111")
    assert [len(entry.effects) for entry in entries] == [0, 0, 0, 0, 0, 1]


async def test_what_leaves_no_row(service: Service) -> None:
    with pytest.raises(MachineNotFound):
        await service.create(InstanceKey("", "none", "1"))
    with pytest.raises(MachineNotFound):
        await service.send("GO", of=InstanceKey("", "none", "1"), create_if_missing=True)
    with pytest.raises(InstanceNotFound):
        await service.send("GO")
    with pytest.raises(InvalidArgument):
        await service.send("xstate.init", create_if_missing=True)
    with pytest.raises(InstanceNotFound):
        await service.journal()
    assert (await service.store.read_log(0, 10, LogMatch())).entries == []


async def test_a_refused_creation_has_a_journal(service: Service) -> None:
    with pytest.raises(PayloadInvalid):
        await service.create(input_json='{"who":1}')
    with pytest.raises(InstanceNotFound):
        await service.runtime.instances.get(key())
    (entry,) = await service.journal()
    assert (entry.cause, entry.outcome, entry.reason, entry.uid) == (
        "create",
        "refused",
        "PAYLOAD_INVALID",
        "",
    )
    await service.create()
    assert [entry.seq for entry in await service.journal()] == [1, 2]


async def test_events_of_one_batch_run_one_after_the_other(service: Service) -> None:
    await service.create()
    accepted = await asyncio.gather(*(service.send("ADD", {"by": n}) for n in range(100)))
    assert sorted(answer.state.version for answer in accepted) == list(range(1, 101))
    assert (await service.context())["n"] == sum(range(100))


async def test_a_bad_event_fails_alone(service: Service) -> None:
    await service.create()
    sent = [
        *(service.send("ADD") for _ in range(5)),
        service.send("DIVIDE"),
        service.send("ADD", "{"),
        service.send("ADD", expected_version=77),
        service.send("NOPE"),
        service.send("ADD", of=key("nobody")),
        *(service.send("ADD") for _ in range(5)),
    ]
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers if isinstance(answer, Exception)] == [
        "EvaluationFailed",
        "PayloadInvalid",
        "VersionConflict",
        "EventNotAllowed",
        "InstanceNotFound",
    ]
    assert (await service.context())["n"] == 10


async def test_of_two_events_for_one_version_one_wins(service: Service) -> None:
    await service.create()
    answers = await asyncio.gather(
        service.send("ADD", expected_version=0),
        service.send("ADD", expected_version=0),
        return_exceptions=True,
    )
    (lost,) = [answer for answer in answers if isinstance(answer, VersionConflict)]
    assert (lost.expected_version, lost.actual_version) == (0, 1)
    assert (await service.runtime.instances.get(key())).version == 1


# --- request ids ----------------------------------------------------------------------------------------


async def _again(service: Service, event: str, data: Any = None, **given: Any) -> tuple[Any, Any]:
    """The answers to the same request sent twice, refusals as their attributes."""
    answers: list[Any] = []
    for _ in range(2):
        try:
            answers.append(await service.send(event, data, request_id="r", **given))
        except DurachartError as error:
            answers.append({"reason": error.reason, **vars(error)})
    return answers[0], answers[1]


async def test_a_repeated_request_gets_the_answer_it_got(service: Service) -> None:
    await service.create(labels={"a": "b"})
    await service.send("ADD", {"by": 2})
    first, again = await _again(service, "GO")
    assert again == first._replace(replayed=True)
    assert len(await service.journal()) == 3


async def test_a_repeated_request_gets_the_state_of_then(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(whole_context_bytes=0, snapshot_every=4)) as service:
        await service.create(input_json='{"who":"' + "x" * 200 + '"}')
        answers = {}
        for n in range(11):
            service.clock.now += 10
            request_id = f"r{n}"
            answers[n] = await service.send("ADD", {"by": n}, request_id=request_id)
        leave = await service.send("GO", request_id="go")
        (leased,) = await service.runtime.lease_effects(
            ["payments.charge"], limit=1, holder="w", lease=timedelta(seconds=9)
        )
        assert leased.attempt == 1
        service.clock.now += 1_000
        for n in range(11):
            again = await service.send("ADD", {"by": n}, request_id=f"r{n}")
            assert again == answers[n]._replace(replayed=True)
        assert await service.send("GO", request_id="go") == leave._replace(replayed=True)
    async with serving(make_store) as service:
        assert await service.send("ADD", {"by": 3}, request_id="r3") == answers[3]._replace(replayed=True)


@pytest.mark.parametrize(
    ("event", "data", "given"),
    [
        ("PAID", None, {}),
        ("IF_POSITIVE", None, {}),
        ("DIVIDE", None, {}),
        ("ADD", '{"by":"x"}', {}),
        ("ADD", "{", {}),
        ("ADD", None, {"expected_version": 4}),
    ],
)
async def test_a_repeated_request_gets_the_refusal_it_got(
    service: Service, event: str, data: Any, given: dict[str, Any]
) -> None:
    await service.create()
    first, again = await _again(service, event, data, **given)
    assert again == {**first, "replayed": True}
    await service.send("ADD")
    assert (await _again(service, event, data, **given))[0] == again
    assert len(await service.journal()) == 3


async def test_the_same_request_id_with_another_body_is_refused(service: Service) -> None:
    await service.create(request_id="r")
    with pytest.raises(RequestIdReused):
        await service.send("ADD", request_id="r")
    await service.send("ADD", {"by": 1}, request_id="s")
    for given in ({"data": {"by": 2}}, {"data": {"by": 1}, "expected_version": 1}):
        with pytest.raises(RequestIdReused):
            await service.send("ADD", request_id="s", **given)
    assert (await service.send("ADD", {"by": 1}, request_id="s", view=View.BASIC)).replayed
    assert (await service.context())["n"] == 1


async def test_request_ids_belong_to_their_instance(service: Service) -> None:
    for name in ("a", "b"):
        await service.create(key(name))
        assert not (await service.send("ADD", of=key(name), request_id="r")).replayed


async def test_the_same_request_twice_in_one_batch_is_one(service: Service) -> None:
    await service.create()
    answers = await asyncio.gather(*(service.send("ADD", request_id="r") for _ in range(10)))
    assert sorted(answer.replayed for answer in answers) == [False, *[True] * 9]
    assert {answer.state.version for answer in answers} == {1}
    refused = await asyncio.gather(
        *(service.send("PAID", request_id="s") for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(error, EventNotAllowed) for error in refused)
    assert sorted(vars(error)["replayed"] for error in refused) == [False, True, True]
    assert len(await service.journal()) == 3


async def test_a_retried_request_does_not_disturb_its_batch(service: Service) -> None:
    await service.create()
    await service.send("ADD", request_id="old")
    answers = await asyncio.gather(
        service.send("ADD", request_id="new"), service.send("ADD", request_id="old"), service.send("ADD")
    )
    assert [answer.replayed for answer in answers] == [False, True, False]
    assert [answer.state.version for answer in answers] == [2, 1, 3]
    assert (await service.context())["n"] == 3


async def test_a_creation_repeated_is_one_instance(service: Service) -> None:
    first = await service.create(request_id="r", labels={"a": "b"})
    await service.send("ADD")
    again = await service.create(request_id="r", labels={"a": "b"})
    assert again == first._replace(replayed=True)
    assert again.state.version == 0


async def test_create_if_missing_repeated_is_one_event(service: Service) -> None:
    command = SendEvent(key(), "ADD", '{"by":3}', create_if_missing=True, request_id="r")
    first = await service.runtime.send_event(command, ADA)
    again = await service.runtime.send_event(command, ADA)
    assert again == first._replace(replayed=True)
    assert (await service.context())["n"] == 3


# --- overload, deadlines, callers that go away -----------------------------------------------------------


class HeldStore:
    """A store whose commits wait until they are let go, or fail when told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: StoreFailed | None = None
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, writes: Writes) -> CommitResult:
        self.commits += 1
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        return await self._store.commit(writes)


def _held(make_store: StoreMaker) -> tuple[StoreMaker, list[HeldStore]]:
    made: list[HeldStore] = []

    def make() -> Any:
        made.append(HeldStore(make_store()))
        return made[-1]

    return make, made


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is the code's own state, which sets no event
        await asyncio.sleep(0)


async def test_too_much_waiting_is_refused_before_it_is_taken_on(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make, RuntimeSettings(max_waiting=5)) as service:
        await service.create()
        stores[0].go_on.clear()
        under_way = asyncio.create_task(service.send("ADD"))
        await _until(lambda: stores[0].commits == 2)
        waiting = [asyncio.create_task(service.send("ADD")) for _ in range(5)]
        await _until(lambda: service.runtime.queue_depth == 5)
        with pytest.raises(Overloaded) as refused:
            await service.send("ADD")
        assert timedelta(0) < refused.value.retry_after <= timedelta(seconds=5)
        stores[0].go_on.set()
        await asyncio.gather(under_way, *waiting)
        assert (await service.send("ADD")).state.version == 7


async def test_waiting_bytes_are_bounded_too(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make, RuntimeSettings(max_waiting_bytes=50_000)) as service:
        await service.create()
        stores[0].go_on.clear()
        under_way = asyncio.create_task(service.send("ADD"))
        await _until(lambda: stores[0].commits == 2)
        large = asyncio.create_task(service.send("NOTE", {"who": "x" * 40_000}))
        await _until(lambda: service.runtime.queue_depth == 1)
        with pytest.raises(Overloaded):
            await service.send("NOTE", {"who": "x" * 40_000})
        stores[0].go_on.set()
        await asyncio.gather(under_way, large)
        await service.send("NOTE", {"who": "x" * 40_000})


async def test_a_command_whose_deadline_passed_in_the_queue_is_not_executed(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make) as service:
        await service.create()
        stores[0].go_on.clear()
        under_way = asyncio.create_task(service.send("ADD"))
        await _until(lambda: stores[0].commits == 2)
        now = asyncio.get_running_loop().time()
        late = asyncio.create_task(service.send("ADD", caller=Caller("ada", "", now)))
        in_time = asyncio.create_task(service.send("ADD", caller=Caller("ada", "", now + 3_600)))
        await _until(lambda: service.runtime.queue_depth == 2)
        stores[0].go_on.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await asyncio.gather(under_way, in_time)
        assert (await service.context())["n"] == 2
        assert len(await service.journal()) == 3


async def test_a_caller_that_goes_away_while_waiting_is_not_served(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make) as service:
        await service.create()
        stores[0].go_on.clear()
        under_way = asyncio.create_task(service.send("ADD"))
        await _until(lambda: stores[0].commits == 2)
        gone = asyncio.create_task(service.send("ADD"))
        await _until(lambda: service.runtime.queue_depth == 1)
        gone.cancel()
        under_way.cancel()
        stores[0].go_on.set()
        await asyncio.gather(gone, under_way, return_exceptions=True)
        # The one whose commit was under way is carried through.
        await service.send("TELL")
        assert (await service.context())["n"] == 1


async def test_a_disk_that_fails_fails_the_batch_and_nothing_else(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make, RuntimeSettings(store_patience=timedelta())) as service:
        await service.create()
        await service.create(key("other"))
        await service.send("ADD")
        stores[0].failure = StoreFailed("the disk is full")
        failed = await asyncio.gather(
            service.send("ADD", request_id="r"), service.send("ADD", of=key("other")), return_exceptions=True
        )
        assert [type(error) for error in failed] == [StoreUnavailable, StoreUnavailable]
        assert (await service.context())["n"] == 1
        stores[0].failure = None
        again = await service.send("ADD", request_id="r")
        assert (again.replayed, again.state.version) == (False, 2)
        assert (await service.context(key("other")))["n"] == 0
        assert [entry.seq for entry in await service.journal()] == [1, 2, 3]


async def test_draining_refuses_new_commands_and_finishes_those_taken_on(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make) as service:
        await service.create()
        stores[0].go_on.clear()
        taken_on = [asyncio.create_task(service.send("ADD")) for _ in range(5)]
        await _until(lambda: stores[0].commits == 2)
        service.runtime.drain()
        with pytest.raises(ShuttingDown):
            await service.send("ADD")
        stores[0].go_on.set()
        assert [answer.state.version for answer in await asyncio.gather(*taken_on)] == [1, 2, 3, 4, 5]


async def test_small_batches_do_the_same_work(make_store: StoreMaker) -> None:
    make, stores = _held(make_store)
    async with serving(make, RuntimeSettings(max_batch=3)) as service:
        await asyncio.gather(*(service.create(key(f"{n}")) for n in range(20)))
        assert stores[0].commits >= 7


# --- memory and definitions ------------------------------------------------------------------------------


async def test_an_instance_that_is_not_in_memory_is_loaded(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(cached_instances=1)) as service:
        for name in ("a", "b", "c"):
            await service.create(key(name))
        for n in range(3):
            for name in ("a", "b", "c"):
                assert (await service.send("ADD", of=key(name))).state.version == n + 1
        answers = await asyncio.gather(*(service.send("GO", of=key(name)) for name in ("a", "b", "c")))
        assert [answer.state.version for answer in answers] == [4, 4, 4]
        assert [len((await service.runtime.instances.get(key(n))).running_effects) for n in "abc"] == [
            1,
            1,
            1,
        ]


async def test_instances_keep_the_definition_they_were_made_with(make_store: StoreMaker) -> None:
    async with serving(make_store) as service:
        await service.create(key("old"))
        published = await service.runtime.publish(job_json(context={"n": 100, "who": None}), ADA)
        assert (published.created, published.machine.version) == (True, 2)
        await service.create(key("new"))
        again = await service.runtime.publish(job_json(), ADA)
        assert (again.created, again.machine.version) == (False, 1)
    async with serving(make_store, RuntimeSettings(cached_definitions=1), published=False) as service:
        for _ in range(2):
            answers = await asyncio.gather(*(service.send("ADD", of=key(name)) for name in ("old", "new")))
            assert [answer.state.machine_version for answer in answers] == [1, 2]
        assert (await service.context(key("old")))["n"] == 2
        assert (await service.context(key("new")))["n"] == 102
        created = await service.create(key("newest"))
        assert created.state.machine_version == 2


async def test_events_of_an_instance_stay_in_order_while_its_definition_is_loaded(
    make_store: StoreMaker,
) -> None:
    async with serving(make_store) as service:
        await service.create()
    async with serving(make_store, published=False) as service:
        answers = await asyncio.gather(*(service.send("ADD", {"by": n}) for n in range(20)))
        assert [answer.state.version for answer in answers] == list(range(1, 21))


async def test_an_instance_that_cannot_be_read_fails_alone(make_store: StoreMaker) -> None:
    async with serving(make_store) as service:
        await service.create(key("good"))
        await service.create(key("bad"))
        broken = await service.store.get_instance(key("bad"))
        assert broken is not None
        row = broken.row._replace(version=1, internals='{"format":99}')
        await service.store.commit(Writes(journal=[journal(key("bad"), 2)], updates=[InstanceUpdate(row, 0)]))
    async with serving(make_store, published=False) as service:
        answers = await asyncio.gather(
            service.send("ADD", of=key("bad")), service.send("ADD", of=key("good")), return_exceptions=True
        )
        assert isinstance(answers[0], InstanceCorrupt)
        assert not isinstance(answers[1], BaseException)
        with pytest.raises(InstanceCorrupt):
            await service.runtime.instances.get(key("bad"))
        page = await service.runtime.instances.list("")
        assert [state.key.instance_id for state in page.items] == ["bad", "good"]


async def test_machines_are_read_back_as_published(service: Service) -> None:
    record = await service.runtime.get_machine("job")
    assert (record.version, record.description) == (1, "Work that is charged for.")
    assert json.loads(record.definition_json) == json.loads(job_json())
    page = await service.runtime.list_machines(page_size=1)
    assert (page.items, page.next_page_token) == ((record._replace(definition_json=""),), "")
    assert await service.runtime.validate(job_json()) == []
    with pytest.raises(MachineNotFound):
        await service.runtime.get_machine("job", 9)
    with pytest.raises(InvalidArgument):
        await service.runtime.get_machine("job", -1)


async def test_a_definition_over_the_limit_is_refused(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(max_definition_bytes=100), published=False) as service:
        for asked in (service.runtime.publish(job_json(), ADA), service.runtime.validate(job_json())):
            with pytest.raises(InvalidArgument, match="at most 100 are taken"):
                await asked


# --- lists -----------------------------------------------------------------------------------------------


async def test_lists_are_paged_without_gap_or_repetition(service: Service) -> None:
    await asyncio.gather(*(service.create(key(f"{n:02}")) for n in range(7)))
    await service.send("GO", of=key("03"))
    await service.send("PAID", {"output": {"receipt": ""}}, of=key("03"))
    found: list[str] = []
    token = ""
    while True:
        page = await service.runtime.instances.list("", machine_id="job", page_size=3, page_token=token)
        found.extend(state.key.instance_id for state in page.items)
        token = page.next_page_token
        if not token:
            break
    assert found == [f"{n:02}" for n in range(7)]
    done = await service.runtime.instances.list("", status="done", view=View.FULL)
    assert [state.output_json for state in done.items] == ['{"ok":true}']
    assert (await service.runtime.instances.list("other")).items == ()


async def test_a_journal_is_paged_from_both_ends(service: Service) -> None:
    await service.create()
    for _ in range(6):
        await service.send("ADD")
    for newest_first in (False, True):
        seqs: list[int] = []
        token = ""
        while True:
            page = await service.runtime.instances.journal(
                key(), page_size=3, page_token=token, newest_first=newest_first
            )
            seqs.extend(entry.seq for entry in page.items)
            token = page.next_page_token
            if not token:
                break
        assert seqs == sorted(range(1, 8), reverse=newest_first)


async def test_page_tokens_of_another_list_are_refused(service: Service) -> None:
    await service.create(key("a"))
    await service.create(key("b"))
    token = (await service.runtime.instances.list("", page_size=1)).next_page_token
    with pytest.raises(PageTokenInvalid):
        await service.runtime.instances.list("", machine_id="job", page_token=token)
    with pytest.raises(PageTokenInvalid):
        await service.runtime.instances.journal(key("a"), page_token=token)
    with pytest.raises(PageTokenInvalid):
        await service.runtime.list_machines(page_token="x")
    with pytest.raises(InvalidArgument):
        await service.runtime.instances.list("", page_size=-1)


async def test_time_that_goes_back_does_not_reach_an_instance(make_store: StoreMaker) -> None:
    clock = SimulatedClock()
    async with serving(make_store, clock=clock) as service:
        await service.create()
        clock.now = START_MS + 50
        await service.send("ADD")
    clock.now = START_MS - 50
    async with serving(make_store, clock=clock) as service:
        state = (await service.send("ADD")).state
        assert state.updated_at.timestamp() * 1000 == START_MS + 50
