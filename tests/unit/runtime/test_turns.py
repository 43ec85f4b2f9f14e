"""How long a thread may keep the interpreter is as before again when the server ends."""

from __future__ import annotations

import sys

from durachart.runtime.turns import short_turns


def test_turns_are_short_and_as_before_afterwards() -> None:
    before = sys.getswitchinterval()
    with short_turns():
        short = sys.getswitchinterval()
        assert short < before
        for _ in range(3):
            with short_turns():
                assert sys.getswitchinterval() == short
            assert sys.getswitchinterval() == short
    assert sys.getswitchinterval() == before
