"""``did you mean …``: the known name nearest to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_CANDIDATES = 2_000
_MAX_CHARACTERS = 64
_MIN_BEGINNING = 4


def edit_distance(first: str, second: str, limit: int) -> int:
    """Edits (insert, delete, replace, swap of neighbours) between two words; ``limit + 1`` if more."""
    if abs(len(first) - len(second)) > limit:
        return limit + 1
    before_last: list[int] = []
    last = list(range(len(second) + 1))
    for row, mine in enumerate(first, 1):
        current = [row]
        for column, theirs in enumerate(second, 1):
            cost = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + (mine != theirs))
            if row > 1 and column > 1 and mine == second[column - 2] and first[row - 2] == theirs:
                cost = min(cost, before_last[column - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
        before_last, last = last, current
    return last[-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to ``word`` in any case, the first of equals; ``None`` if none is near.

    Near is one edit for every three characters, at least one; else a word that begins with ``word`` (four
    characters or more). Of more than 2,000 known words the first are looked at.
    """
    if not word or len(word) > _MAX_CHARACTERS:
        return None
    best: str | None = None
    longer: str | None = None
    best_distance = max(1, len(word) // 3) + 1
    lowered = word.lower()
    for candidate, _ in zip(known, range(_MAX_CANDIDATES), strict=False):
        if candidate == word or len(candidate) > _MAX_CHARACTERS:
            continue
        distance = edit_distance(lowered, candidate.lower(), best_distance - 1)
        if distance < best_distance:
            best, best_distance = candidate, distance
            if distance == 0:
                break
        if longer is None and len(word) >= _MIN_BEGINNING and candidate.lower().startswith(lowered):
            longer = candidate
    return best if best is not None else longer


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or ``""``."""
    best = nearest(word, known)
    return f"did you mean `{best}`?" if best is not None else ""
