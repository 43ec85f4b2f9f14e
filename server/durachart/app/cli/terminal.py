"""What may be written where: colour and live output on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


class ReaderGone(Exception):
    """Whoever read our output has seen enough, as ``head`` does.

    Not an ``OSError``: typer would take it for its own, and end with 1.
    """


class Stream:
    """Standard output or standard error.

    Args:
        name: ``stdout`` or ``stderr``; looked up at each use, so that a test may replace it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

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
        """
        try:
            self.file.write(text)
            self.file.flush()
        except BrokenPipeError as error:
            raise ReaderGone from error

    def line(self, text: str = "") -> None:
        """Write one line, at once; raises as ``write`` does."""
        self.write(f"{text}\n")

    def wrap(self, text: str, indent: str) -> list[str]:
        """``text`` as indented lines that fit the terminal."""
        columns = shutil.get_terminal_size().columns
        return textwrap.wrap(text, columns, initial_indent=indent, subsequent_indent=indent)

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[str]], wrapping: Sequence[str] = ()
    ) -> None:
        """Write rows: a table that fits the terminal, or tab-separated lines without headings in a pipe.

        Args:
            headings: One for each cell of a row; not looked at in a pipe.
            rows: As many cells each.
            wrapping: The headings whose cells may take several lines.
        """
        if not self.is_terminal:
            for row in rows:
                self.line("\t".join(_one_line(cell) for cell in row))
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        header = "bold" if self.has_colour else ""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=header)
        for heading in headings:
            wraps = heading in wrapping
            table.add_column(heading, overflow="fold" if wraps else "ellipsis", no_wrap=not wraps)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = Console(file=self.file, no_color=not self.has_colour)
        with console.capture() as written:
            console.print(table)
        self.write(written.get())


def _one_line(cell: str) -> str:
    return cell.replace("\t", " ").replace("\n", " ")


OUT = Stream("stdout")
ERR = Stream("stderr")
