"""A commit is one transaction that holds only if what was judged is current."""

from __future__ import annotations

from collections.abc import Callable

from durachart.store.interface import Head, InstanceUpdate, LogMatch, Store, Wanted, Writes
from tests.store.stored_rows import (
    created,
    effect,
    end,
    instance,
    journal,
    key,
    moved,
    request,
    timer,
    wait_final,
)


async def test_what_was_committed_is_loaded_again(store: Store) -> None:
    one, two = key("o-1"), key("o-2")
    writes = created(one, two)
    writes.effects.append(effect(one))
    writes.requests.append(request(two))
    result = await store.commit(writes)
    first, second = result.revisions
    assert 0 < first < second
    assert result.stale == frozenset()
    loaded = await store.load(Wanted([one, two, key("none")], [(two, "r-1"), (one, "r-1")], [(one, "e-1")]))
    assert loaded.instances[one] == (instance(one), (effect(one),))
    assert loaded.instances[two] == (instance(two), ())
    assert key("none") not in loaded.instances
    assert loaded.heads[one] == Head(1, writes.journal[0].hash, 1_001)
    assert loaded.requests == {(two, "r-1"): request(two)}
    assert loaded.effects == {(one, "e-1"): effect(one)}


async def test_what_cannot_be_stored_is_not_there(store: Store) -> None:
    await store.commit(created(key()))
    wanted = Wanted([key(), key("a\0b")], [(key(), "r\0")], [(key(), "e\0")])
    loaded = await store.load(wanted)
    assert list(loaded.instances) == list(loaded.heads) == [key()]
    assert (loaded.requests, loaded.effects) == ({}, {})


async def test_the_journal_of_a_refused_creation_has_a_head_and_no_instance(store: Store) -> None:
    refused = journal(key(), uid="", outcome="refused", reason="PAYLOAD_INVALID")
    await store.commit(Writes(journal=[refused]))
    loaded = await store.load(Wanted([key()]))
    assert loaded.instances == {}
    assert loaded.heads == {key(): Head(1, refused.hash, 1_001)}


async def test_an_event_judged_on_an_old_version_writes_nothing(store: Store) -> None:
    await store.commit(created(key()))
    assert (await store.commit(moved(key(), 1))).stale == frozenset()
    again = moved(key(), 1, context='{"n":99}')
    again.journal = [journal(key(), 3)]
    result = await store.commit(again)
    assert result.stale == {key()}
    assert set(result.revisions) == {0}
    stored = await store.get_instance(key())
    assert stored is not None
    assert (stored.row.version, stored.row.context) == (1, '{"n":0}')
    assert len(await store.list_journal(key(), from_seq=1, limit=10)) == 2


async def test_an_event_for_another_incarnation_writes_nothing(store: Store) -> None:
    await store.commit(created(key()))
    update = InstanceUpdate(instance(key(), 1, uid="x" * 32), 0)
    result = await store.commit(Writes(journal=[journal(key(), 2)], updates=[update]))
    assert result.stale == {key()}


async def test_a_refusal_judged_beside_another_attempt_writes_nothing(store: Store) -> None:
    await store.commit(created(key()))
    refused = journal(key(), 2, outcome="refused", reason="EVENT_NOT_ALLOWED")
    assert (await store.commit(Writes(journal=[refused]))).stale == frozenset()
    assert (await store.commit(Writes(journal=[refused]))).stale == {key()}


async def test_creating_what_exists_writes_nothing(store: Store) -> None:
    await store.commit(created(key()))
    assert (await store.commit(created(key()))).stale == {key()}


async def test_a_used_request_id_makes_its_command_stale(store: Store) -> None:
    writes = created(key())
    writes.requests.append(request(key()))
    await store.commit(writes)
    retried = moved(key(), 1)
    retried.requests.append(request(key(), seq=2))
    assert (await store.commit(retried)).stale == {key()}
    loaded = await store.load(Wanted(requests=[(key(), "r-1")]))
    assert loaded.requests[key(), "r-1"].seq == 1


