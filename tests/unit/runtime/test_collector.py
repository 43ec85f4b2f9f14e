"""The collector's settings are those of before again when the server ends."""

from __future__ import annotations

import gc

from durachart.runtime.collector import seldom_collected


def test_the_collector_is_set_and_set_back() -> None:
    before = gc.get_threshold()
    frozen = gc.get_freeze_count()
    with seldom_collected():
        assert gc.isenabled()
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
