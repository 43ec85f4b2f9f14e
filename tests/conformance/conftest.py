"""The corpus: machines, scripts, and what XState does with them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"


def read_rows(name: str) -> Iterator[dict[str, Any]]:
    content = (DATA / name).read_bytes()
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    for line in content.splitlines():
        yield json.loads(line)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    return list(read_rows("dev.jsonl.gz"))


@pytest.fixture(scope="session")
def found() -> list[dict[str, Any]]:
    """Rows added since: divergences that the fuzzer found, and what the corpus leaves thin."""
    return list(read_rows("found.jsonl"))


@pytest.fixture(scope="session")
def order_quirks() -> list[dict[str, Any]]:
    return list(read_rows("order_quirks.jsonl.gz"))


@pytest.fixture(scope="session")
def rejects() -> list[dict[str, Any]]:
    return list(read_rows("rejects.jsonl"))


@pytest.fixture(scope="session")
def suspicious() -> list[dict[str, Any]]:
    return list(read_rows("accepted_but_suspicious.jsonl"))
