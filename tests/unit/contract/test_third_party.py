"""The vendored google.rpc protos are those of the package that Python's classes come from."""

from importlib.resources import files
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["code.proto", "status.proto", "error_details.proto"])
def test_vendored_proto_equals_the_locked_package(repository: Path, name: str) -> None:
    ours = repository / "third_party" / "googleapis" / "google" / "rpc" / name

    assert ours.read_text(encoding="utf-8") == files("google.rpc").joinpath(name).read_text(encoding="utf-8")
