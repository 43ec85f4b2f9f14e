"""Machines from a directory: all problems at once, by file."""

from pathlib import Path
from typing import Any

import pytest

from durachart.app.machines import MachineNotPublished, publish_directory


async def test_an_ambiguous_machine_publishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "order").mkdir()
    for name in ("machine.yaml", "machine.json"):
        (tmp_path / "order" / name).write_text('{"id": "order"}')
    nobody: Any = None
    with pytest.raises(MachineNotPublished, match=r"machine\.yaml and machine\.json: keep one of them"):
        await publish_directory(nobody, tmp_path)


async def test_files_that_cannot_be_read_are_listed_together(tmp_path: Path) -> None:
    for name, data in (("a", b"\xff\xfe"), ("b", b"machine: [")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "machine.yaml").write_bytes(data)
    nobody: Any = None
    with pytest.raises(MachineNotPublished) as caught:
        await publish_directory(nobody, tmp_path)
    assert [path.parent.name for path in caught.value.problems] == ["a", "b"]
    assert "2 machines cannot be published" in str(caught.value)
