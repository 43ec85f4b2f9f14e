"""Compiles definitions beside the event loop.

What is small is compiled in one thread, in the order asked for. What is large takes seconds of the
interpreter, in which events must go on:

- It has a thread of its own, so that no other machine waits behind it.
- While it is compiled, threads take short turns, see ``turns``. An event passes the interpreter several times
  on its way to the disk and back, and waits for one turn each time.
- The garbage collector is off meanwhile, and what it would find in the compiled machine is set aside from it
  afterwards: it would look at each of a few million objects again and again, and stops the whole process for
  a second or more each time.
- The thread is a daemon: a server that ends does not wait for it.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from durachart.runtime.turns import short_turns

_T = TypeVar("_T")


class Compiler:
    """See the module."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(1, "durachart-compiler")
        self._large = asyncio.Lock()

    def close(self) -> None:
        """Let go of the threads; what they have begun is of no use any more."""
        self._small.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], _T], *, large: bool = False) -> _T:
        """The result of ``work``, done in another thread; raises what it raises."""
        if not large:
            return await asyncio.get_running_loop().run_in_executor(self._small, work)
        async with self._large:
            return await _in_daemon(work)

    @staticmethod
    def forget_large() -> None:
        """Let the collector look again at what large compilations set aside: one is not used any more."""
        gc.unfreeze()


async def _in_daemon(work: Callable[[], _T]) -> _T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        failure: BaseException | None = None
        try:
            with short_turns(), _not_collected():
                result = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop was closed meanwhile: the server has ended

    threading.Thread(target=run, name="durachart-large-compiler", daemon=True).start()
    return await done


@contextmanager
def _not_collected() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
