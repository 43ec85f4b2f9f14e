"""The checker of watches lets correct streams pass, and sees each way in which one can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durachart.runtime.opaque import encode
from tests.property.runtime.watch_guarantees import Connection, Frame, Happened, Key, Truth, violations

A, B, C = (("", "m", name) for name in "abc")


def token(revision: int, of: Key | tuple[()] = ()) -> str:
    return encode(["store", revision, *of])


def step(revision: int, key: Key, version: int, uid: str = "u1", cause: str = "event") -> Happened:
    if cause == "delete":
        return Happened(revision, key, uid, version - 1, version, "", cause)
    return Happened(revision, key, uid, max(version - 1, 0), version, f'"s{version}"', cause)


LOG = [
    step(1, A, 0, cause="create"),
    step(2, B, 0, cause="create"),
    step(4, A, 1),
    step(5, B, 1),
    step(7, A, 2),
    step(8, C, 0, cause="create"),
    step(9, A, 3, cause="delete"),
    step(11, A, 0, uid="u2", cause="create"),
    step(12, B, 2),
    step(13, B, 3),
]
BY_REVISION = {change.revision: change for change in LOG}


def told(revision: int) -> Frame:
    change = BY_REVISION[revision]
    return Frame("deleted" if change.deletes else "transition", token(revision), change)


def snapshot(at: int, key: Key, version: int, uid: str = "u1") -> Frame:
    return Frame("snapshot", token(at, key), None, key, uid, version, f'"s{version}"')


def gap(at: int, key: Key, version: int, before: int, uid: str = "u1") -> Frame:
    return Frame("gap", token(at), None, key, uid, version, f'"s{version}"', before)


def progress(at: int) -> Frame:
    return Frame("progress", token(at))


def synced(at: int) -> Frame:
    return Frame("synced", token(at))


# Snapshots of A as of 4, of B as of 5: the second page is younger.
FRESH = [snapshot(4, A, 1), snapshot(4, B, 1), synced(4), told(7), told(8), progress(8), told(9), told(11)]
RESUMED = [told(8), told(9), synced(9), told(11), told(12), told(13), progress(13)]
GAPS = [
    snapshot(4, A, 1),
    snapshot(4, B, 1),
    synced(5),
    Frame("deleted", token(5), BY_REVISION[9]),
    gap(5, C, 0, -1),
    gap(5, A, 0, -1, "u2"),
    gap(12, B, 2, 1),
    told(13),
    progress(13),
]


def check(*connections: Connection, **given: Any) -> set[str]:
    return {found.guarantee for found in violations(Truth(LOG, **given), connections)}


def test_correct_streams_pass() -> None:
    assert check(Connection("", FRESH), Connection(token(7), RESUMED)) == set()
    assert check(Connection("", GAPS, conflate=True)) == set()
    # Cut after the first snapshot: what it showed is told of again, the rest is shown.
    rest = [snapshot(4, B, 1), synced(4), told(7), told(8), told(9)]
    assert check(Connection("", FRESH[:1]), Connection(token(4, A), rest)) == set()
    # An instance that came and went before its page was read is never mentioned.
    assert check(Connection("", [snapshot(2, B, 1), snapshot(2, C, 0), synced(9), told(11)])) == set()


@pytest.mark.parametrize(
    ("broken", "frames", "start"),
    [
        ("ordered", [*RESUMED[:3], told(12), told(11), told(13)], 7),
        ("ordered", [*RESUMED[:4], progress(9)], 7),
        ("unique", [*RESUMED[:3], told(11), told(11)], 7),
        ("unique", [*FRESH[:3], told(5)], None),
        ("unique", [snapshot(4, A, 1), snapshot(4, A, 1)], None),
        ("unique", [*GAPS[:3], gap(5, B, 1, 1)], None),
        ("reliable", [told(8), told(9), synced(9), told(11), told(13)], 7),
        ("reliable", [*GAPS[:3], gap(12, B, 2, 0)], None),
        ("reliable", [snapshot(4, A, 1), synced(4), told(12)], None),
        ("reliable", [snapshot(4, A, 1), synced(4)], None),
        ("bookmarkable", [told(8), told(9), synced(9), progress(11)], 7),
        ("bookmarkable", [told(8), told(9), synced(9), Frame("transition", token(12), LOG[7])], 7),
        ("bookmarkable", [told(8), Frame("tokens", token(9))], 7),
        ("resumable", RESUMED, 8),
        ("resumable", [snapshot(4, A, 1)], 4),
        ("atomic", [told(8)._replace(change=step(8, C, 1))], 7),
        ("atomic", [snapshot(4, A, 1)._replace(value='"s0"')], None),
        ("atomic", [snapshot(4, A, 9)], None),
        ("atomic", [snapshot(4, A, 0), snapshot(4, B, 1), synced(4)], None),
        ("atomic", [told(8)._replace(matches=False)], 7),
    ],
)
def test_each_way_to_be_wrong_is_seen(broken: str, frames: list[Frame], start: int | None) -> None:
    assert broken in check(Connection("" if start is None else token(start), frames))


def odd(change: Happened) -> bool:
    return change.version % 2 == 1


# As of 2 nothing matches; A enters at 4, leaves at 7; B enters at 5, leaves at 12, enters at 13.
FILTERED = [
    synced(2),
    told(4),
    told(5),
    told(7)._replace(matches=False),
    progress(11),
    told(12)._replace(matches=False),
    told(13),
]


def test_a_filter_is_judged_before_and_after() -> None:
    assert check(Connection("", FILTERED), matches=odd) == set()
    resumed = Connection(token(5), FILTERED[3:])
    assert check(resumed, matches=odd) == set()


@pytest.mark.parametrize(
    ("broken", "change"),
    [
        ("reliable", lambda frames: [*frames[:3], *frames[4:-2], frames[-1]]),
        ("bookmarkable", lambda frames: [*frames[:3], *frames[4:]]),
        ("atomic", lambda frames: [*frames[:4], told(8), *frames[4:]]),
        ("atomic", lambda frames: [*frames[:3], told(7), *frames[4:]]),
        ("reliable", lambda frames: frames[:1] + frames[2:]),
        ("atomic", lambda frames: [snapshot(2, B, 0), *frames]),
    ],
)
def test_what_a_filter_lets_through_is_checked(
    broken: str, change: Callable[[list[Frame]], list[Frame]]
) -> None:
    assert broken in check(Connection("", change(FILTERED)), matches=odd)
