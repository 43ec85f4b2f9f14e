"""A worker process for the tests: asks the receiver for what each effect names.

Arguments: the server's address, the port of the receiver, the lease in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta

from durachart_client import Effect, Json, Worker

SERVER, RECEIVER, LEASE = sys.argv[1], int(sys.argv[2]), timedelta(seconds=float(sys.argv[3]))
worker = Worker(SERVER, concurrency=4, lease=LEASE, grace=timedelta(seconds=30))


@worker.effect("test.ask")
async def ask(effect: Effect) -> Json:
    """Ask the receiver, under the effect's key; it may take its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", RECEIVER)
    try:
        request = {"name": effect.params["name"], "key": effect.idempotency_key}
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        await reader.readline()
    finally:
        writer.close()
    return {"attempt": effect.attempt}


if __name__ == "__main__":
    asyncio.run(worker.run())
