"""What a watch tells once, over incarnations of an instance and over what it was shown instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart_client import convert
from durachart_client.errors import StreamGap
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.gen import types_pb2 as types
from durachart_client.models import Gap
from durachart_client.seen import SeenVersions

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
REF = types.InstanceRef(machine_id="m", instance_id="i")


class Row(NamedTuple):
    """A change of one instance: its journal position, incarnation and version; -1: it was deleted."""

    seq: int
    uid: str
    version: int
    ms: int


def state_of(row: Row) -> types.InstanceState:
    state = types.InstanceState(instance=REF, uid=row.uid, version=row.version, value_json='"s"')
    state.update_time.FromDatetime(BEGAN + timedelta(milliseconds=row.ms))
    state.create_time.FromDatetime(BEGAN)
    return state


def entry_of(row: Row) -> types.JournalEntry:
    entry = types.JournalEntry(instance=REF, uid=row.uid, seq=row.seq, to_version=max(row.version, 0))
    entry.create_time.FromDatetime(BEGAN + timedelta(milliseconds=row.ms))
    return entry


def told(seen: SeenVersions, row: Row, *, matches: bool = True) -> bool:
    """Whether a change is passed on."""
    if row.version < 0:
        body = pb.WatchDeleted(instance=REF, uid=row.uid, entry=entry_of(row))
        return seen.delete(convert.deleted(pb.WatchFrame(deleted=body)))
    change = pb.WatchTransition(state=state_of(row), entry=entry_of(row), changed=True, matches=matches)
    return seen.advance(convert.transition(pb.WatchFrame(transition=change)))


def gap(row: Row, previous: int = -1, *, matches: bool = True) -> Gap:
    body = pb.WatchGap(state=state_of(row), previous_version=previous, matches=matches)
    return convert.gap(pb.WatchFrame(gap=body))


def lives(*versions: int) -> list[Row]:
    """Incarnations with so many versions each, all but the last deleted; a millisecond each."""
    rows: list[Row] = []
    for number, count in enumerate(versions):
        if rows:
            rows.append(Row(len(rows) + 1, rows[-1].uid, -1, len(rows)))
        for version in range(count):
            rows.append(Row(len(rows) + 1, f"life-{number}", version, len(rows)))
    return rows


def test_what_led_to_a_gap_is_not_told_after_it() -> None:
    rows = lives(2, 2, 3)
    seen = SeenVersions()
    assert told(seen, rows[0])
    assert seen.skip(gap(rows[-1]))
    assert not any(told(seen, row) for row in rows)
    assert told(seen, Row(len(rows) + 1, rows[-1].uid, 3, 100))


def test_a_gap_told_anew_goes_on_after_the_one_told_before() -> None:
    rows = lives(9)
    seen = SeenVersions()
    assert told(seen, rows[0])
    first = seen.skip(gap(rows[4], 0))
    assert first is not None
    assert first.previous_version == 0
    # The stream broke before the gaps of others: it is told again from where the first began.
    again = seen.skip(gap(rows[7], 0))
    assert again is not None
    assert again.previous_version == 4


def test_a_gap_of_another_incarnation_goes_on_after_nothing() -> None:
    first, _, second = lives(1, 1)
    seen = SeenVersions()
    assert told(seen, first)
    new = seen.skip(gap(second))
    assert new is not None
    assert new.previous_version is None


def test_a_gap_after_an_instance_left_goes_on_after_nothing() -> None:
    rows = lives(5)
    seen = SeenVersions()
    assert told(seen, rows[0])
    assert told(seen, rows[1], matches=False)
    back = seen.skip(gap(rows[4]))
    assert back is not None
    assert back.previous_version is None


def test_a_gap_after_versions_that_were_not_told_is_an_error() -> None:
    rows = lives(9)
    seen = SeenVersions()
    assert told(seen, rows[0])
    with pytest.raises(StreamGap) as raised:
        seen.skip(gap(rows[8], 4))
    assert (raised.value.expected, raised.value.received) == (1, 5)


def test_a_gap_of_an_instance_that_is_not_remembered_is_told_as_it_came() -> None:
    rows = lives(9)
    first = SeenVersions().skip(gap(rows[8], 4))
    assert first is not None
    assert first.previous_version == 4


def test_a_deletion_is_told_once() -> None:
    rows = lives(1, 1)
    seen = SeenVersions()
    assert [told(seen, row) for row in rows] == [True] * 3
    assert not any(told(seen, row) for row in rows)


def test_an_instance_that_left_comes_back_as_another() -> None:
    seen = SeenVersions()
    first, _, second = lives(1, 1)
    assert told(seen, first, matches=False)
    # Its deletion is not told of to who does not watch it, and may have come in the same millisecond.
    assert told(seen, second._replace(ms=first.ms))


def test_a_version_that_is_missing_is_an_error() -> None:
    seen = SeenVersions()
    rows = lives(3)
    assert told(seen, rows[0])
    with pytest.raises(StreamGap):
        told(seen, rows[2])


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    breaks=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=5),
)
def test_whatever_is_told_again_comes_once_and_in_order(
    counts: list[int], breaks: list[tuple[int, int, bool]]
) -> None:
    """Connections that go back any number of changes, some of them after the latest state was shown."""
    rows = lives(*counts)
    seen = SeenVersions()
    passed: list[int] = []
    at = furthest = 0
    for forward, back, by_gap in [*breaks, (len(rows), 0, False)]:
        end = min(at + forward, len(rows))
        if by_gap:
            end = max(end, furthest)  # what is shown is never older than what was
        furthest = max(end, furthest)
        if by_gap and end > at and rows[end - 1].version >= 0:
            latest = rows[end - 1]
            known = rows[at - 1].version if at and rows[at - 1].uid == latest.uid else -1
            if (skipped := seen.skip(gap(latest, known))) is not None:
                if passed and (last := rows[passed[-1] - 1]).uid == latest.uid:
                    assert skipped.previous_version == last.version
                passed.append(latest.seq)
        else:
            passed += [row.seq for row in rows[at:end] if told(seen, row)]
        at = max(end - back, 0)
    assert all(before < after for before, after in pairwise(passed))
    assert not passed or passed[-1] == rows[-1].seq or at < len(rows)
