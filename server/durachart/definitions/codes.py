"""Every code a finding can have, with what it means; ``docs/reference/findings.md`` shows this table.

A code is stable: programs may rely on it, sentences and hints may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Code(NamedTuple):
    """What a code stands for.

    Attributes:
        severity: ``error``, ``warning``, or both: ``error or warning``.
        meaning: One line.
    """

    severity: str
    meaning: str


def _errors(**meanings: str) -> dict[str, Code]:
    return {name: Code("error", meaning) for name, meaning in meanings.items()}


def _warnings(**meanings: str) -> dict[str, Code]:
    return {name: Code("warning", meaning) for name, meaning in meanings.items()}


CHAPTERS: Final[Mapping[str, Mapping[str, Code]]] = MappingProxyType(
    {
        "The text": _errors(
            check_ended="The process that checks large definitions ended over this one.",
            check_too_long="Checking the definition took too long.",
            document_count="A YAML text holds no document, or several.",
            document_not_object="The document is not an object.",
            document_too_large="The text is longer than allowed.",
            json_malformed="The text is no JSON.",
            key_too_long="A key of an object is longer than allowed.",
            key_repeated="A key stands twice in one object; JSON would keep the last in silence.",
            nested_too_deeply="Objects and arrays, or states, are nested deeper than allowed.",
            number_too_large="A number has no finite value.",
            text_broken="The text is no UTF-8, or a string holds half a character.",
            too_many_values="The text has more values than allowed.",
            yaml_alias="A YAML alias; the content has to be written out.",
            yaml_key="A YAML key that is no string.",
            yaml_malformed="The text is no YAML.",
            yaml_tag="A YAML tag; only plain data is read.",
        ),
        "Sections": _errors(
            implementation_malformed="An implementation has neither of the forms it may have.",
            machine_not_object="The machine is not an object.",
            section_type="A section is not an object.",
            unknown_key="A key that means nothing where it stands.",
        ),
        "Machine and states": {
            **_errors(
                children_missing="A `parallel` or `compound` state without children.",
                children_not_allowed="An `atomic` or `final` state with children.",
                context_not_object="The context is not an object.",
                default_entry_circular="Entering a state leads back to it for ever.",
                default_entry_too_long="Too many states follow from one another by default.",
                history_key="A key that a history node cannot have, or that only a history node can.",
                history_kind="`history` is neither `shallow` nor `deep`.",
                id_duplicate="Two states have the same id.",
                id_not_string="An id is not a string.",
                id_too_long="An id, or the keys that lead to a state, are longer than allowed.",
                initial_missing="A compound state does not say where it starts.",
                initial_not_allowed="A state that cannot have `initial` has one.",
                initial_not_found="`initial` names no child.",
                machine_id_invalid="The machine's id is empty, too long, or holds control characters.",
                machine_id_missing="The machine has no id to be published under.",
                state_key_invalid="A state's key is empty or holds a dot, so no target can name it.",
                state_not_object="A state is not an object.",
                states_not_object="`states` is not an object.",
                tags_malformed="Tags are neither a string nor a list of strings.",
                text_expected="A description or version is not a string.",
                too_many_states="The machine has more states than allowed.",
                type_unknown="`type` is no type of state.",
                v4_key="A key of XState v4.",
            ),
            **_warnings(
                done_never="`onDone` of a state that can never be done.",
                final_with_transitions="A final state has transitions, which suggest that it can be left.",
                history_of_root="A history node directly below the root, which is never left.",
                history_unused="A history node to which nothing leads.",
                id_with_dot="An id holds a dot, at which targets are split.",
                state_key_integer="Keys that are whole numbers, which JavaScript puts first.",
                state_unreachable="A state to which nothing leads.",
            ),
        },
        "Transitions, guards and actions": {
            **_errors(
                action_malformed="An action, or the parameters of a built-in one, has the wrong form.",
                action_unsupported="An action that is code in XState, or an unknown `xstate.` action.",
                actor_unsupported="An action that speaks to an actor.",
                after_not_object="`after` is not an object.",
                delay_invalid="A delay below 0, or no delay at all.",
                delay_missing="A delay that is neither a number nor implemented.",
                event_invalid="An event that cannot exist.",
                event_type_empty="An empty event type.",
                event_type_reserved="An event type that belongs to the interpreter.",
                guard_circular="A guard made of itself.",
                guard_malformed="A guard has the wrong form.",
                guard_missing="A guard without an implementation.",
                guard_nested_too_deeply="A guard made of guards made of guards, too often.",
                guard_too_large="A guard made of too many guards, written out.",
                invoke_malformed="An `invoke` has the wrong form.",
                invoke_unsupported="An actor is invoked; use an effect.",
                on_not_object="`on` is not an object.",
                params_not_object="Parameters are not an object.",
                reenter_not_boolean="`reenter` is neither true nor false.",
                target_not_found="A target leads nowhere.",
                target_not_from_root="The root has no siblings to target.",
                target_not_string="A target is neither a string nor a list of strings.",
                targets_conflict="Targets that cannot be active together.",
                transition_malformed="A transition has the wrong form.",
            ),
            **_warnings(
                after_target_ignored="XState ignores this transition of `after`.",
                candidate_unreachable="A candidate behind one that is always taken.",
                effect_without_handler="An action that is journaled and shown, and that nobody runs.",
                event_never_sent="A transition for an event of the interpreter that it never sends.",
                implementation_unused="An implementation that the machine never uses.",
                output_of_unknown_state="An output for a state that does not exist.",
                v4_event="An event of XState v4, which nothing sends.",
            ),
            "wildcard_misplaced": Code("error or warning", "A `*` where it matches nothing."),
        },
        "Expressions": _errors(
            context_key_unknown="A context key that the schema of the context does not declare.",
            expression_invalid="An expression does not compile; with line and column.",
            expression_too_large="An expression is longer, has more parts or is deeper than allowed.",
            expression_type="An expression disagrees with a schema; with line and column.",
            too_many_expressions="There are more expressions than allowed.",
        ),
        "Schemas": _errors(
            schema_event_type="An event's schema requires `type`, which is no key of its own.",
            schema_event_wildcard="A schema for a wildcard; it belongs to one event type.",
            schema_invalid="No valid JSON Schema.",
            schema_ref_endless="References that lead back to themselves on the same value.",
            schema_ref_not_found="A reference that leads nowhere.",
            schema_ref_outside="A reference out of the schema; nothing is fetched.",
            schema_too_large="A schema that could cause too much work.",
        ),
        "Effects": {
            **_errors(
                effect_event_unhandled="The end of an effect sends an event that no state handles.",
                effect_invalid="An entry of `effects`, or one of its values, has the wrong form.",
                effect_of_assign="An entry for an action that runs inside the step.",
            ),
            **_warnings(
                effect_unused="An entry for an action that no state uses.",
                handler_unknown="A handler that this server does not run itself.",
            ),
        },
        "Trial start": {
            **_errors(
                context_misfit="The context at the start does not fit its schema.",
                output_misfit="The output of a machine that ends at once does not fit its schema.",
                start_endless="Starting the machine never ends.",
                start_failed="Starting the machine fails.",
            ),
            **_warnings(start_not_tried="No input is known with which to try the start."),
        },
        "Lint": _warnings(
            derived_data="A context key that is only ever computed from other keys.",
            high_frequency="A timer or an event that may be written to disk many times a second.",
            machine_trivial="A machine that decides nothing.",
        ),
    }
)
"""Codes by what they are about, each chapter in alphabetical order."""

CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {name: code for chapter in CHAPTERS.values() for name, code in sorted(chapter.items())}
)
"""Every code."""
