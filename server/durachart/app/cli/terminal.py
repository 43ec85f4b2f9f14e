"""What may be written where: colour and live output on a terminal, plain lines in a pipe."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


# Cells of the terminal between two columns, and those that a column of wrapped text has where it has as much.
_BETWEEN = 3
_READABLE = 16


class ReaderGone(Exception):
    """Whoever read our output has seen enough, as ``head`` does.

    Not an ``OSError``: typer would take it for its own, and end with 1.
    """


class OutputFailed(Exception):
    """What is written to standard output does not arrive: the device is full, or nothing is open there.

    Not an ``OSError``, as ``ReaderGone`` is none.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {(error.strerror or str(error)).lower()}")


class Stream:
    """Standard output or standard error.

    Args:
        name: ``stdout`` or ``stderr``; looked up at each use, so that a test may replace it.
        required: Whether the command ends when nothing can be written; otherwise the text is lost.
    """

    def __init__(self, name: str, *, required: bool) -> None:
        self._name = name
        self._required = required

    @property
    def file(self) -> TextIO:
        """The stream as it is now."""
        stream: TextIO = getattr(sys, self._name)
        return stream

    @property
    def is_terminal(self) -> bool:
        """Whether a person is looking."""
        return self.file.isatty()

    @property
    def has_colour(self) -> bool:
        """Whether colour may be written: a terminal that is not dumb, and no NO_COLOR in the environment."""
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def style(self, text: str, *styles: str) -> str:
        """``text`` in these styles where colour may be written; else as it is."""
        if not styles or not self.has_colour:
            return text
        codes = ";".join(str(_STYLES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def write(self, text: str) -> None:
        """Write ``text`` as it is, at once.

        Raises:
            ReaderGone: Nobody reads it any more.
            OutputFailed: It cannot be written.
        """
        try:
            self.file.write(text)
            self.file.flush()
        except OSError:
            if self._required:
                raise

    def line(self, text: str = "") -> None:
        """Write one line, at once; raises as ``write`` does."""
        self.write(f"{text}\n")

    def wrap(self, text: str, indent: str) -> list[str]:
        """``text`` as indented lines that fit the terminal."""
        columns = shutil.get_terminal_size().columns
        return textwrap.wrap(text, columns, initial_indent=indent, subsequent_indent=indent)

    def table(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        wrapping: Sequence[str] = (),
        expendable: Sequence[str] = (),
    ) -> None:
        """Write rows: a table that fits the terminal, or tab-separated lines without headings in a pipe.

        Args:
            headings: One for each cell of a row; not looked at in a pipe.
            rows: As many cells each.
            wrapping: The headings whose cells may take several lines.
            expendable: The headings whose columns are left out, in this order, on a terminal that is too
                narrow for all.
        """
        if not self.is_terminal:
            for row in rows:
                self.line("\t".join(_one_line(cell) for cell in row))
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(file=self.file, no_color=not self.has_colour)
        columns = [
            _Column(heading, cells, wraps=heading in wrapping)
            for heading, *cells in zip(headings, *rows, strict=True)
        ]
        columns = _that_fit(columns, expendable, console.width)
        header = "bold" if self.has_colour else ""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=header)
        for column, width in zip(columns, _widths(columns, console.width), strict=True):
            table.add_column(
                column.heading,
                overflow="fold" if column.wraps else "ellipsis",
                no_wrap=not column.wraps,
                width=width,
            )
        for cells in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*map(Text, cells))
        with console.capture() as written:
            console.print(table)
        self.write(written.get())


class _Column:
    """A column of a table.

    Attributes:
        heading: Its heading.
        cells: What is below, from the top.
        wraps: Whether a cell may take several lines.
        width: Cells of the terminal that the longest text takes.
        least: Those without which it cannot be read: never inside a word.
    """

    def __init__(self, heading: str, cells: Sequence[str], *, wraps: bool) -> None:
        from rich.cells import cell_len

        self.heading = heading
        self.cells = cells
        self.wraps = wraps
        texts = [heading, *cells]
        self.width = max(cell_len(line) for text in texts for line in text.splitlines() or [""])
        words = max(cell_len(word) for text in texts for word in text.split() or [""])
        self.least = max(words, min(self.width, _READABLE)) if wraps else self.width


def _that_fit(columns: Sequence[_Column], expendable: Iterable[str], width: int) -> list[_Column]:
    """The columns without those that a terminal of this width cannot have."""
    kept = list(columns)
    for heading in expendable:
        if sum(column.least for column in kept) <= _room(kept, width):
            break
        kept = [column for column in kept if column.heading != heading]
    return kept


def _widths(columns: Sequence[_Column], width: int) -> list[int | None]:
    """How wide each column is; None where no choice is left, and the table's own rules cut."""
    room = _room(columns, width) - sum(column.least for column in columns)
    if room < 0:
        return [None] * len(columns)
    widths: list[int | None] = [column.least for column in columns]
    # Those that want little get it; the others share the rest.
    wanting = sorted(range(len(columns)), key=lambda at: columns[at].width - columns[at].least)
    for sharing, at in zip(range(len(columns), 0, -1), wanting, strict=True):
        more = min(columns[at].width - columns[at].least, room // sharing)
        widths[at] = columns[at].least + more
        room -= more
    return widths


def _room(columns: Sequence[_Column], width: int) -> int:
    """Cells of the terminal for what is in the columns, without what is between them."""
    return width - _BETWEEN * (len(columns) - 1)


def _one_line(cell: str) -> str:
    return cell.replace("\t", " ").replace("\n", " ")


class _StandardOutput(io.FileIO):
    """Tells its failures from those of any other file, whoever writes: commands, help or the server."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError as error:
            raise OutputFailed(error) from error


def take_streams() -> None:
    """Make the process's standard streams what commands take for granted.

    Standard output raises ``ReaderGone`` and ``OutputFailed``. Where a stream is closed, as by ``>&-``,
    another file would get its number: instead reading finds the end, writing to standard output fails, and
    what is said on standard error is lost.
    """
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        made = open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
    before = sys.stdout
    raw = _StandardOutput(before.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), before.encoding, before.errors, line_buffering=raw.isatty()
    )


def forget_unwritten() -> None:
    """Let go of what could not be written: the interpreter would try again at its exit, and fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ReaderGone, OutputFailed):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


OUT = Stream("stdout", required=True)
ERR = Stream("stderr", required=False)
