"""Whether what clients of one instance were told can have happened one after the other.

A history is what the clients saw: when each call began and ended on one monotonic clock, and what it was
answered. The journal is what the service says happened. The history is linearizable if every call took
effect at one instant between its begin and its end, with the results a single ledger would have given. In
general that is a search; here it is not, because the journal already names the order, and it need only be
checked that this order explains everything:

- ``journal``: rows follow one another, and each does to the model what it says it did.
- ``stranger``: every row comes from a request that was made, as it was made.
- ``twice``: a request has at most one row, however often it was sent.
- ``lost``: a request that was answered has a row.
- ``answer``: every answer is what the row says and the model shows at that version.
- ``replay``: all answers to one request are the same, and only one of them is not a repetition.
- ``order``: instants can be found, in the order of the rows, that lie within the calls. Reads take part in
  this: one lies between the version it showed and the next.

A call that got no answer may have taken effect at any time after it began, once, or never.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from tests.acceptance.faults.ledger import Cause

REPLAYED_NOTHING: Final = "an answer is a repetition, and nothing that it could repeat had been asked"


class Request(NamedTuple):
    """What a client asks for, under one request id, as often as it takes.

    Attributes:
        instance_id: Which instance.
        request_id: Of this request alone.
        cause: A creation or an event.
        expected_version: None: any.
    """

    instance_id: str
    request_id: str
    cause: Cause
    expected_version: int | None = None


class Answer(NamedTuple):
    """What a call was told.

    Attributes:
        reason: Why it was refused; ``""``: it was accepted.
        version: After the event, or at which it was refused; None for a refusal that does not say.
        state: As shown at that version, equal to a state of the model; None for a refusal.
        replayed: Whether it says of itself that it repeats an earlier answer.
    """

    reason: str
    version: int | None
    state: object = None
    replayed: bool = False


class Call(NamedTuple):
    """One attempt at a request.

    Attributes:
        request: What was asked.
        began: In seconds.
        ended: In seconds.
        answer: None: whether it took effect is not known.
    """

    request: Request
    began: float
    ended: float
    answer: Answer | None


class Read(NamedTuple):
    """A state that was asked for and shown."""

    instance_id: str
    began: float
    ended: float
    version: int
    state: object


class Row(NamedTuple):
    """A row of the journal, as far as the checker needs it.

    Attributes:
        seq: From 1, without gaps.
        cause: What asked.
        request_id: ``""`` for timers and effects.
        expected_version: None: any.
        reason: Of the refusal; ``""``: accepted.
        from_version: Before.
        to_version: After; the same for a refusal and a creation.
    """

    seq: int
    cause: Cause
    request_id: str
    expected_version: int | None
    reason: str
    from_version: int
    to_version: int


class Violation(NamedTuple):
    """Something that cannot have happened; ``rule`` is one of those in the module's docstring."""

    rule: str
    text: str


class Model(Protocol):
    """What the machine should do."""

    def after(self, cause: Cause) -> Model | str:
        """The state that follows, or the reason of the refusal."""


class _Span(NamedTuple):
    """When something took effect: not before, not after."""

    began: float
    ended: float


_ANY_TIME: Final = _Span(-math.inf, math.inf)


def violations(
    initial: Model, rows: Sequence[Row], calls: Iterable[Call], reads: Iterable[Read]
) -> list[Violation]:
    """What of one instance's history its journal does not explain; empty: it is linearizable.

    Args:
        initial: The model's state at version 0.
        rows: The whole journal of the instance, by seq.
        calls: Every call on it, answered or not, in any order.
        reads: Every read of it, in any order.
    """
    return _Check(initial, rows, calls, reads).run()


