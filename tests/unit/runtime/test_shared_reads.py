"""Many who read instances at the same time share reads, and each gets what it asked for."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from durachart.runtime.watch.shared_reads import SharedReads
from durachart.store.errors import StoreFailed
from durachart.store.interface import InstancesPage, Store, StoredInstance
from durachart.store.keys import InstanceKey
from durachart.store.rows import InstanceRow
from tests.virtual_time import settle

KEYS = [InstanceKey("", "m", f"i-{number:03}") for number in range(1_000)]


def stored(key: InstanceKey) -> StoredInstance:
    row = InstanceRow.__new__(InstanceRow, *(key.namespace,) * len(InstanceRow._fields))
    named = row._replace(namespace=key.namespace, machine_id=key.machine_id, instance_id=key.instance_id)
    return StoredInstance(named, *(None,) * (len(StoredInstance._fields) - 1))  # type: ignore[arg-type]


class Reads:
    """A store whose reads are let through one by one."""

    def __init__(self) -> None:
        self.asked: list[list[InstanceKey]] = []
        self.let = asyncio.Semaphore(0)
        self.fails = False

    async def get_instances(self, keys: Sequence[InstanceKey]) -> InstancesPage:
        self.asked.append(list(keys))
        await self.let.acquire()
        if self.fails:
            raise StoreFailed("the disk is gone")
        return InstancesPage([stored(key) for key in keys if key != KEYS[1]], 7, {KEYS[2]: 9})


def keys_of(page: InstancesPage) -> list[InstanceKey]:
    return [one.row.key for one in page.instances]


async def test_who_asks_while_a_read_is_under_way_shares_the_next() -> None:
    store = Reads()
    reads = SharedReads(cast(Store, store))
    asking = [asyncio.ensure_future(reads.get_instances([key])) for key in KEYS[:4]]
    first = asyncio.ensure_future(reads.get_instances([KEYS[0], KEYS[3]]))
    await settle()
    late = asyncio.ensure_future(reads.get_instances([KEYS[5]]))
    store.let.release()
    store.let.release()
    pages = await asyncio.gather(*asking)
    assert [keys_of(page) for page in pages] == [[KEYS[0]], [], [KEYS[2]], [KEYS[3]]]
    assert [dict(page.ahead) for page in pages] == [{}, {}, {KEYS[2]: 9}, {}]
    assert keys_of(await first) == [KEYS[0], KEYS[3]]
    assert keys_of(await late) == [KEYS[5]]
    assert store.asked == [KEYS[:4], [KEYS[5]]]


async def test_a_read_is_bounded() -> None:
    store = Reads()
    reads = SharedReads(cast(Store, store))
    for _ in KEYS:
        store.let.release()
    await asyncio.gather(*(reads.get_instances([key]) for key in KEYS))
    assert [len(asked) for asked in store.asked] == [400, 400, 200]


async def test_a_failure_reaches_everyone_and_the_next_read_works() -> None:
    store = Reads()
    reads = SharedReads(cast(Store, store))
    store.fails = True
    store.let.release()
    failed = await asyncio.gather(*(reads.get_instances([key]) for key in KEYS[:2]), return_exceptions=True)
    assert [type(one) for one in failed] == [StoreFailed, StoreFailed]
    store.fails = False
    store.let.release()
    assert keys_of(await reads.get_instances([KEYS[0]])) == [KEYS[0]]


async def test_who_leaves_takes_nobody_along() -> None:
    store = Reads()
    reads = SharedReads(cast(Store, store))
    left, stays = (asyncio.ensure_future(reads.get_instances([key])) for key in KEYS[:2])
    await settle()
    left.cancel()
    store.let.release()
    assert keys_of(await stays) == []
    with pytest.raises(asyncio.CancelledError):
        await left
