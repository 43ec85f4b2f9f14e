"""The negotiation machine (B9, with B4 and B6): counter offers, re-entry, history, parallel performance."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from durachart.definitions.definition import check_definition
from tests.machines.play import Play, definition

Start = Callable[[], Play]

TERMS = {"price_cents": 90_000, "days": 10}
OTHER = {"price_cents": 95_000, "days": 7, "note": "with training"}
PARTIES = {"parties": ["ada", "grace"]}


def proposing(**given: Any) -> Play:
    return Play("negotiation", {**PARTIES, **given})


def offered(**given: Any) -> Play:
    return proposing(**given).accept("PROPOSE", by="ada", terms=TERMS)


def rejected() -> Play:
    return offered().accept("REJECT", by="grace", reason="too dear")


def initiating() -> Play:
    return offered().accept("ACCEPT", by="grace")


def executing() -> Play:
    return initiating().accept("START")


def suspended() -> Play:
    return offered().accept("SUSPEND")


def stage(play: Play) -> Any:
    value = play.value
    return value["active"] if isinstance(value, dict) else value


def test_negotiation_warns_of_its_actions_that_nobody_runs() -> None:
    assert [
        (finding.code, finding.message.split("'")[1]) for finding in definition("negotiation").warnings
    ] == [
        ("effect_without_handler", "notify"),
        ("effect_without_handler", "drawUpAgreement"),
    ]


def test_target_with_a_machine_id_that_does_not_exist_is_refused() -> None:
    document = copy.deepcopy(dict(definition("negotiation").document))
    perform = document["machine"]["states"]["active"]["states"]["Perform"]
    perform["onDone"]["target"] = "#Negotiate.completed"
    [finding] = [found for found in check_definition(document) if found.severity == "error"]
    assert (finding.code, finding.path) == (
        "target_not_found",
        "/machine/states/active/states/Perform/onDone/target",
    )
    assert finding.hint == "did you mean `negotiation`?"


def test_negotiation_starts_by_asking_for_terms() -> None:
    negotiation = proposing()
    assert stage(negotiation) == {"Negotiate": "Propose"}
    assert negotiation.effects == [
        ("notify", {"audience": "everybody", "subject": "Terms are wanted", "parties": ["ada", "grace"]})
    ]
    assert Play("negotiation").context["parties"] == ["buyer", "seller"]


def test_proposal_becomes_the_offer_on_the_table() -> None:
    negotiation = offered()
    assert stage(negotiation) == {"Negotiate": "Offer"}
    assert negotiation.context["terms"] == TERMS
    assert negotiation.context["offered_by"] == "ada"
    assert negotiation.effects[0][1]["audience"] == "other party"


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("PROPOSE", {"by": "eve", "terms": TERMS}),
        ("WITHDRAW", {"by": "eve"}),
    ],
)
def test_strangers_are_refused(event_type: str, data: dict[str, Any]) -> None:
    assert proposing().send(event_type, **data) == "GUARD_REJECTED"
    assert rejected().send(event_type, **data) == "GUARD_REJECTED"


@pytest.mark.parametrize("event_type", ["ACCEPT", "REJECT", "COUNTER"])
def test_only_the_other_party_answers_an_offer(event_type: str) -> None:
    data = {"terms": OTHER} if event_type == "COUNTER" else {}
    assert offered().send(event_type, by="ada", **data) == "GUARD_REJECTED"
    assert offered().send(event_type, by="eve", **data) == "GUARD_REJECTED"
    assert offered().send(event_type, by="grace", **data) == "accepted"


def test_counter_offer_replaces_the_terms_and_enters_the_offer_again() -> None:
    negotiation = offered().wait(hours=23)
    negotiation.accept("COUNTER", by="grace", terms=OTHER)
    assert stage(negotiation) == {"Negotiate": "Offer"}
    assert (negotiation.context["terms"], negotiation.context["offered_by"]) == (OTHER, "grace")
    assert negotiation.context["counters"] == 1
    assert [action for action, _ in negotiation.effects] == ["notify"]
    assert stage(negotiation.wait(hours=23)) == {"Negotiate": "Offer"}, "the deadline began again"
    assert stage(negotiation.wait(hours=1)) == {"Negotiate": "Reject"}


def test_counter_offers_are_limited() -> None:
    negotiation = offered(max_counters=1).accept("COUNTER", by="grace", terms=OTHER)
    assert negotiation.send("COUNTER", by="ada", terms=TERMS) == "GUARD_REJECTED"


def test_silence_is_a_rejection_after_the_time_given() -> None:
    negotiation = offered(answer_ms=60_000).wait(seconds=59)
    assert stage(negotiation) == {"Negotiate": "Offer"}
    negotiation.wait(seconds=1)
    assert stage(negotiation) == {"Negotiate": "Reject"}
    assert negotiation.context["reason"] == "no answer in time"


def test_rejection_keeps_its_reason_until_the_next_proposal() -> None:
    negotiation = rejected()
    assert stage(negotiation) == {"Negotiate": "Reject"}
    assert negotiation.context["reason"] == "too dear"
    negotiation.accept("PROPOSE", by="grace", terms=OTHER)
    assert stage(negotiation) == {"Negotiate": "Offer"}
    assert negotiation.context["reason"] is None


def test_acceptance_begins_the_performance() -> None:
    negotiation = initiating()
    assert stage(negotiation) == {"Perform": "Initiate"}
    assert negotiation.effects == [("drawUpAgreement", {"terms": TERMS, "parties": ["ada", "grace"]})]
    assert negotiation.timers == []


def test_delivery_and_payment_end_in_either_order() -> None:
    for first, second in (("DELIVERED", "PAID"), ("PAID", "DELIVERED")):
        negotiation = executing().accept(first)
        assert stage(negotiation)["Perform"]["Execute"] in (
            {"delivery": "accepted", "payment": "due"},
            {"delivery": "underway", "payment": "settled"},
        )
        assert negotiation.send(first) == "EVENT_NOT_ALLOWED"
        negotiation.accept(second)
        assert (negotiation.value, negotiation.snapshot.status) == ("completed", "done")


def test_suspension_stops_the_deadline_and_resumes_in_the_same_place() -> None:
    negotiation = suspended()
    assert negotiation.value == "suspended"
    assert negotiation.allowed == ["RESUME", "WITHDRAW"]
    negotiation.wait(days=30).accept("RESUME")
    assert stage(negotiation) == {"Negotiate": "Offer"}
    assert stage(negotiation.wait(hours=23)) == {"Negotiate": "Offer"}
    assert stage(negotiation.wait(hours=1)) == {"Negotiate": "Reject"}


def test_deep_history_restores_both_regions() -> None:
    negotiation = executing().accept("PAID").accept("SUSPEND").accept("RESUME")
    assert stage(negotiation) == {"Perform": {"Execute": {"delivery": "underway", "payment": "settled"}}}
    assert negotiation.accept("DELIVERED").value == "completed"


def test_shallow_history_reopens_the_terms_where_they_stood() -> None:
    negotiation = executing().accept("RENEGOTIATE", by="ada", reason="prices rose")
    assert stage(negotiation) == {"Negotiate": "Offer"}
    assert negotiation.context["reason"] == "prices rose"
    assert negotiation.accept("ACCEPT", by="grace").value == {"active": {"Perform": "Initiate"}}
    assert initiating().send("RENEGOTIATE", by="eve") == "GUARD_REJECTED"


@pytest.mark.parametrize("start", [proposing, offered, rejected, initiating, executing, suspended])
def test_either_party_may_withdraw_at_any_time(start: Start) -> None:
    negotiation = start().accept("WITHDRAW", by="grace", reason="lost interest")
    assert (negotiation.value, negotiation.snapshot.status) == ("withdrawn", "done")
    assert negotiation.context["reason"] == "lost interest"
    assert start().send("WITHDRAW", by="eve") == "GUARD_REJECTED"
    assert negotiation.send("RESUME") == "INSTANCE_FINISHED"


@pytest.mark.parametrize(
    ("start", "allowed"),
    [
        (proposing, ["PROPOSE", "SUSPEND", "WITHDRAW"]),
        (offered, ["ACCEPT", "COUNTER", "REJECT", "SUSPEND", "WITHDRAW"]),
        (rejected, ["PROPOSE", "SUSPEND", "WITHDRAW"]),
        (initiating, ["RENEGOTIATE", "START", "SUSPEND", "WITHDRAW"]),
        (executing, ["DELIVERED", "PAID", "RENEGOTIATE", "SUSPEND", "WITHDRAW"]),
    ],
)
def test_everything_else_is_refused(start: Start, allowed: list[str]) -> None:
    negotiation = start()
    assert negotiation.allowed == allowed
    payloads: dict[str, dict[str, Any]] = {
        name: {"by": "grace", "terms": TERMS} for name in ("PROPOSE", "COUNTER")
    } | {name: {"by": "grace"} for name in ("ACCEPT", "REJECT", "WITHDRAW", "RENEGOTIATE")}
    for event_type in set(negotiation.definition.event_types) - set(allowed):
        assert negotiation.send(event_type, **payloads.get(event_type, {})) == "EVENT_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("PROPOSE", {"by": "ada"}),
        ("PROPOSE", {"by": "ada", "terms": {"price_cents": 1}}),
        ("COUNTER", {"by": "ada", "terms": {"price_cents": -1, "days": 1}}),
        ("ACCEPT", {}),
        ("REJECT", {"by": "ada", "reason": ""}),
        ("SUSPEND", {"by": "ada"}),
    ],
)
def test_wrong_payload_is_refused(event_type: str, data: dict[str, Any]) -> None:
    assert offered().send(event_type, **data) == "PAYLOAD_INVALID"