async def test_revisions_go_up_across_reopening(make_store: Callable[[], Store]) -> None:
    store = make_store()
    await store.open()
    before = (await store.commit(created(key("a"), key("b")))).revisions
    await store.commit(created(key("a")))  # stale
    await store.close()
    store = make_store()
    await store.open()
    (after,) = (await store.commit(created(key("c")))).revisions
    assert before[0] < before[1] < after
    await wait_final(store, after)
    page = await store.read_log(before[0], 10, LogMatch())
    assert [entry.revision for entry in page.entries] == [before[1], after]
    await store.close()


async def test_an_effect_ends_once(store: Store) -> None:
    writes = created(key())
    writes.effects.append(effect(key()))
    await store.commit(writes)
    ended = Writes(journal=[journal(key(), 2)], ends=[end(effect(key()), output="1")])
    assert (await store.commit(ended)).stale == frozenset()
    again = Writes(journal=[journal(key(), 3)], ends=[end(effect(key()), output="2")])
    assert (await store.commit(again)).stale == {key()}
    stored = await store.get_effect(key(), "e-1")
    assert stored is not None
    assert (stored.state, stored.output, stored.finalized_at_ms) == ("completed", "1", 2_000)


async def test_a_workers_end_holds_only_under_its_own_lease(store: Store) -> None:
    writes = created(key())
    writes.effects.append(effect(key()))
    await store.commit(writes)
    (first,) = await store.lease_effects(
        ["payments.charge"], limit=1, holder="w1", now_ms=1_000, until_ms=2_000
    )
    (second,) = await store.lease_effects(
        ["payments.charge"], limit=1, holder="w2", now_ms=2_000, until_ms=3_000
    )
    late = Writes(journal=[journal(key(), 2)], ends=[end(first.row)])
    assert (await store.commit(late)).stale == {key()}
    current = Writes(journal=[journal(key(), 2)], ends=[end(second.row)])
    assert (await store.commit(current)).stale == frozenset()


async def test_what_came_of_a_cancelled_effect_is_kept_once(store: Store) -> None:
    writes = created(key())
    writes.effects.append(effect(key()))
    await store.commit(writes)
    (leased,) = await store.lease_effects(
        ["payments.charge"], limit=1, holder="w1", now_ms=1_000, until_ms=2_000
    )
    cancelled = Writes(journal=[journal(key(), 2)], ends=[end(leased.row, "cancelled", lease_token=None)])
    await store.commit(cancelled)
    report = end(leased.row, output='"late"')
    late = Writes(journal=[journal(key(), 3, outcome="refused")], late_ends=[report])
    assert (await store.commit(late)).stale == frozenset()
    stored = await store.get_effect(key(), "e-1")
    assert stored is not None
    assert (stored.state, stored.output, stored.lease_token) == ("cancelled", '"late"', "")
    again = Writes(journal=[journal(key(), 4, outcome="refused")], late_ends=[report])
    assert (await store.commit(again)).stale == {key()}


async def test_timers_are_replaced_with_their_snapshot(store: Store) -> None:
    writes = created(key())
    writes.timers.extend([timer(key(), "a", 5_000), timer(key(), "b", 4_000, 1)])
    await store.commit(writes)
    assert [row.timer_key for row in await store.due_timers(5_000, 10)] == ["b", "a"]
    assert await store.next_due() == 4_000
    rearmed = moved(key(), 1)
    rearmed.timers_gone.extend([timer(key(), "a", 5_000), timer(key(), "b", 4_000, 1)])
    rearmed.timers.append(timer(key(), "a", 9_000, 2))
    await store.commit(rearmed)
    assert await store.due_timers(8_999, 10) == []
    assert await store.due_timers(9_000, 10) == [timer(key(), "a", 9_000, 2)]


async def test_a_commit_without_rows_is_no_transaction(store: Store) -> None:
    result = await store.commit(Writes())
    assert (list(result.revisions), result.stale) == ([], frozenset())
    assert (await store.read_log(0, 10, LogMatch())).entries == []


async def test_many_rows_are_one_batch(store: Store) -> None:
    keys = [key(f"o-{n:03}") for n in range(300)]
    result = await store.commit(created(*keys))
    assert list(result.revisions) == sorted(set(result.revisions))
    await wait_final(store, result.revisions[-1])
    page = await store.read_log(0, 1_000, LogMatch())
    assert [entry.row.key for entry in page.entries] == keys
