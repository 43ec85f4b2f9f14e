"""Workers: processes that run what machines ask for.

    worker = Worker("127.0.0.1:7575")

    @worker.effect("email.send")
    async def send_email(effect: Effect) -> Json:
        receipt = await mailer.send(effect.params["to"], key=effect.idempotency_key)
        return {"receipt": receipt}

    asyncio.run(worker.run())

An effect is run at least once: when a worker dies, its leases run out and another worker makes the next
attempt. Any number of workers may serve the same handlers; each effect goes to one of them at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

from durachart_client.client import DEFAULT_TARGET, Client
from durachart_client.effect_models import LeasedEffect
from durachart_client.models import InstanceRef
from durachart_client.worker_attempt import Abort, AttemptTools, EffectFunction, RunningAttempt
from durachart_client.worker_stream import EffectStream

_log = logging.getLogger("durachart_client.worker")

Function = TypeVar("Function", bound=EffectFunction)

_SHORTEST_LEASE, _LONGEST_LEASE = timedelta(seconds=1), timedelta(hours=1)
_MOST_SLOTS = 1_000
_MOST_HANDLERS = 100
# Attempts that were cut short get this long to be given back.
_HAND_BACK_S = 5.0


@dataclass(frozen=True, slots=True)
class _Handler:
    function: EffectFunction
    concurrency: int | None


class Worker:
    """Runs effects in this process.

    Args:
        server: ``HOST:PORT`` of the server; or a client, which the caller opens and closes.
        concurrency: Most effects at a time, 1 to 1,000, over all handlers without a bound of their own.
        name: Shown to operators, at most 128 characters; None makes one of host and process.
        lease: How long the server waits for a sign of life before it gives an effect to another worker, 1 s
            to 1 h. Signs of life are given three times as often.
        grace: How long running handlers are waited for when the worker ends; then they are cancelled and
            their effects given back.
        tracebacks: Whether the server stores the traceback of an unforeseen exception, which may hold
            secrets; otherwise it is told the exception's type, and this process's log has the rest.
    """

    def __init__(
        self,
        server: str | Client = DEFAULT_TARGET,
        *,
        concurrency: int = 8,
        name: str | None = None,
        lease: timedelta = timedelta(seconds=30),
        grace: timedelta = timedelta(seconds=10),
        tracebacks: bool = False,
    ) -> None:
        if not _SHORTEST_LEASE <= lease <= _LONGEST_LEASE:
            raise ValueError(f"a lease lasts from 1 s to 1 h, not {lease}")
        self.name = _this_process() if name is None else name
        self._server = server
        self._concurrency = _slots(concurrency)
        self._lease = lease
        self._grace = grace
        self._tracebacks = tracebacks
        self._handlers: dict[str, _Handler] = {}
        self._attempts: dict[tuple[InstanceRef, str], RunningAttempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._refused: asyncio.Future[Exception] | None = None
        self._streams: dict[str, EffectStream] = {}

    def effect(self, handler: str, *, concurrency: int | None = None) -> Callable[[Function], Function]:
        """Register the decorated function for the effects of definitions that name ``handler``.

        The function is given an :class:`Effect` and returns its output, JSON or None. It may be a coroutine
        function, or a function, which runs in a thread.

        It says that it did not succeed by raising: :class:`Retry` for another attempt, :class:`Fail` for
        none, :class:`Reject` for a reason of the business. Any other exception is ``HANDLER_FAILED``, with
        another attempt.

        Args:
            handler: The name in the definition's ``effects``.
            concurrency: Most of this handler's effects at a time, 1 to 1,000, beside those of the others;
                None shares the worker's bound with them.

        Raises:
            ValueError: The name is taken, or there are 100 already.
            RuntimeError: The worker is running.
        """
        if self._running:
            raise RuntimeError("the worker is running; register handlers before")
        if handler in self._handlers:
            raise ValueError(f"there is a function for {handler!r} already")
        if len(self._handlers) == _MOST_HANDLERS:
            raise ValueError(f"a worker has at most {_MOST_HANDLERS} handlers; start another one")
        slots = None if concurrency is None else _slots(concurrency)

        def register(function: Function) -> Function:
            self._handlers[handler] = _Handler(function, slots)
            return function

        return register

    @property
    def attempts(self) -> int:
        """How many effects are being run now."""
        return len(self._tasks)

    async def run(self) -> None:
        """Run effects until SIGTERM or SIGINT, or until cancelled; then drain as ``running`` does.

        A server that is not there is waited for. A second signal ends the process at once.

        Raises:
            ServerError: The server refuses this worker, and would again.
        """
        async with self.running():
            with _signalled() as signals:
                waiting = asyncio.create_task(signals.wait())
                ends: list[asyncio.Future[Any]] = [waiting]
                if self._refused is not None:
                    ends.append(self._refused)
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run effects while the block runs.

        At its end no new effect is begun, running handlers get ``grace`` to finish, and what is not finished
        by then is cancelled and given back, so that another worker begins the next attempt at once.

        Raises:
            RuntimeError: The worker is running already, or has no handlers.
            ServerError: After the block: the server refused this worker, which has run nothing since.
        """
        if self._running:
            raise RuntimeError("the worker is running already")
        if not self._handlers:
            raise RuntimeError("the worker has no handlers; register one with @worker.effect(NAME)")
        self._running = True
        self._refused = refused = asyncio.get_running_loop().create_future()
        try:
            async with AsyncExitStack() as stack:
                client = self._server
                if isinstance(client, str):
                    client = await stack.enter_async_context(Client(client))
                await self._start(client, stack)
                yield self
        finally:
            self._running = False
        if refused.done():
            raise refused.result()

    async def _start(self, client: Client, stack: AsyncExitStack) -> None:
        """Start the streams on ``stack``; its end stops them, drains, and lets go of the threads."""
        groups = self._groups()
        stubs = client._stubs
        # Named threads, and as many as there are slots: the loop's own are few, and everybody's.
        threads = ThreadPoolExecutor(sum(slots for _, slots in groups), thread_name_prefix="durachart-effect")
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        policy = stubs.connection.policy
        tools = AttemptTools(client.effects, self._lease, policy, threads, self._tracebacks)
        stack.push_async_callback(self._drain)
        for handlers, slots in groups:
            stream = EffectStream(
                stubs.connection,
                stubs.effects.StreamEffects,
                handlers=sorted(handlers),
                slots=slots,
                worker_id=self.name,
                lease=self._lease,
                take=lambda leased: self._begin(leased, tools),
                cancel=self._cancel,
            )
            self._streams.update(dict.fromkeys(handlers, stream))
            task = asyncio.create_task(self._follow(stream))
            stack.push_async_callback(_end, task)

    def _groups(self) -> list[tuple[Mapping[str, _Handler], int]]:
        """Handlers that share slots: those with a bound of their own alone, all others together."""
        shared = {name: one for name, one in self._handlers.items() if one.concurrency is None}
        groups: list[tuple[Mapping[str, _Handler], int]] = [(shared, self._concurrency)] if shared else []
        for name, one in self._handlers.items():
            if one.concurrency is not None:
                groups.append(({name: one}, one.concurrency))
        return groups

    async def _follow(self, stream: EffectStream) -> None:
        try:
            await stream.run()
        except Exception as error:  # noqa: BLE001 -- raised to whoever runs the worker
            _log.error("worker refused name=%s error=%s", self.name, error)
            if self._refused is not None and not self._refused.done():
                self._refused.set_result(error)

    def _begin(self, leased: LeasedEffect, tools: AttemptTools) -> None:
        """Start an attempt that was handed out."""
        attempt = RunningAttempt(leased, self._handlers[leased.handler].function, tools)
        key = (leased.instance, leased.effect_id)
        earlier = self._attempts.get(key)
        if earlier is not None:
            # Our own lease ran out, because this process was stalled, and we are who took the effect over.
            earlier.abort(Abort.LOST)
        self._attempts[key] = attempt
        task = asyncio.create_task(self._run(key, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: tuple[InstanceRef, str], attempt: RunningAttempt) -> None:
        leased = attempt.leased
        try:
            await attempt.run()
        except Exception:  # noqa: BLE001 -- logged; its lease runs out, and the others go on
            _log.exception("effect attempt broke instance=%s effect_id=%s", leased.instance, leased.effect_id)
        finally:
            if self._attempts.get(key) is attempt:
                del self._attempts[key]
            self._streams[leased.handler].free()

    def _cancel(self, instance: InstanceRef, effect_id: str) -> None:
        attempt = self._attempts.get((instance, effect_id))
        if attempt is not None:
            attempt.abort(Abort.LOST)

    async def _drain(self) -> None:
        """Wait for what runs, then give back what does not end."""
        if self._tasks:
            _log.info("worker drains name=%s effects=%d", self.name, len(self._tasks))
            await asyncio.wait(self._tasks, timeout=self._grace.total_seconds())
        for attempt in self._attempts.values():
            attempt.abort(Abort.SHUTDOWN)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_HAND_BACK_S)
            for task in late:
                task.cancel()
            if late:
                _log.error("effects not given back in time, their leases run out count=%d", len(late))
                await asyncio.wait(late)


def _slots(concurrency: int) -> int:
    if not 1 <= concurrency <= _MOST_SLOTS:
        raise ValueError(f"concurrency is 1 to {_MOST_SLOTS:,}, not {concurrency:,}")
    return concurrency


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"[-128:]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@contextmanager
def _signalled() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; from then on they do what they did before."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    handled: set[signal.Signals] = set()

    def restore() -> None:
        for number in handled:
            loop.remove_signal_handler(number)
        handled.clear()

    def ask() -> None:
        asked.set()
        restore()

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, ask)
        except (NotImplementedError, RuntimeError, ValueError):
            # Not this platform's, or not the main thread's loop: then only cancelling ends the worker.
            continue
        handled.add(number)
    try:
        yield asked
    finally:
        restore()
