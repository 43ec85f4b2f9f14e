"""What an expression may refer to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from durachart.expressions.schemas import type_of_schema
from durachart.expressions.types import Type

if TYPE_CHECKING:
    from durachart.expressions.expression import Expression

#: The variables of guards, actions and whatever else a definition holds.
VARIABLES: Final = ("context", "event", "params", "input", "now")

#: What else may be asked of an instance as it is; handed over as fields of the event, as ``input`` is.
OF_INSTANCES: Final = ("value", "tags", "labels", "status", "version")

_KNOWN: Final = VARIABLES + OF_INSTANCES


class Scope:
    """The variables an expression may use and their static types. Compared by identity.

    Attributes:
        variables: Name -> type, ``dyn`` where nothing is known.
        kept: Expressions compiled in this scope, by text and expected type; they go when it goes.
    """

    __slots__ = ("kept", "variables")

    #: The five variables of definitions, nothing known of any but ``event.type``.
    DEFAULT: ClassVar[Scope]

    def __init__(self, variables: Mapping[str, Type]) -> None:
        unknown = set(variables) - set(_KNOWN)
        if unknown:
            raise ValueError(f"no such variable: {', '.join(sorted(unknown))}; there are {', '.join(_KNOWN)}")
        self.kept: dict[tuple[str, Type | None], Expression] = {}
        # In one order, whatever the caller's: error messages list them.
        self.variables: Mapping[str, Type] = MappingProxyType(
            {name: variables[name] for name in _KNOWN if name in variables}
        )

    @staticmethod
    def from_schemas(
        *,
        context: object = None,
        event: object = None,
        params: object = None,
        input: object = None,  # noqa: A002 - the variable's own name
        variables: Collection[str] = VARIABLES,
    ) -> Scope:
        """A scope typed by JSON Schemas.

        Args:
            context: Schema of ``context``; None if unknown (then ``dyn``), likewise the next three.
            event: Schema of the event; ``type`` is always a field of it, whether declared or not.
            params: Schema of the static params of the guard or action.
            input: Schema of the creation input.
            variables: The variables that exist; a schema for one that does not is ignored.

        Raises:
            ValueError: ``variables`` names one there is not.
        """
        types = {
            "context": type_of_schema(context),
            "event": _event_type(type_of_schema(event)),
            "params": type_of_schema(params),
            "input": type_of_schema(input),
            "now": Type.TIMESTAMP,
        }
        return Scope({name: types.get(name, Type.DYN) for name in variables})


def _event_type(declared: Type) -> Type:
    if declared.kind != "object":
        return Type.object_of({"type": Type.STRING}, Type.DYN)
    return Type.object_of({"type": Type.STRING, **declared.fields}, declared.rest)


Scope.DEFAULT = Scope.from_schemas()
