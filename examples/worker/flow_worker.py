"""A worker: runs what the machine `flow` asks for, and "sends" by logging. See README.md."""

import asyncio
import logging
import os

from durachart_client import Effect, Json, Reject, Worker

log = logging.getLogger("flow")
worker = Worker(os.environ.get("DURACHART_SERVER", "127.0.0.1:7575"), concurrency=4)

# What a real counter and a real mailer would keep on their disks: the keys that they have seen.
counted: dict[str, int] = {}
sent: set[str] = set()


def key_of(effect: Effect) -> str:
    """The same however often an operation is attempted, also when an operator asks for it once more."""
    return f"{effect.instance.instance_id}/{effect.params['step']}/{effect.params['operation']}"


@worker.effect("flow.counter")
async def update_counter(effect: Effect) -> Json:
    """Count, once per key."""
    return counted.setdefault(key_of(effect), len(counted) + 1)


@worker.effect("flow.message", concurrency=1)
async def send_message(effect: Effect) -> Json:
    """Write a message, and send what was written: an attempt that is repeated goes on with the same text."""
    message = effect.params["message"]
    if message["text"] == "nonsense":
        raise Reject("NOT_UNDERSTOOD", "Nothing can be answered to that.")
    text = await effect.step("write", lambda: f"{effect.params['step']}: you said {message['text']!r}")

    async def send() -> None:
        if (key := key_of(effect)) not in sent:
            sent.add(key)
            log.info("to the customer: %s", text)

    await effect.step("send", send)
    return text


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(worker.run())
