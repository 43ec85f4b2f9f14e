"""The order machine (A17): every state, transition, guard and refusal (A5, A11, A24)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.machines.play import Play, definition

Start = Callable[[], Play]
TEA = {"sku": "tea", "quantity": 2, "price_cents": 450}


def draft() -> Play:
    return Play("order")


def pending() -> Play:
    return draft().accept("ADD_ITEM", **TEA).accept("SUBMIT")


def failed() -> Play:
    return pending().accept("PAYMENT_FAILED", reason="card declined")


def test_order_is_published_without_a_warning() -> None:
    assert definition("order").warnings == ()


def test_order_starts_as_an_empty_draft() -> None:
    order = Play("order", {"customer": "ada"})
    assert order.value == "draft"
    assert order.context == {"customer": "ada", "items": [], "payment_id": None, "reason": None}
    assert draft().context["customer"] is None


def test_items_are_added_in_order_with_their_defaults() -> None:
    """The context. Row: A24."""
    order = draft().accept("ADD_ITEM", **TEA).accept("ADD_ITEM", sku="cup")
    assert order.value == "draft"
    assert order.version == 2
    assert order.context["items"] == [TEA, {"sku": "cup", "quantity": 1, "price_cents": 0}]


def test_empty_order_is_not_submitted() -> None:
    """The guard. Row: A24."""
    order = draft()
    assert order.send("SUBMIT") == "GUARD_REJECTED"
    assert (order.value, order.version) == ("draft", 0)


def test_order_with_items_waits_for_its_payment() -> None:
    assert pending().value == "pendingPayment"


def test_successful_payment_confirms_and_finishes() -> None:
    order = pending().accept("PAYMENT_SUCCESS", payment_id="p-77")
    assert order.value == "confirmed"
    assert order.context["payment_id"] == "p-77"
    assert order.snapshot.status == "done"
    assert order.send("CANCEL") == "INSTANCE_FINISHED"
    assert pending().accept("PAYMENT_SUCCESS").context["payment_id"] is None


def test_failed_payment_records_its_reason() -> None:
    order = failed()
    assert order.value == "paymentFailed"
    assert order.context["reason"] == "card declined"


def test_failed_payment_may_be_tried_again() -> None:
    order = failed().accept("SUBMIT")
    assert order.value == "pendingPayment"
    assert order.context["reason"] is None
    assert order.accept("PAYMENT_SUCCESS").value == "confirmed"


@pytest.mark.parametrize("start", [draft, pending, failed])
def test_order_can_be_cancelled_until_it_is_confirmed(start: Start) -> None:
    order = start().accept("CANCEL", reason="changed my mind")
    assert order.value == "cancelled"
    assert order.context["reason"] == "changed my mind"
    assert order.snapshot.status == "done"
    assert start().accept("CANCEL").context["reason"] is None


@pytest.mark.parametrize(
    ("start", "allowed", "refused"),
    [
        (draft, ["ADD_ITEM", "CANCEL"], ["PAYMENT_SUCCESS", "PAYMENT_FAILED"]),
        (pending, ["CANCEL", "PAYMENT_FAILED", "PAYMENT_SUCCESS"], ["ADD_ITEM", "SUBMIT"]),
        (failed, ["CANCEL", "SUBMIT"], ["ADD_ITEM", "PAYMENT_SUCCESS", "PAYMENT_FAILED"]),
    ],
)
def test_allowed_events_are_sorted_and_all_others_are_refused(
    start: Start, allowed: list[str], refused: list[str]
) -> None:
    """Valid and invalid events, and a stable sort. Row: A24."""
    order = start()
    assert order.allowed == allowed
    payloads = {"ADD_ITEM": TEA, "PAYMENT_FAILED": {"reason": "x"}}
    for event_type in [*refused, "SHIP"]:
        assert order.send(event_type, **payloads.get(event_type, {})) == "EVENT_NOT_ALLOWED"
    assert order.version == start().version


def test_submit_is_allowed_once_there_is_an_item() -> None:
    assert draft().accept("ADD_ITEM", **TEA).allowed == ["ADD_ITEM", "CANCEL", "SUBMIT"]


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("ADD_ITEM", {}),
        ("ADD_ITEM", {"sku": ""}),
        ("ADD_ITEM", {"sku": "tea", "quantity": 0}),
        ("ADD_ITEM", {"sku": "tea", "quantity": "2"}),
        ("ADD_ITEM", {"sku": "tea", "price_cents": -1}),
        ("ADD_ITEM", {"sku": "tea", "colour": "red"}),
        ("SUBMIT", {"force": True}),
        ("PAYMENT_FAILED", {}),
        ("PAYMENT_SUCCESS", {"payment_id": 77}),
        ("CANCEL", {"reason": ""}),
    ],
)
def test_wrong_payload_is_told_from_a_wrong_event(event_type: str, data: dict[str, object]) -> None:
    assert pending().send(event_type, **data) == "PAYLOAD_INVALID"
