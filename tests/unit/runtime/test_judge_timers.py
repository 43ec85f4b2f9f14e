"""Timers of one instance fire in due order, whoever asks for which."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from durachart.definitions.definition import Definition, load_definition
from durachart.runtime.commands import CreateInstance, FireTimer
from durachart.runtime.instance import Pinned, Seat
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.stepping import Verdict
from durachart.runtime.settings import RuntimeSettings
from durachart.store.interface import NO_JOURNAL
from durachart.store.keys import InstanceKey
from tests.unit.runtime.samples import START_MS, uid_maker

KEY = InstanceKey("", "clock", "c-1")


def _region(after_ms: int, name: str) -> dict[str, Any]:
    return {
        "initial": "armed",
        "states": {
            "armed": {"after": {str(after_ms): {"target": "fired", "actions": name}}},
            "fired": {"entry": "tell"},
        },
    }


@cache
def clock() -> Definition:
    regions = {"late": _region(3_000, "late"), "soon": _region(1_000, "soon"), "mid": _region(2_000, "mid")}
    regions["failing"] = _region(500, "fail")
    return load_definition(
        {
            "machine": {
                "id": "clock",
                "initial": "running",
                "context": {"order": []},
                "states": {
                    "running": {"type": "parallel", "states": regions, "on": {"STOP": "stopped"}},
                    "stopped": {},
                },
            },
            "implementations": {
                "actions": {
                    **{
                        name: {"assign": {"order": f"context.order + ['{name}']"}}
                        for name in ("late", "soon", "mid")
                    },
                    "fail": {
                        "assign": {"order": "[string(1 / (size(context.order) - size(context.order)))]"}
                    },
                }
            },
            "effects": {"tell": {"handler": "mail.send"}},
        }
    )


class Clock:
    """One instance of it."""

    def __init__(self) -> None:
        self.judge = Judge(RuntimeSettings(), uid_maker())
        created = self.judge.create(
            Seat(None, NO_JOURNAL), CreateInstance(KEY), Pinned(clock(), 1), Moment(START_MS, "ada")
        )
        self.seat = created.seat
        assert self.seat.instance is not None
        self.timers = {timer.due_at_ms - START_MS: timer for timer in self.seat.instance.snapshot.timers}

    def fire(self, after_ms: int, wall_ms: int) -> Verdict:
        assert self.seat.instance is not None
        timer = self.timers[after_ms]
        command = FireTimer(KEY, self.seat.instance.uid, timer.key, timer.sequence)
        verdict = self.judge.timers.fire(self.seat, command, Moment(START_MS + wall_ms, "system"))
        self.seat = verdict.seat
        return verdict

    @property
    def order(self) -> list[str]:
        assert self.seat.instance is not None
        order: list[str] = json.loads(self.seat.instance.context_json)["order"]
        return order


def test_timers_that_were_due_before_are_delivered_first_and_in_order() -> None:
    one = Clock()
    verdict = one.fire(3_000, wall_ms=60_000)
    assert verdict.done
    assert one.order == ["soon", "mid", "late"]
    # The failing one was due first: its refusal, then its consumption.
    outcomes = [recorded.row.outcome for recorded in verdict.recorded]
    assert outcomes == ["refused", "accepted", "accepted", "accepted", "accepted"]
    assert [recorded.row.seq for recorded in verdict.recorded] == [2, 3, 4, 5, 6]
    assert len(verdict.outbox) == 3
    assert one.seat.instance is not None
    assert one.seat.instance.snapshot.timers == ()


def test_timers_that_are_due_later_wait() -> None:
    one = Clock()
    one.fire(1_000, wall_ms=1_500)
    assert one.order == ["soon"]
    assert one.fire(2_000, wall_ms=60_000).done
    assert one.order == ["soon", "mid"]


def test_one_that_fired_with_another_is_not_fired_again() -> None:
    one = Clock()
    one.fire(3_000, wall_ms=60_000)
    verdict = one.fire(1_000, wall_ms=60_000)
    assert (verdict.done, verdict.recorded) == (False, ())


def test_none_is_fired_before_the_wall_clock_is_there() -> None:
    one = Clock()
    verdict = one.fire(500, wall_ms=499)
    assert (verdict.done, verdict.recorded) == (False, ())
    # The instance's own time does not go back with the wall clock, and makes nothing due.
    one.fire(1_000, wall_ms=1_000)
    assert one.fire(3_000, wall_ms=-5_000).recorded == ()
    fired = one.fire(2_000, wall_ms=2_000)
    assert fired.recorded[-1].row.at_ms == START_MS + 2_000
