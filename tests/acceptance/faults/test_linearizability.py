"""The checker itself: it takes right histories, and finds what is wrong with wrong ones."""

from __future__ import annotations

from typing import Any

from tests.acceptance.faults.ledger import Cause, Ledger
from tests.acceptance.faults.linearizability import Answer, Call, Read, Request, Row, violations

CREATE = Cause("create", "")


def add(n: int) -> Cause:
    return Cause("event", "ADD", n)


class Story:
    """A journal and the calls that made it, told line by line; a call takes from its ``at`` to ``at + 1``."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.calls: list[Call] = []
        self.reads: list[Read] = []
        self.versions = [Ledger()]
        self._version = 0
        self.row(CREATE, "create")
        self.call("create", CREATE, at=0, answer=Answer("", 0, Ledger()))

    def row(self, cause: Cause, request_id: str, reason: str = "", expected: int | None = None) -> None:
        before = self._version
        if not reason and cause.kind != "create":
            self._version += 1
            after = self.versions[-1].after(cause)
            assert isinstance(after, Ledger)
            self.versions.append(after)
        self.rows.append(Row(len(self.rows) + 1, cause, request_id, expected, reason, before, self._version))

    def call(
        self,
        request_id: str,
        cause: Cause,
        *,
        at: float,
        answer: Answer | None,
        expected: int | None = None,
        takes: float = 1,
    ) -> None:
        request = Request("i", request_id, cause, expected)
        self.calls.append(Call(request, at, at + takes, answer))

    def accepted(self, version: int, *, replayed: bool = False) -> Answer:
        return Answer("", version, self.versions[version], replayed)

    def added(self, request_id: str, n: int, *, at: float, takes: float = 1) -> None:
        """An event that was taken and answered, and is next in the journal."""
        self.row(add(n), request_id)
        self.call(request_id, add(n), at=at, answer=self.accepted(self._version), takes=takes)

    def read(self, version: int, *, at: float, state: Any = None) -> None:
        self.reads.append(Read("i", at, at + 1, version, state or self.versions[version]))

    def broken_rules(self) -> set[str]:
        return {one.rule for one in violations(Ledger(), self.rows, self.calls, self.reads)}


def test_calls_one_after_the_other_are_linearizable() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.added("b", 7, at=4)
    story.read(2, at=6)
    assert story.broken_rules() == set()


def test_overlapping_calls_may_take_effect_in_either_order() -> None:
    story = Story()
    story.added("late", 5, at=4, takes=3)
    story.added("early", 7, at=2, takes=3)
    story.read(1, at=4)
    assert story.broken_rules() == set()


def test_timers_and_effects_take_effect_at_any_time() -> None:
    story = Story()
    story.row(Cause("event", "ARM", 1), "a")
    story.call("a", Cause("event", "ARM", 1), at=2, answer=story.accepted(1))
    story.row(Cause("timer", "xstate.after"), "")
    story.row(Cause("effect", "NOTED"), "")
    story.read(3, at=4)
    assert story.broken_rules() == set()


def test_a_call_without_an_answer_may_have_happened_or_not() -> None:
    story = Story()
    story.call("gone", add(3), at=2, answer=None)
    story.call("taken", add(5), at=2, answer=None)
    story.row(add(5), "taken")
    story.added("c", 7, at=4)
    assert story.broken_rules() == set()


def test_a_call_without_an_answer_may_happen_long_after_it_ended() -> None:
    story = Story()
    story.call("slow", add(3), at=2, answer=None)
    story.added("b", 5, at=4)
    story.row(add(3), "slow")
    story.added("c", 7, at=9)
    assert story.broken_rules() == set()


def test_a_retry_that_gets_the_first_answer_again_is_linearizable() -> None:
    story = Story()
    story.call("a", add(5), at=2, answer=None)
    story.row(add(5), "a")
    story.added("b", 7, at=4)
    story.call("a", add(5), at=6, answer=story.accepted(1, replayed=True))
    assert story.broken_rules() == set()


def test_refusals_are_judged_at_their_version() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.row(add(-1), "bad", "GUARD_REJECTED")
    story.call("bad", add(-1), at=4, answer=Answer("GUARD_REJECTED", 1))
    story.row(add(6), "old", "VERSION_CONFLICT", expected=0)
    story.call("old", add(6), at=4, answer=Answer("VERSION_CONFLICT", 1), expected=0)
    assert story.broken_rules() == set()


def test_a_lost_update_is_found() -> None:
    """Two are told that theirs is version 1, and only one of them is there."""
    story = Story()
    story.added("a", 5, at=2)
    story.call("b", add(7), at=2, answer=Answer("", 1, Ledger(1, 7)))
    assert story.broken_rules() == {"lost"}


def test_an_overwritten_update_is_found() -> None:
    """Both rows are there, and the second was made from the state before the first."""
    story = Story()
    story.added("a", 5, at=2)
    story.rows.append(Row(3, add(7), "b", None, "", 0, 1))
    story.call("b", add(7), at=2, answer=Answer("", 1, Ledger(1, 7)))
    assert "journal" in story.broken_rules()


def test_an_event_applied_twice_is_found() -> None:
    story = Story()
    story.call("a", add(5), at=2, answer=None)
    story.row(add(5), "a")
    story.row(add(5), "a")
    story.call("a", add(5), at=4, answer=story.accepted(2))
    assert "twice" in story.broken_rules()


def test_a_stale_refusal_is_found() -> None:
    """Refused at a version that was gone before the call began."""
    story = Story()
    story.row(add(9), "stale", "VERSION_CONFLICT", expected=7)
    story.added("a", 5, at=2)
    story.call("stale", add(9), at=5, answer=Answer("VERSION_CONFLICT", 0), expected=7)
    assert story.broken_rules() == {"order"}


def test_a_refusal_of_what_the_state_allowed_is_found() -> None:
    story = Story()
    story.row(Cause("event", "ARM", 1), "a", "EVENT_NOT_ALLOWED")
    story.call("a", Cause("event", "ARM", 1), at=2, answer=Answer("EVENT_NOT_ALLOWED", 0))
    assert story.broken_rules() == {"journal"}


def test_an_answer_from_the_future_is_found() -> None:
    """Answered with a version that follows on an event that nobody had sent yet."""
    story = Story()
    story.added("later", 5, at=8)
    story.added("early", 7, at=2)
    assert story.broken_rules() == {"order"}


def test_a_read_from_the_future_is_found() -> None:
    story = Story()
    story.added("a", 5, at=8)
    story.read(1, at=2)
    assert story.broken_rules() == {"order"}


def test_a_stale_read_is_found() -> None:
    """A read shows what was, after somebody was told what is."""
    story = Story()
    story.added("a", 5, at=2)
    story.added("b", 7, at=4)
    story.read(1, at=6)
    assert story.broken_rules() == {"order"}


def test_a_stale_read_behind_a_read_is_found() -> None:
    """What one reader has seen, nobody may see undone, though the writer has no answer yet."""
    story = Story()
    story.row(add(5), "a")
    story.call("a", add(5), at=2, answer=story.accepted(1), takes=10)
    story.read(1, at=3)
    story.read(0, at=6)
    assert story.broken_rules() == {"order"}


def test_a_read_of_what_never_was_is_found() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.read(1, at=4, state=Ledger(1, 6))
    assert story.broken_rules() == {"answer"}


def test_an_acknowledged_event_that_is_gone_is_found() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.rows.pop()
    assert "lost" in story.broken_rules()


def test_an_answer_at_another_version_is_found() -> None:
    story = Story()
    story.row(add(5), "a")
    story.call("a", add(5), at=2, answer=story.accepted(1)._replace(version=2))
    assert story.broken_rules() == {"answer"}


def test_an_accepted_event_told_to_be_refused_is_found() -> None:
    story = Story()
    story.row(add(5), "a")
    story.call("a", add(5), at=2, answer=Answer("GUARD_REJECTED", 1))
    assert story.broken_rules() == {"answer"}


def test_two_first_answers_are_found() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.call("a", add(5), at=4, answer=story.accepted(1))
    assert story.broken_rules() == {"replay"}


def test_a_repetition_of_nothing_is_found() -> None:
    story = Story()
    story.row(add(5), "a")
    story.call("a", add(5), at=2, answer=story.accepted(1, replayed=True))
    assert story.broken_rules() == {"replay"}


def test_a_repetition_that_differs_is_found() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.call("a", add(5), at=4, answer=Answer("", 1, Ledger(1, 6), replayed=True))
    assert story.broken_rules() == {"answer"}


def test_a_row_that_nobody_asked_for_is_found() -> None:
    story = Story()
    story.row(add(5), "who")
    assert story.broken_rules() == {"stranger"}


def test_a_row_with_another_event_is_found() -> None:
    story = Story()
    story.row(add(6), "a")
    story.call("a", add(5), at=2, answer=story.accepted(1))
    assert story.broken_rules() == {"stranger"}


def test_a_gap_in_the_journal_is_found() -> None:
    story = Story()
    story.added("a", 5, at=2)
    story.added("b", 7, at=4)
    del story.rows[1]
    assert {"journal", "lost"} <= story.broken_rules()
