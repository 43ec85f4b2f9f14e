"""What is read from the database, against hand-made rows: early, lost, doubled, and what was never run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from durachart.store.rows import EffectRow, JournalRow
from tests.acceptance.faults.evidence import Evidence, contradictions
from tests.acceptance.faults.ledger import ALARM_MS, Cause, Ledger
from tests.acceptance.faults.linearizability import Answer, Call, Request
from tests.acceptance.faults.load import History

RAN = "INFO durachart.effects.log: note instance=ledger/i effect_id=e params={}"
NO_JOURNAL: dict[str, Any] = dict.fromkeys(JournalRow._fields, "")
NO_EFFECT: dict[str, Any] = dict.fromkeys(EffectRow._fields, "")


class Story:
    """One instance, all of whose calls were answered and all of whose versions were watched."""

    def __init__(self) -> None:
        self.rows: list[JournalRow] = []
        self.history = History()
        self.effects: list[EffectRow] = []
        self._states = [Ledger()]
        self.add("create", "")

    def add(
        self,
        cause: str,
        event_type: str,
        *,
        at_ms: int = 0,
        asks: Sequence[dict[str, Any]] = (),
        **data: Any,
    ) -> None:
        """A row, and what was seen of it."""
        n, version = len(self.rows), len(self._states) - 1
        row = JournalRow(
            **{
                **NO_JOURNAL,
                "seq": n + 1,
                "cause": cause,
                "event_type": event_type,
                "data": json.dumps({"n": n, **data}),
                "at_ms": at_ms,
                "outcome": "accepted",
                "from_version": version,
                "to_version": version,
                "expected_version": None,
                "effects": json.dumps(list(asks)),
                "request_id": f"r{n}" if cause in ("create", "event") else "",
            }
        )
        what = Cause(cause, event_type, n)
        if cause != "create":
            row = row._replace(to_version=version + 1)
            after = self._states[-1].after(what)
            assert isinstance(after, Ledger)
            self._states.append(after)
        state = self._states[-1]
        self.rows.append(row)
        self.history.watched["i"].append((row.to_version, state))
        if row.request_id:
            request = Request("i", row.request_id, what)
            self.history.calls.append(Call(request, n, n + 1, Answer("", row.to_version, state)))

    def note(self, state: str = "completed") -> None:
        """An event that asks for the effect ``e``, which is in the outbox."""
        self.add("event", "NOTE", asks=[{"id": "e", "type": "note"}])
        finalized = None if state == "running" else 1
        self.effects.append(
            EffectRow(
                **{**NO_EFFECT, "effect_id": "e", "state": state, "attempt": 1, "finalized_at_ms": finalized}
            )
        )

    def found(self, ran: str = RAN, pending_timers: int = 0) -> str:
        """What contradicts, in one text."""
        evidence = Evidence({"i": self.rows}, self.effects, pending_timers)
        return "\n".join(contradictions(evidence, self.history, ran))


def test_what_agrees_is_not_reported() -> None:
    story = Story()
    story.add("event", "ARM", at_ms=1_000)
    story.add("timer", "late", at_ms=1_000 + ALARM_MS)
    story.note()
    story.add("effect", "NOTED", effect_id="e")
    assert story.found() == ""


def test_a_timer_before_its_time_is_found() -> None:
    story = Story()
    story.add("event", "ARM", at_ms=1_000)
    story.add("timer", "late", at_ms=999 + ALARM_MS)
    assert "due at" in story.found()


def test_a_timer_in_the_future_is_found() -> None:
    story = Story()
    story.add("event", "ARM", at_ms=1_000)
    story.add("timer", "late", at_ms=2**45)
    assert "has not come yet" in story.found()


def test_a_timer_that_never_fired_is_found() -> None:
    story = Story()
    story.add("event", "ARM", at_ms=1_000)
    assert "never fired" in story.found()
    assert "still pending" in story.found(pending_timers=1)


def test_an_effect_that_was_heard_of_twice_is_found() -> None:
    story = Story()
    story.note()
    for _ in range(2):
        story.add("effect", "NOTED", effect_id="e")
    assert story.found() == "effect e was heard of 2 times"


def test_an_effect_that_never_ended_is_found() -> None:
    story = Story()
    story.note("running")
    assert "effect e was never heard of" in story.found()
    assert "effect e is running" in story.found()


def test_an_effect_that_ended_without_being_run_is_found() -> None:
    story = Story()
    story.note()
    story.add("effect", "NOTED", effect_id="e")
    assert story.found(ran="") == "effect e ended and its handler never ran"


def test_an_effect_that_is_not_in_the_outbox_is_found() -> None:
    story = Story()
    story.note()
    story.add("effect", "NOTED", effect_id="e")
    story.effects.clear()
    assert "the outbox differs" in story.found()


def test_a_version_that_was_not_watched_is_found() -> None:
    story = Story()
    story.add("event", "ADD")
    story.add("event", "ADD")
    del story.history.watched["i"][1]
    assert "the watch showed versions [0, 2] of 3" in story.found()


def test_a_state_that_was_watched_and_never_was_is_found() -> None:
    story = Story()
    story.add("event", "ADD")
    story.history.watched["i"][1] = (1, Ledger(5, 5))
    assert "the watch showed" in story.found()
