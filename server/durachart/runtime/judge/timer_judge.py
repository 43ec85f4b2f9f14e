"""Decides what a timer that is due does to an instance. Pure, as `Judge` is."""

from __future__ import annotations

from durachart.engine.errors import EngineError
from durachart.engine.macrostep import Macrostep, fire_timer
from durachart.engine.snapshot import Timer
from durachart.runtime.commands import SYSTEM_ACTOR, FireTimer
from durachart.runtime.instance import Instance, Seat, Unstorable, dumps
from durachart.runtime.judge.consumption import consume
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.reasons import failed
from durachart.runtime.judge.stepping import Attempt, Stepping, Verdict
from durachart.runtime.settings import RuntimeSettings


class TimerJudge:
    """See the module.

    Args:
        settings: Within which.
        stepping: Makes instances and rows.
    """

    def __init__(self, settings: RuntimeSettings, stepping: Stepping) -> None:
        self._settings = settings
        self._stepping = stepping

    def fire(self, seat: Seat, command: FireTimer, moment: Moment) -> Verdict:
        """Deliver a timer's event, if exactly that arming is pending and due.

        Timers of the instance that were due before it are delivered first: the order must not depend on who
        asks for which. One of them may cancel it.
        """
        asked = _pending(seat.instance, command)
        if asked is None or asked.due_at_ms > moment.wall_ms:
            return Verdict(seat, done=False)
        verdict = Verdict(seat)
        # What is armed meanwhile is due later: at this instant at the earliest, and with a higher sequence.
        while (pending := _pending(verdict.seat.instance, command)) is not None:
            assert verdict.seat.instance is not None
            timer = min(verdict.seat.instance.snapshot.timers, key=_due_order)
            verdict = _joined(verdict, self._deliver(verdict.seat, verdict.seat.instance, timer, moment))
            if timer is pending:
                return verdict
        return verdict._replace(done=False)

    def _deliver(self, seat: Seat, instance: Instance, timer: Timer, moment: Moment) -> Verdict:
        head = seat.head
        own = {key: value for key, value in timer.event.items() if key != "type"}
        attempt = Attempt(
            instance.key,
            "timer",
            max(moment.wall_ms, head.now_ms),
            SYSTEM_ACTOR,
            timer.event["type"],
            dumps(own) if own else "",
            details=dumps({"timer": timer.key, "sequence": timer.sequence}),
            traceparent=moment.traceparent,
        )
        try:
            step = fire_timer(
                instance.definition.machine,
                instance.snapshot,
                timer.key,
                now_ms=attempt.now_ms,
                max_microsteps=self._settings.max_microsteps,
            )
            return self._stepping.advance(head, attempt, instance, step)
        except (EngineError, Unstorable) as error:
            remaining = tuple(other for other in instance.snapshot.timers if other is not timer)
            return consume(
                self._stepping,
                seat,
                attempt,
                failed(instance, attempt, error),
                Macrostep(instance.snapshot._replace(timers=remaining), (), False, False, ()),
                None,
            )


def _pending(instance: Instance | None, command: FireTimer) -> Timer | None:
    if instance is None or instance.uid != command.uid:
        return None
    for timer in instance.snapshot.timers:
        if timer.key == command.timer_key and timer.sequence == command.sequence:
            return timer
    return None


def _due_order(timer: Timer) -> tuple[int, int]:
    return timer.due_at_ms, timer.sequence


def _joined(first: Verdict, then: Verdict) -> Verdict:
    """Two verdicts on one instance as one."""
    return then._replace(
        recorded=(*first.recorded, *then.recorded),
        outbox=(*first.outbox, *then.outbox),
        ends=(*first.ends, *then.ends),
    )
