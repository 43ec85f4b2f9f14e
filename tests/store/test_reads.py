"""Reads: lists in order, the log without gaps, cuts that fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from durachart.store.interface import LogMatch, Store, Writes
from durachart.store.keys import InstanceKey
from tests.store.stored_rows import created, effect, instance, journal, key, machine, moved, wait_final


async def test_instances_are_listed_by_machine_and_then_by_id_in_byte_order(store: Store) -> None:
    names = ["b", "a", "Z", "ä", "a-10", "a-9"]
    result = await store.commit(
        created(*(key(name) for name in names), key("x", "alpha"), key("y", namespace="other"))
    )
    await wait_final(store, result.revisions[-1])
    page = await store.list_instances("", "", "", ("", ""), 100)
    found = [(stored.row.machine_id, stored.row.instance_id) for stored in page.instances]
    assert found == [("alpha", "x"), *[("order", name) for name in ["Z", "a", "a-10", "a-9", "b", "ä"]]]
    assert page.revision >= result.revisions[-1]
    assert page.ahead == {}


async def test_pages_of_instances_meet_without_gap_or_repetition(store: Store) -> None:
    keys = [key(f"{n:03}", machine_id) for machine_id in ("m", "n") for n in range(7)]
    await store.commit(created(*keys))
    for machine_id in ("", "m"):
        after, found = ("", ""), []
        while page := (await store.list_instances("", machine_id, "", after, 3)).instances:
            found.extend(stored.row.key for stored in page)
            after = (found[-1].machine_id, found[-1].instance_id)
        assert found == [each for each in keys if machine_id in ("", each.machine_id)]


async def test_instances_are_listed_by_status(store: Store) -> None:
    await store.commit(created(key("a"), key("b")))
    await store.commit(moved(key("b"), 1, status="done"))
    page = await store.list_instances("", "order", "done", ("", ""), 10)
    assert [stored.row.instance_id for stored in page.instances] == ["b"]


async def test_instances_come_with_their_unfinished_effects_in_order(store: Store) -> None:
    writes = created(key())
    rows = [
        effect(key(), "late", created_at_ms=3_000),
        effect(key(), "second", ordinal=1),
        effect(key(), "first"),
        effect(key(), "over", state="completed", finalized_at_ms=2_000),
    ]
    writes.effects.extend(rows)
    await store.commit(writes)
    stored = await store.get_instance(key())
    assert stored is not None
    assert [row.effect_id for row in stored.effects] == ["first", "second", "late"]
    assert (await store.latest_effect(key(), "")) == rows[0]
    assert (await store.latest_effect(key(), "other")) is None


async def test_named_instances_come_in_key_order_and_missing_ones_not_at_all(store: Store) -> None:
    keys = [key(f"{n:04}") for n in range(450)]
    result = await store.commit(created(*keys))
    await wait_final(store, result.revisions[-1])
    page = await store.get_instances([key("none"), *reversed(keys), keys[3]])
    assert [stored.row.key for stored in page.instances] == keys
    assert page.revision >= result.revisions[-1]
    assert page.ahead == {}


async def test_a_journal_is_read_from_both_ends(store: Store) -> None:
    rows = [journal(key(), seq) for seq in range(1, 6)]
    result = await store.commit(Writes(journal=rows, inserts=[instance(key(), 4)]))
    oldest = await store.list_journal(key(), from_seq=2, limit=2)
    assert [entry.row for entry in oldest] == rows[1:3]
    newest = await store.list_journal(key(), from_seq=4, limit=2, newest_first=True)
    assert [entry.row.seq for entry in newest] == [4, 3]
    assert [entry.revision for entry in newest] == [result.revisions[3], result.revisions[2]]


REFUSED: dict[str, Any] = {"outcome": "refused", "uid": ""}
"""An attempt on nothing."""


async def _a_log(store: Store, count: int) -> tuple[list[InstanceKey], Sequence[int]]:
    """Events of three instances in turn, every fifth of them refused; all of them final. With revisions."""
    keys = [key("a"), key("b"), key("c", "other")]
    rows = [journal(keys[n % 3], n // 3 + 1, **(REFUSED if n % 5 == 4 else {})) for n in range(count)]
    revisions = (await store.commit(Writes(journal=rows))).revisions
    await wait_final(store, revisions[-1])
    return keys, revisions


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_the_log_is_read_in_order_without_gaps(store: Store, limit: int) -> None:
    keys, revisions = await _a_log(store, 60)
    matches = {
        LogMatch(): set(keys),
        LogMatch(machine=("", "order")): set(keys[:2]),
        LogMatch(keys=frozenset(keys[1:])): set(keys[1:]),
        LogMatch(keys=frozenset([key("none")])): set(),
    }
    for match, wanted in matches.items():
        after, found = 0, []
        while after < revisions[-1]:
            page = await store.read_log(after, limit, match)
            assert len(page.entries) <= limit
            assert page.through > after
            assert all(after < entry.revision <= page.through for entry in page.entries)
            found.extend(entry.revision for entry in page.entries)
            after = page.through
        assert found == [revisions[n] for n in range(60) if n % 5 != 4 and keys[n % 3] in wanted]


@pytest.mark.parametrize("after", [0, 1, 13, 40, 59])
async def test_one_instances_log_is_found_from_any_revision(store: Store, after: int) -> None:
    keys, revisions = await _a_log(store, 60)
    from_revision = revisions[after - 1] if after else 0
    page = await store.read_log(from_revision, 100, LogMatch(keys=frozenset([keys[0]])))
    assert [entry.revision for entry in page.entries] == [
        revisions[n] for n in range(after, 60) if n % 3 == 0 and n % 5 != 4
    ]
    assert page.through >= revisions[-1]


async def test_nothing_after_the_newest_revision(store: Store) -> None:
    await _a_log(store, 6)
    newest = await store.newest_revision()
    page = await store.read_log(newest, 10, LogMatch())
    assert page.entries == []
    assert page.through >= newest


async def test_results_are_the_accepted_rows_of_a_stretch(store: Store) -> None:
    rows = [journal(key(), seq, **(REFUSED if seq == 3 else {})) for seq in range(1, 6)]
    await store.commit(Writes(journal=rows))
    assert [entry.row.seq for entry in await store.read_results(key(), 2, 4)] == [2, 4]


async def test_a_machine_gets_consecutive_versions_and_the_same_content_one(store: Store) -> None:
    first, created_first = await store.insert_machine(machine(content_hash="a"))
    second, created_second = await store.insert_machine(machine(content_hash="b"))
    again, created_again = await store.insert_machine(machine(content_hash="a"))
    assert [(first.version, created_first), (second.version, created_second)] == [(1, True), (2, True)]
    assert (again, created_again) == (first, False)
    assert await store.get_machine("order", 0) == second
    assert await store.get_machine("order", 1) == first
    assert await store.get_machine("order", 3) is None
    assert await store.get_machine("none", 0) is None


async def test_machines_are_listed_once_without_their_documents(store: Store) -> None:
    for name, content in [("b", "1"), ("a", "1"), ("b", "2"), ("c", "1")]:
        await store.insert_machine(machine(name, content))
    rows = await store.list_machines("", 2)
    assert [(row.machine_id, row.version, row.document) for row in rows] == [("a", 1, ""), ("b", 2, "")]
    assert [row.machine_id for row in await store.list_machines("b", 2)] == ["c"]


async def test_a_store_that_was_never_compacted_says_so(store: Store) -> None:
    assert await store.compacted_revision() == 0