class _Check:
    def __init__(
        self, initial: Model, rows: Sequence[Row], calls: Iterable[Call], reads: Iterable[Read]
    ) -> None:
        self._initial = initial
        self._rows = rows
        self._calls: defaultdict[str, list[Call]] = defaultdict(list)
        for call in calls:
            self._calls[call.request.request_id].append(call)
        self._reads: defaultdict[int, list[Read]] = defaultdict(list)
        for read in reads:
            self._reads[read.version].append(read)
        self._states: dict[int, Model] = {}
        self._found: list[Violation] = []

    def run(self) -> list[Violation]:
        self._replay_journal()
        by_request = self._rows_by_request()
        for request_id, calls in self._calls.items():
            self._check_answers(calls, by_request.get(request_id))
        for version, reads in self._reads.items():
            for read in reads:
                if self._states.get(version) != read.state:
                    shown = self._states.get(version)
                    self._report("answer", f"{read} shows what version {version} never was: {shown}")
        self._check_order()
        return self._found

    def _report(self, rule: str, text: str) -> None:
        self._found.append(Violation(rule, text))

    def _replay_journal(self) -> None:
        """Do to the model what the rows say; remember its state at every version."""
        state: Model | None = None
        version = 0
        for seq, row in enumerate(self._rows, 1):
            if row.seq != seq:
                self._report("journal", f"{row} stands where seq {seq} should")
            if row.cause.kind == "create" and not row.reason:
                if state is not None or row.to_version != 0:
                    self._report("journal", f"{row} creates what was there")
                state = self._initial
                self._states[0] = state
                continue
            if state is None:
                self._report("journal", f"{row} comes before the creation")
                return
            if row.from_version != version:
                self._report("journal", f"{row} was judged at version {row.from_version}, not {version}")
            after: Model | str
            if row.cause.kind == "create":
                after = "INSTANCE_EXISTS"
            elif row.expected_version not in (None, version):
                after = "VERSION_CONFLICT"
            else:
                after = state.after(row.cause)
            if isinstance(after, str) or row.reason:
                if after != row.reason:
                    self._report("journal", f"{row} should have come to {after!r} from {state}")
                continue
            state, version = after, version + 1
            if row.to_version != version:
                self._report("journal", f"{row} leads to version {row.to_version}, not {version}")
            self._states[version] = state

    def _rows_by_request(self) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for row in self._rows:
            if not row.request_id:
                if row.cause.kind in ("create", "event"):
                    self._report("stranger", f"{row} has no request id, and every request has one")
                continue
            if row.request_id in found:
                self._report("twice", f"{row} was in the journal before: {found[row.request_id]}")
                continue
            found[row.request_id] = row
            calls = self._calls.get(row.request_id)
            if not calls:
                self._report("stranger", f"nobody asked for {row}")
            elif (calls[0].request.cause, calls[0].request.expected_version) != (
                row.cause,
                row.expected_version,
            ):
                self._report("stranger", f"{row} is not what was asked: {calls[0].request}")
        return found

    def _check_answers(self, calls: Sequence[Call], row: Row | None) -> None:
        answered = [(call, call.answer) for call in calls if call.answer is not None]
        if not answered:
            return
        if row is None:
            self._report("lost", f"{answered[0][0]} was answered and is not in the journal")
            return
        for call, answer in answered:
            shown = answer.state if not answer.reason else None
            expected = self._states.get(row.to_version) if not row.reason else None
            version = row.to_version if answer.version is None else answer.version
            if (answer.reason, version, shown) != (row.reason, row.to_version, expected):
                self._report("answer", f"{call} does not say what happened: {row} with {expected}")
            if answer.replayed and not any(other.began < call.ended for other in calls if other is not call):
                self._report("replay", f"{REPLAYED_NOTHING}: {call}")
        first_time = [call for call, answer in answered if not answer.replayed]
        if len(first_time) > 1:
            self._report("replay", f"several answers claim to be the first: {first_time}")

    def _check_order(self) -> None:
        """Give every row the earliest instant it can have, and see that none is too late.

        Rows at one version, refusals and reads, may have come in any order among themselves.
        """
        latest = current = -math.inf
        for row in self._rows:
            span = self._span(row)
            instant = max(latest if not row.reason else current, span.began)
            if instant > span.ended:
                late = instant - span.ended
                self._report(
                    "order",
                    f"{row} was answered {late:.6f} s before it can have happened, "
                    "after what the rows before it say",
                )
            latest = max(latest, instant)
            if row.reason:
                continue
            current = instant
            for read in self._reads.get(row.to_version, ()):
                seen = max(current, read.began)
                if seen > read.ended:
                    self._report("order", f"{read} showed version {row.to_version} before it can have been")
                latest = max(latest, seen)

    def _span(self, row: Row) -> _Span:
        calls = self._calls.get(row.request_id) if row.request_id else None
        if not calls:
            return _ANY_TIME
        answered = [call.ended for call in calls if call.answer is not None]
        return _Span(min(call.began for call in calls), min(answered, default=math.inf))
