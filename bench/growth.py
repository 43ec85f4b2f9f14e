"""Whether the service slows down as its database grows: a large file against an empty one, in turns.

``python -m bench.growth`` fills a file by bulk SQL (100,000 instances, 1,000,000 journal rows; ``--instances
1000000`` makes it ten times as much and takes some minutes and 5 GB), serves it and an empty one, and loads
both with 64 callers: on 1,000 instances, which are in memory after a moment, and on all of them by chance,
where most have to be read first. It prints ratios, and what memory the servers hold at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bench.load import instance_id
from bench.servers import MACHINES, LoadProcess, Server, durachart
from durachart.definitions.loader import load_document
from durachart.runtime.commands import Caller, CreateInstance, SendEvent
from durachart.runtime.runtime import Runtime
from durachart.store.keys import InstanceKey, shard
from durachart.store.sqlite.store import SqliteStore

CALLER = Caller("bench")
ROWS_EACH = 10
TEMPLATE = InstanceKey("", "payment", "template")
KEY = ("shard", "namespace", "machine_id", "instance_id")


async def begin(path: Path) -> None:
    """Make a database with the machine and one instance, from which the others are copied."""
    runtime = Runtime(SqliteStore(path))
    async with runtime.running():
        document = load_document(MACHINES / "payment" / "machine.yaml").sections
        await runtime.publish(json.dumps(dict(document)), CALLER)
        await runtime.create_instance(CreateInstance(TEMPLATE), CALLER)
        event = SendEvent(TEMPLATE, "ATTEMPT", '{"amount_cents":900,"reason":"CARD_DECLINED"}')
        for _ in range(ROWS_EACH - 1):
            await runtime.send_event(event, CALLER)


def fill(path: Path, instances: int) -> None:
    """Copy the instance and its journal, all but the context of each row, so that the file stays small."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function(
            "shard_of", 1, lambda name: shard(InstanceKey("", "payment", name)), deterministic=True
        )
        for pragma in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -262144"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TEMP TABLE made (shard INTEGER, instance_id TEXT)")
        connection.executemany(
            "INSERT INTO made VALUES (shard_of(?1), ?1)", ((instance_id(n),) for n in range(instances))
        )
        # In the order of the primary keys: then their indexes grow at the end only.
        connection.execute("CREATE TEMP TABLE ordered AS SELECT * FROM made ORDER BY shard, instance_id")
        given = {"shard": "ordered.shard", "instance_id": "ordered.instance_id"}
        copy(connection, "instances", given, "ordered")
        given["revision"] = f"(ordered.rowid + 1) * {ROWS_EACH} + source.seq"
        given |= {"context": "NULL", "internals": "NULL", "data": "''"}
        copy(connection, "journal", given, "ordered")
        connection.execute("PRAGMA journal_mode = WAL")


def copy(connection: sqlite3.Connection, table: str, given: dict[str, str], ordered: str) -> None:
    """Copy the rows of the template in ``table`` for every instance, but for what is ``given``."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(given.get(name, f"source.{name}") for name in columns)
    connection.execute(f"CREATE TEMP TABLE source AS SELECT * FROM {table} WHERE instance_id = 'template'")
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {ordered} CROSS JOIN source"
    )
    connection.execute("DROP TABLE source")


class Rounds:
    """What was measured of each case, and the servers."""

    def __init__(self, servers: dict[str, Server], load: LoadProcess, instances: int) -> None:
        self._servers = servers
        self._load = load
        self._cases = {
            "empty": ("empty", 1_000),
            "large, 1,000 instances": ("large", 1_000),
            f"large, {instances:,} instances": ("large", instances),
        }
        self.rates: dict[str, list[float]] = {name: [] for name in self._cases}

    def round(self, seconds: float, *, keep: bool = True) -> None:
        for name, (server, instances) in self._cases.items():
            load = self._load.run(self._servers[server].address, seconds=seconds, instances=instances)
            if keep:
                self.rates[name].append(load.calls / load.seconds)

    def ratios(self, name: str) -> list[float]:
        pairs = zip(self.rates[name], self.rates["empty"], strict=True)
        return sorted(rate / empty for rate, empty in pairs)


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument(
        "--instances", type=int, default=100_000, help="of the large file, >= 1,000 (100,000)"
    )
    arguments.add_argument("--seconds", type=float, default=2.0, help="of one case in one round (default 2)")
    arguments.add_argument("--rounds", type=int, default=5, help="(default 5)")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="durachart-bench-") as directory, ExitStack() as stack:
        path = Path(directory) / "large.db"
        began = time.perf_counter()
        asyncio.run(begin(path))
        fill(path, given.instances)
        took, size = time.perf_counter() - began, path.stat().st_size
        load = LoadProcess()
        stack.callback(load.stop)
        servers = {"empty": durachart(f"{directory}/empty.db"), "large": durachart(str(path))}
        for server in servers.values():
            stack.callback(server.stop)
        load.run(servers["empty"].address, create=True)
        rounds = Rounds(servers, load, given.instances)
        rounds.round(1.0, keep=False)
        for _ in range(given.rounds):
            rounds.round(given.seconds)
        resident = {name: server.resident_mib() for name, server in servers.items()}
    if given.json:
        ratios = {name: rounds.ratios(name) for name in rounds.rates}
        print(json.dumps({"ratios": ratios, "rates": rounds.rates, "bytes": size, "resident_mib": resident}))
        return
    rows = given.instances * ROWS_EACH
    print(
        f"{given.instances:,} instances, {rows:,} journal rows, {size / 2**30:.2f} GiB, made in {took:.0f} s"
    )
    print(f"{'':<32}{'events/s':>9}   against the empty one")
    for name, rates in rounds.rates.items():
        print(f"{name:<32}{statistics.median(rates):>9,.0f}   {_spread(rounds.ratios(name))}")
    print("memory at the end, MiB: " + ", ".join(f"{name} {mib:.0f}" for name, mib in resident.items()))


if __name__ == "__main__":
    main()
