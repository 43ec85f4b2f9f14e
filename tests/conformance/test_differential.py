"""Random machines, run here and in the npm package ``xstate``, side by side."""

import pytest

from tests.conformance.differential import XSTATE, compare
from tests.conformance.generator import make_case

SEEDS = range(1, 151)


@pytest.mark.timeout(300)
@pytest.mark.skipif(not XSTATE.is_dir(), reason="npm's xstate is not installed; `make test` installs it")
def test_random_machines_do_what_xstate_does(record_property):
    comparison = compare(make_case(seed) for seed in SEEDS)
    assert comparison.divergences == []
    counts = comparison.counts
    record_property("outcomes", ", ".join(f"{name}: {count}" for name, count in counts.items()))
    assert counts["agree"] >= len(SEEDS) // 2


def test_a_seed_makes_the_same_case_every_time():
    assert make_case(7) == make_case(7)
    assert make_case(7) != make_case(8)
