"""The table of codes is complete, true, and what the reference shows.

After a change, write the page anew: run this file with ``DURACHART_WRITE_REFERENCE=1`` in the environment.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from durachart.app import checking
from durachart.definitions import codes
from durachart.definitions.codes import CHAPTERS, CODES
from durachart.definitions.effect_spec import KEYS, RETRY_KEYS

# The server adds what only it can find: that checking takes too long.
SOURCES = [*Path(codes.__file__).parent.glob("*.py"), Path(checking.__file__)]
# Words with an underscore that are data of another kind.
OTHER_WORDS = {*KEYS, *RETRY_KEYS, "due_in", "state_in"}


def words_in_the_sources() -> Iterator[str]:
    for path in sorted(SOURCES):
        if path.name == "codes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            word = node.value if isinstance(node, ast.Constant) else None
            if isinstance(word, str) and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", word):
                yield word


def reference() -> str:
    lines = [
        "# Findings",
        "",
        "What `durachart validate` and publishing say about a definition. An error refuses it; a warning",
        "does not. A code is stable; sentences and hints may change. The path is a JSON Pointer (RFC 6901).",
    ]
    for title, chapter in CHAPTERS.items():
        lines += ["", f"## {title}", "", "| code | severity | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {code.severity} | {code.meaning} |" for name, code in sorted(chapter.items())
        ]
    return "\n".join(lines) + "\n"


def test_every_code_in_use_is_in_the_table_and_the_other_way_round() -> None:
    used = set(words_in_the_sources()) - OTHER_WORDS
    # Two codes are put together from what they are about.
    used |= {"action_malformed", "guard_malformed"}
    assert used - CODES.keys() == set()
    assert CODES.keys() - used == set()


def test_no_code_stands_in_two_chapters() -> None:
    assert sum(len(chapter) for chapter in CHAPTERS.values()) == len(CODES)


def test_meanings_are_one_line() -> None:
    for code in CODES.values():
        assert code.severity in ("error", "warning", "error or warning")
        assert code.meaning.endswith(".")
        assert "\n" not in code.meaning


def test_reference_page_shows_the_table(repository: Path) -> None:
    page = repository / "docs" / "reference" / "findings.md"
    if os.environ.get("DURACHART_WRITE_REFERENCE"):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(reference())
    assert page.read_text() == reference()
