"""A server that ends takes its own workers' leases with it, and no others."""

from __future__ import annotations

from pathlib import Path

from durachart.store.sqlite.store import SqliteStore
from tests.store.stored_rows import created, effect, key

CHARGE = ["payments.charge"]


async def test_an_effect_need_not_wait_for_the_lease_of_a_process_that_has_ended(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "store.db")
    await first.open()
    writes = created(key())
    writes.effects.append(effect(key(), "a", created_at_ms=900, scheduled_at_ms=900))
    await first.commit(writes)
    ((held, _),) = await first.lease_effects(
        CHARGE, limit=1, holder="server/w1", now_ms=1_000, until_ms=60_000
    )
    assert await first.next_effect_at(CHARGE) == 60_000
    await first.close()
    second = SqliteStore(tmp_path / "store.db")
    await second.open()
    try:
        ((row, exhausted),) = await second.lease_effects(
            CHARGE, limit=1, holder="w2", now_ms=1_001, until_ms=61_000
        )
        assert not exhausted
        assert (row.attempt, row.lease_epoch) == (held.attempt + 1, held.lease_epoch + 1)
        assert await second.extend_lease(key(), "a", held.lease_token, until_ms=70_000) is None
    finally:
        await second.close()


async def test_the_lease_of_a_worker_in_another_process_outlives_the_server(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "store.db")
    await first.open()
    writes = created(key())
    writes.effects.append(effect(key(), "a", created_at_ms=900, scheduled_at_ms=900))
    await first.commit(writes)
    ((held, _),) = await first.lease_effects(CHARGE, limit=1, holder="w1", now_ms=1_000, until_ms=60_000)
    await first.close()
    second = SqliteStore(tmp_path / "store.db")
    await second.open()
    try:
        assert await second.next_effect_at(CHARGE) == 60_000
        assert await second.extend_lease(key(), "a", held.lease_token, until_ms=70_000) is not None
    finally:
        await second.close()
