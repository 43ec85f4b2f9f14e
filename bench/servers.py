"""The processes of the service's benchmarks: servers, and the one that makes the load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from bench.load import Load, Run

ROOT = Path(__file__).resolve().parents[1]
MACHINES = ROOT / "bench" / "machines"
DURACHART = str(Path(sys.executable).with_name("durachart"))
_ADDRESS = re.compile(r"^\s*gRPC\s+(\S+)$")
_READY = "Ctrl-C ends it"


class Server:
    """A server as a process of its own.

    Attributes:
        address: Where gRPC listens.
        pid: Its process.
    """

    def __init__(self, command: list[str]) -> None:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DURACHART_", "OTEL_"))
        }
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept
        )
        self.pid = self._process.pid
        self.address = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := _ADDRESS.match(line):
                self.address = found[1]
            if _READY in line:
                break
        else:
            raise SystemExit(f"a server did not start: {' '.join(command)}")
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    def cpu_s(self) -> float:
        """Processor time used so far, of all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Memory that it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def durachart(database: str, *options: str) -> Server:
    """Durachart as an operator runs it, without the HTTP front, on a SQLite file or another database."""
    url = database if "://" in database else f"sqlite:///{database}"
    command = [DURACHART, "serve", "--listen", "127.0.0.1:0", "--http", "off", "--log-level", "warning"]
    return Server([*command, "--db", url, "--machines", str(MACHINES), *options])


def python(module: str, *arguments: str) -> Server:
    """A server that is a module of this package."""
    return Server([sys.executable, "-m", module, *arguments])


class LoadProcess:
    """The process that makes the load; it is started once and used for all runs."""

    def __init__(self, seed: int = 0) -> None:
        command = [sys.executable, "-m", "bench.load", str(seed)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, address: str, **options: Any) -> Load:
        """One run; the options are those of `Run`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(Run(address, **options)._asdict()) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load ended; what it said is above")
        return Load(**json.loads(line))

    def stop(self) -> None:
        self._process.communicate(timeout=30)
