"""Guards: pure predicates over context and event, and their composition.

A guard is bound to a configuration before it is asked, because ``stateIn`` is then a constant; what remains
is a plain callable. A guard answers ``True`` or ``False``; any other answer is a failure, since languages
disagree on what else is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from durachart.engine.model import Evaluate

if TYPE_CHECKING:
    from durachart.engine.configuration import Configuration

GuardKind = Literal["expression", "and", "or", "not", "state_in", "missing"]


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """One use of a guard.

    Attributes:
        name: As the definition calls it.
        kind: ``missing``: a name without implementation, which fails when asked.
        params: Static parameters of this use; members of a composite get none.
        evaluate: Of an ``expression``.
        members: Of ``and``, ``or`` (any number) and ``not`` (one).
        is_active: Of ``state_in``: whether the configuration is meant.
        reads_event: Whether the answer may depend on the event's payload; its type alone does not count.
        reads_type: Of an ``expression``: whether the answer may depend on the event's type.
    """

    name: str
    kind: GuardKind
    params: Any = None
    evaluate: Evaluate | None = None
    members: tuple[Guard, ...] = ()
    is_active: Callable[[Configuration], bool] | None = None
    reads_event: bool = False
    reads_type: bool = True


def bind(guard: Guard, configuration: Configuration) -> Evaluate:
    """The guard as a callable, for steps that start from ``configuration``."""
    if guard.kind == "expression":
        assert guard.evaluate is not None
        return guard.evaluate
    if guard.kind == "state_in":
        assert guard.is_active is not None
        verdict = guard.is_active(configuration)
        return lambda *_: verdict
    if guard.kind == "missing":
        return _fails(guard.name)
    members = [(member.name, bind(member, configuration)) for member in guard.members]
    if guard.kind == "not":
        return _negation(*members[0])
    return _composition(members, decisive=guard.kind == "or")


def _fails(name: str) -> Evaluate:
    def missing(*_: object) -> NoReturn:
        raise LookupError(f"guard {name!r} has no implementation")

    return missing


def _negation(name: str, test: Evaluate) -> Evaluate:
    def negation(
        context: Mapping[str, Any], event: Mapping[str, Any], _: Any, now_ms: int, budget: Any
    ) -> bool:
        return not require_bool(test(context, event, None, now_ms, budget), name)

    return negation


def _composition(members: Sequence[tuple[str, Evaluate]], *, decisive: bool) -> Evaluate:
    """``or`` (decisive is true) or ``and`` (it is false); members after the decisive one are not asked."""

    def composition(
        context: Mapping[str, Any], event: Mapping[str, Any], _: Any, now_ms: int, budget: Any
    ) -> bool:
        for name, test in members:
            if require_bool(test(context, event, None, now_ms, budget), name) is decisive:
                return decisive
        return not decisive

    return composition


def require_bool(verdict: object, name: str) -> bool:
    """The verdict, if it is one.

    Raises:
        TypeError: It is neither ``True`` nor ``False``.
    """
    if verdict is True or verdict is False:
        return verdict
    raise TypeError(f"guard {name!r} gave {type(verdict).__name__}, not a boolean")
