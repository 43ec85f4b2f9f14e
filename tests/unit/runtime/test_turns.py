"""How long a thread may keep the interpreter is as before again when the last who wanted it short is done."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from durachart.runtime.turns import short_turns


def test_turns_are_short_and_as_before_afterwards() -> None:
    before = sys.getswitchinterval()
    for _ in range(3):
        with short_turns():
            assert sys.getswitchinterval() < before
        assert sys.getswitchinterval() == before


def test_turns_stay_short_until_the_last_is_done_whoever_began_first() -> None:
    """A large compilation may begin before the server serves, and end while it does."""
    before = sys.getswitchinterval()
    compilation, server = ExitStack(), ExitStack()
    compilation.enter_context(short_turns())
    server.enter_context(short_turns())
    compilation.close()
    assert sys.getswitchinterval() < before
    server.close()
    assert sys.getswitchinterval() == before
