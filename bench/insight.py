"""What a server process holds: asked with SIGUSR1, answered in the file that BENCH_INSIGHT names."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import time
from pathlib import Path
from typing import Any


def tell_on_signal() -> None:
    """Answer from now on; called inside the running event loop."""
    path = os.environ.get("BENCH_INSIGHT")
    if path is None:
        return
    target = Path(path)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell, target)


def _tell(target: Path) -> None:
    gc.collect()
    held = {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
    written = target.with_suffix(".new")
    written.write_text(json.dumps(held))
    written.rename(target)


def ask(pid: int, target: Path) -> dict[str, Any]:
    """What the process ``pid`` holds; ``files`` are its open file handles."""
    target.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    for _ in range(6_000):
        if target.exists():
            held: dict[str, Any] = json.loads(target.read_text())
            return {**held, "files": len(list(Path(f"/proc/{pid}/fd").iterdir()))}
        time.sleep(0.01)
    raise SystemExit("a server did not tell what it holds")
