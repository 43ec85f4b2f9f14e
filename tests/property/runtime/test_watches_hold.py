"""Whatever happens, and however a watcher reads, breaks off and comes back: what it is told is true."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from durachart.store.sqlite.store import SqliteStore
from tests.property.runtime.watch_script import Script


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(min_value=0, max_value=2**32))
def test_watches_keep_their_guarantees(seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        script = Script(Random(seed), lambda: SqliteStore(Path(directory) / "store.db"), turns=60)
        assert asyncio.run(script.run()) == [], f"seed {seed}"
