"""A program that commits to a store for ever and says what was acknowledged; killed by a test.

Usage: writing_child.py DATABASE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from durachart.store.sqlite.store import SqliteStore
from tests.store.stored_rows import created, key, moved


async def _main(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(created(key()))
    print("0", flush=True)
    version = 0
    while True:
        version += 1
        await store.commit(moved(key(), version))
        print(version, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
