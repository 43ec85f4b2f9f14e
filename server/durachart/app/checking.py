"""Large definitions are checked in a process of their own; this is the server's end of it.

The process is started when it is first needed and kept for the next definition. It is never forked from this
one, whose threads and gRPC would not survive that, and it ends with this one however that ends, because its
standard input does.

Whatever becomes of it, whoever waits gets an answer: a process that ended between two definitions is replaced
in silence; one that ends over a definition, or takes too long, answers with a finding.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from durachart.app.checking_process import read_frame, write_frame
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.runtime.checks import Offer
from durachart.runtime.errors import Overloaded, ShuttingDown

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
MAX_WAITING: Final = 8
"""Definitions that may be checked or wait for it; each may be as large as any."""

COMMAND: Final = (sys.executable, "-P", "-m", "durachart.app.checking_process")


class CheckingProcess:
    """Checks definitions, one at a time; see the module."""

    def __init__(
        self,
        plugins: Sequence[str],
        handlers: Collection[str],
        *,
        timeout_s: float = TIMEOUT_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start nothing yet.

        Args:
            plugins: Modules with plug-ins, beside those of installed packages.
            handlers: Effect handlers of this server; see ``load_definition``.
            timeout_s: How long one definition may take.
            command: What to start.
        """
        self._settings = {"plugins": list(plugins), "handlers": sorted(handlers)}
        self._timeout_s = timeout_s
        self._command = command
        self._thread = ThreadPoolExecutor(1, "durachart-checks")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._waiting = 0

    @property
    def pid(self) -> int | None:
        """Of the process; None: there is none."""
        process = self._process
        return None if process is None else process.pid

    def close(self) -> None:
        """End the process, in the middle of a definition too; whoever waits for one gets ShuttingDown."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._process is not None:
                self._process.kill()
        self._thread.submit(self._let_go)
        self._thread.shutdown(wait=True)

    async def offer(self, definition_json: str) -> Offer:
        """See `LargeChecks.offer`."""
        head, document = await self._ask(definition_json, publish=True)
        found = tuple(Finding(**finding) for finding in head["found"])
        if "offer" not in head:
            raise DefinitionInvalid(found)
        return Offer(document=document.decode(), warnings=found, **head["offer"])

    async def check(self, definition_json: str) -> list[Finding]:
        """See `LargeChecks.check`."""
        head, _ = await self._ask(definition_json, publish=False)
        return [Finding(**finding) for finding in head["found"]]

    async def _ask(self, text: str, *, publish: bool) -> tuple[dict[str, Any], bytes]:
        if self._closed:
            raise ShuttingDown
        if self._waiting >= MAX_WAITING:
            raise Overloaded(timedelta(seconds=5))
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._answer, text, publish)
        finally:
            self._waiting -= 1

    # --- in the thread ------------------------------------------------------------------------------------

    def _answer(self, text: str, publish: bool) -> tuple[dict[str, Any], bytes]:
        # Half a character becomes bytes that are no UTF-8, which is then found.
        definition = text.encode("utf-8", "surrogatepass")
        while True:
            process, is_new = self._running()
            try:
                return self._exchange(process, definition, publish=publish, is_new=is_new)
            except _Ended as ended:
                if self._closed:
                    raise ShuttingDown from ended
                _log.warning("checking process ended pid=%d code=%s", process.pid, process.wait())
                if ended.timed_out:
                    return _failure(
                        "check_too_long",
                        f"checking the definition took more than {self._timeout_s:g} s and was ended",
                    )
                if is_new:
                    return _failure(
                        "check_ended", f"the process that checked the definition ended: {_end_of(process)}"
                    )
                # It may have ended before, for want of work, or by somebody's hand.

    def _running(self) -> tuple[subprocess.Popen[bytes], bool]:
        """The process, and whether it was started now."""
        with self._lock:
            if self._closed:
                raise ShuttingDown
            if self._process is not None and self._process.poll() is None:
                return self._process, False
            self._let_go()
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            return self._process, True

    def _exchange(
        self, process: subprocess.Popen[bytes], definition: bytes, *, publish: bool, is_new: bool
    ) -> tuple[dict[str, Any], bytes]:
        """One question and its answer. Raises _Ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = _Deadline(process, self._timeout_s)
        try:
            if is_new:
                write_frame(process.stdin, self._settings)
            write_frame(process.stdin, {"publish": publish}, definition)
            answer = read_frame(process.stdout)
        except OSError:
            answer = None
        finally:
            deadline.cancel()
        if answer is None:
            process.kill()
            raise _Ended(timed_out=deadline.passed)
        return answer

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not written any more
                    stream.close()


class _Ended(Exception):
    """The process ended without an answer.

    Attributes:
        timed_out: Whether it was ended, because it took too long.
    """

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__()
        self.timed_out = timed_out


class _Deadline:
    """Kills a process after a while.

    Attributes:
        passed: Whether it did.
    """

    def __init__(self, process: subprocess.Popen[bytes], after_s: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(after_s, self._pass)
        self._timer.daemon = True
        self._timer.start()

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()

    def cancel(self) -> None:
        self._timer.cancel()


def _end_of(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code >= 0:
        return f"exit code {code}; the server's log may say more"
    return f"{signal.Signals(-code).name}; it may have needed more memory than there is"


def _failure(code: str, message: str) -> tuple[dict[str, Any], bytes]:
    return {"found": [asdict(Finding(code, "", message, "make the definition smaller"))]}, b""
