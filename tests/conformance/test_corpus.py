"""Every row of the corpus agrees with XState 5.33.3."""

from collections.abc import Callable
from typing import Any

from durachart.definitions.build import build_machine, compile_machine
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.simulation import Simulator
from durachart.engine import snapshot_from_json, snapshot_to_json
from tests.conformance.differential import divergence, run_case

Row = dict[str, Any]


def test_every_row_of_the_corpus_agrees(rows: list[Row]) -> None:
    divergences = [found for row in rows if (found := divergence(row, run_case(row), row["expect"]))]
    assert divergences == []
    assert len(rows) == 3033


def test_every_row_found_since_agrees(found: list[Row]) -> None:
    assert [answer for row in found if (answer := divergence(row, run_case(row), row["expect"]))] == []


def test_every_row_agrees_when_the_snapshot_is_stored_between_all_events(rows: list[Row]) -> None:
    divergences = []
    for row in rows[::10]:
        machine = build_machine(row["machine"], row["implementations"])
        simulator = Simulator(machine, row.get("input"))
        described = [simulator.describe()]
        for event in row["events"]:
            if simulator.snapshot is not None:
                simulator.snapshot = snapshot_from_json(
                    machine, snapshot_to_json(machine, simulator.snapshot)
                )
            simulator.play(event)
            described.append(simulator.describe())
        if found := divergence(row, described[: len(row["expect"])], row["expect"]):
            divergences.append(found)
    assert divergences == []


def test_where_xstate_depends_on_activation_order_document_order_decides(
    order_quirks: list[Row], record_property: Callable[[str, object], None]
) -> None:
    """Rows whose document-order outcome is known must show it; the others are reported, not judged."""
    unlike_memory = []
    for row in order_quirks:
        described = run_case(row)
        if "expect_document_order" in row:
            assert divergence(row, described, row["expect_document_order"]) == ""
        elif divergence(row, described, row["expect"]):
            unlike_memory.append(row["id"])
    record_property("rows unlike in-memory XState", ", ".join(unlike_memory) or "none")


def test_what_xstate_refuses_to_create_is_refused(rejects: list[Row]) -> None:
    created = [row for row in rejects if row["stage"] == "create"]
    accepted = [row["id"] for row in created if compile_machine(row["machine"])[0] is not None]
    assert accepted == []
    assert len(created) == 321


def test_what_xstate_cannot_start_is_refused_or_ends_in_error(rejects: list[Row]) -> None:
    for row in rejects:
        if row["stage"] == "start":
            try:
                machine = build_machine(row["machine"])
            except DefinitionInvalid:
                continue
            assert Simulator(machine).status == "error", row["id"]


def test_a_refusal_names_the_place_in_the_document(rejects: list[Row]) -> None:
    for row in rejects:
        _, findings = compile_machine(row["machine"])
        for finding in findings:
            place: Any = {"machine": row["machine"]}
            for key in finding.path.split("/")[1:]:
                name = key.replace("~1", "/").replace("~0", "~")
                place = place[int(name)] if isinstance(place, list) else place[name]
            assert finding.message
            assert finding.severity == "error" or finding.hint
