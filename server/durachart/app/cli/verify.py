"""``verify``: does the journal explain what is stored?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import JsonOption, NamespaceOption, PluginsOption, Target

if TYPE_CHECKING:
    from durachart.runtime.verification.store_verification import Counts, StoreVerifier
    from durachart.runtime.verification.verification import Problem
    from durachart.store.keys import InstanceKey
    from durachart.store.scan import StoreScan


def verify(
    context: typer.Context,
    machine_id: Annotated[
        str,
        typer.Argument(
            metavar="[MACHINE]",
            help="Only one instance of this machine; everything by default.",
            show_default=False,
        ),
    ] = "",
    instance_id: Annotated[
        str,
        typer.Argument(
            metavar="[ID]", help="That instance's id; MACHINE/ID does as well.", show_default=False
        ),
    ] = "",
    data_dir: Annotated[
        Path,
        typer.Option(
            "--data-dir", metavar="DIR", envvar="DURACHART_DATA_DIR", help="Holds the database, as for serve."
        ),
    ] = Path("data"),
    db: Annotated[
        str,
        typer.Option(
            "--db",
            metavar="URL",
            envvar="DURACHART_DB",
            help="The database, as for serve.",
            show_default=False,
        ),
    ] = "",
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
    namespace: NamespaceOption = None,
) -> None:
    """Execute the journal again and compare with what is stored.

    Reads the database itself and writes nothing; a server may be running on it. Ends with 0 when everything
    is as it should be, with 1 when something is not: each wrong row is named.
    """
    import asyncio

    from durachart.app.cli.documents import use_plugins
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.runtime.verification.store_verification import StoreVerifier
    from durachart.store.errors import StoreError

    base = context.find_object(Target) or Target()
    only = _only(base.override(None, namespace).namespace, machine_id, instance_id)
    scan = _scan(data_dir, db)
    verifier = StoreVerifier(scan, use_plugins(plugins or ()))
    try:
        asyncio.run(_verify(scan, verifier, only, as_json=as_json))
    except StoreError as error:
        raise Failure(ExitCode.UNEXPECTED, str(error)) from error
    counts = verifier.counts
    if only is not None and not counts.instances:
        raise Failure(ExitCode.NOT_FOUND, f"nothing is stored of an instance {only}")
    if counts.problems:
        what = "1 problem" if counts.problems == 1 else f"{counts.problems:,} problems"
        where = f"{counts.wrong_instances:,} of {_counted(counts.instances, 'instance')}"
        raise Failure(ExitCode.UNEXPECTED, f"{what} in {where}; keep a copy of the database as it is")


def _only(namespace: str, machine_id: str, instance_id: str) -> InstanceKey | None:
    """The instance that is named in either way; None: all."""
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.store.keys import InstanceKey

    if not machine_id:
        return None
    if not instance_id:
        machine_id, _, instance_id = machine_id.partition("/")
    if not (machine_id and instance_id):
        raise Failure(ExitCode.USAGE, "name the instance as well: MACHINE ID, as in order o-1")
    return InstanceKey(namespace, machine_id, instance_id)


def _scan(data_dir: Path, db: str) -> StoreScan:
    from durachart.app import settings
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.store.postgres.target import SCHEMES, TargetInvalid, parse_target

    if db.partition("://")[0] in SCHEMES:
        from durachart.store.postgres.scan import scan_database

        try:
            return scan_database(parse_target(db))
        except TargetInvalid as error:
            raise Failure(ExitCode.USAGE, f"--db: {error}") from error
    from durachart.store.sqlite.scan import scan_file

    try:
        path = settings.Settings(data_dir=data_dir, database=settings.database(db)).database_path
    except settings.SettingInvalid as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    if not path.is_file():
        raise Failure(ExitCode.NOT_FOUND, f"there is no database {path}; name it with --db or --data-dir")
    return scan_file(path)


async def _verify(
    scan: StoreScan, verifier: StoreVerifier, only: InstanceKey | None, *, as_json: bool
) -> None:
    from contextlib import aclosing

    progress = _Progress()
    try:
        async with aclosing(verifier.problems(only)) as found:
            async for problems in found:
                if problems:
                    progress.clear()
                for problem in problems:
                    _show(problem, as_json=as_json)
                progress.show(verifier.counts)
    finally:
        progress.clear()
        await scan.close()
    if only is None or verifier.counts.instances:
        _sum_up(verifier.counts, as_json=as_json)


def _show(problem: Problem, *, as_json: bool) -> None:
    from durachart.app.cli.terminal import OUT

    key = problem.key
    if as_json:
        from durachart.app.cli.jsonlines import emit

        emit(
            {
                "kind": "problem",
                "namespace": key.namespace,
                "machine_id": key.machine_id,
                "instance_id": key.instance_id,
                "seq": problem.seq,
                "check": problem.check,
                "message": problem.message,
                "differences": [difference._asdict() for difference in problem.differences],
            }
        )
        return
    where = f"{key}: " if key.machine_id else ""
    row = f"journal row {problem.seq} " if problem.seq else ""
    OUT.line(f"{OUT.style(where, 'bold')}{row}{problem.message}")
    for difference in problem.differences:
        OUT.line(f"    {difference}")


def _sum_up(counts: Counts, *, as_json: bool) -> None:
    from durachart.app.cli.terminal import OUT

    if as_json:
        from durachart.app.cli.jsonlines import emit

        emit(
            {
                "kind": "summary",
                "instances": counts.instances,
                "wrong_instances": counts.wrong_instances,
                "rows": counts.rows,
                "executed": counts.executed,
                "skipped": dict(counts.skipped),
                "refused": counts.refused,
                "deletions": counts.deletions,
                "problems": counts.problems,
            }
        )
        return
    rows = _counted(counts.rows, "journal row")
    OUT.line(f"verified {_counted(counts.instances, 'instance')}, {rows}; executed {counts.executed:,} again")
    by_nature = (
        ("refused, which changes nothing", counts.refused),
        ("deletion of the instance", counts.deletions),
    )
    for reason, number in (*by_nature, *counts.skipped.most_common()):
        if number:
            OUT.line(f"  {_counted(number, 'row')} not executed: {reason}")
    if not counts.problems:
        OUT.line(OUT.style("everything is as the journal says", "green"))


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


class _Progress:
    """One line on standard error that is written over, for whoever looks at a terminal."""

    def __init__(self) -> None:
        import time

        from durachart.app.cli.terminal import ERR

        self._now = time.monotonic
        self._err = ERR
        self._next_s = self._now() + 0.5
        self._shown = False

    def show(self, counts: Counts) -> None:
        now_s = self._now()
        if self._err.is_terminal and now_s >= self._next_s:
            self._next_s = now_s + 0.2
            self._shown = True
            self._err.write(
                f"\r\x1b[K{_counted(counts.instances, 'instance')}, {_counted(counts.rows, 'row')} …"
            )

    def clear(self) -> None:
        if self._shown:
            self._err.write("\r\x1b[K")
            self._shown = False
