"""What every test shares: how hypothesis searches, and where the repository is."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import NoPostgres, PostgresServer, postgres

# A shared, noisy machine makes single examples slow; the search itself is bounded by max_examples. CI always
# searches the same examples, so that a red run means a change; by hand each run looks elsewhere.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root directory."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests share, each with databases of its own; none may stop it."""
    try:
        # Nothing that is stored here outlives the run, so nothing has to reach the disk.
        with postgres(fsync=False) as server:
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))
