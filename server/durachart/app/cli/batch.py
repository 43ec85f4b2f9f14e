"""``simulate --batch``: one row in, one row out, and nothing kept in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from durachart.definitions.build import build_machine
from durachart.definitions.errors import DefinitionError
from durachart.definitions.simulation import run_script
from durachart.engine import EngineError
from durachart.plugins.collection import PluginCollection


def run_batch(
    rows: Iterable[str], write: Callable[[str], object], plugins: PluginCollection | None = None
) -> int:
    """Answer each row with ``{"id", "expect": [...]}``, or ``{"id", "error": ...}`` when it cannot be run.

    Args:
        rows: Lines, each ``{"id", "machine", "implementations"?, "input"?, "events"}``; empty ones are
            skipped.
        write: Receives one line a row, in order.
        plugins: Trusted implementations by name; None: there are none.

    Returns:
        How many rows could not be run.
    """
    failed = 0
    for line in rows:
        if not line.strip():
            continue
        answer = _answer(line, plugins)
        failed += "error" in answer
        write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")) + "\n")
    return failed


def _answer(line: str, plugins: PluginCollection | None) -> dict[str, Any]:
    name: Any = None
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            return {"id": None, "error": "the row is not a JSON object"}
        name = row.get("id")
        if "machine" not in row:
            return {"id": name, "error": "the row has no `machine`"}
        events = row.get("events", [])
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            return {"id": name, "error": "`events` is not a list of objects"}
        machine = build_machine(row["machine"], row.get("implementations"), plugins=plugins)
        return {"id": name, "expect": run_script(machine, events, row.get("input"))}
    except json.JSONDecodeError as error:
        return {"id": None, "error": f"the row is not JSON: {error.msg} at column {error.colno}"}
    except RecursionError:
        return {"id": name, "error": "the row is nested too deeply"}
    except (DefinitionError, EngineError) as error:
        return {"id": name, "error": str(error)}
