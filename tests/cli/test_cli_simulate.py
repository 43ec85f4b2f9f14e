"""``durachart simulate``: a real process, no server."""

import gzip
import json
import os
import subprocess
from itertools import islice
from pathlib import Path

from tests.cli.in_process import run_here
from tests.processes import PROGRAM, ROOT, environment, run_cli

ORDER = str(ROOT / "machines" / "order")


def simulate(*words: str, events: object = None) -> subprocess.CompletedProcess[str]:
    text = None if events is None else json.dumps(events)
    return run_cli(None, "simulate", *words, *(["--events", "-"] if events is not None else []), input=text)


def here(*words: str, events: object = None) -> subprocess.CompletedProcess[str]:
    text = "" if events is None else json.dumps(events)
    return run_here(None, "simulate", *words, *(["--events", "-"] if events is not None else []), input=text)


def records(*words: str, events: object = None) -> list[dict]:
    done = here(*words, "--json", events=events)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_trace_shows_states_actions_and_what_changed_in_the_context() -> None:
    done = simulate(ORDER, events=[{"type": "ADD_ITEM", "sku": "tea"}, "SUBMIT"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "start"
    assert '1 ADD_ITEM {"sku": "tea"}' in lines
    assert '  context  items: [] → [{"sku": "tea", "quantity": 1, "price_cents": 0}]' in lines
    assert "  actions  addItem" in lines
    assert "  left     order.draft" in lines
    assert "  entered  order.pendingPayment" in lines
    assert lines[-1] == "  state    pendingPayment"


def test_json_has_one_record_an_item() -> None:
    start, added, submitted = records(ORDER, events=[{"type": "ADD_ITEM", "sku": "tea"}, {"type": "SUBMIT"}])
    assert (start["item"], start["outcome"], start["value"]) == (None, "started", "draft")
    assert added["context"]["items"] == {
        "before": [],
        "after": [{"sku": "tea", "quantity": 1, "price_cents": 0}],
    }
    assert (submitted["left"], submitted["entered"]) == (["order.draft"], ["order.pendingPayment"])
    assert submitted["can"] == ["CANCEL", "PAYMENT_FAILED", "PAYMENT_SUCCESS"]


def test_explain_says_which_guard_was_false_and_how_it_is_written() -> None:
    done = simulate(ORDER, "--explain", events=["SUBMIT"])
    assert "refused  guard hasItems was false; it would take ADD_ITEM, CANCEL" in done.stdout
    assert "hasItems is false    size(context.items) > 0" in done.stdout
    refused = records(ORDER, "--explain", events=["SUBMIT"])[1]
    assert refused["outcome"] == "refused"
    assert [(one["guard"], one["passed"]) for one in refused["guards"]] == [("hasItems", False)]


def test_explain_says_when_no_state_takes_the_event() -> None:
    done = here(ORDER, "--explain", events=["NOPE"])
    assert "draft does not take it; it would take ADD_ITEM, CANCEL" in done.stdout


def test_explain_shows_the_members_of_a_composite_guard(tmp_path: Path) -> None:
    definition = {
        "machine": {
            "id": "gate",
            "initial": "shut",
            "context": {"a": True, "b": False},
            "states": {"shut": {"on": {"OPEN": {"target": "open", "guard": "both"}}}, "open": {}},
        },
        "implementations": {"guards": {"a": "context.a", "b": "context.b", "both": {"and": ["a", "b"]}}},
    }
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(definition))
    done = here(str(path), "--explain", events=["OPEN"])
    assert "both is false (a is true, b is false)" in done.stdout


def test_time_passes_only_when_the_script_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lamp.yaml"
    path.write_text(
        "machine:\n  id: lamp\n  initial: on\n  states:\n"
        "    on:\n      after:\n        1000: off\n    off: {}\n"
    )
    start, early, late = records(str(path), events=[{"$advance_ms": 999}, {"$advance_ms": 1}])
    assert start["timers"][0]["due_in"] == 1000
    assert (early["value"], early["outcome"]) == ("on", "advanced")
    assert (late["value"], late["timers"]) == ("off", [])


def test_events_after_the_end_are_ignored() -> None:
    last = records(ORDER, events=["CANCEL", "SUBMIT"])[-1]
    assert (last["outcome"], last["status"]) == ("ignored", "done")


def test_a_failing_expression_ends_the_machine_with_its_reason() -> None:
    last = records(ORDER, events=["ADD_ITEM"])[-1]
    assert (last["outcome"], last["status"]) == ("failed", "error")
    assert "sku" in last["error"]


def test_input_reaches_the_context() -> None:
    (start,) = records(ORDER, "--input", '{"customer": "ada"}')
    assert start["context"]["customer"]["after"] == "ada"


def test_events_may_be_a_yaml_list_or_json_lines(tmp_path: Path) -> None:
    as_yaml = tmp_path / "events.yaml"
    as_yaml.write_text("- type: ADD_ITEM\n  sku: tea\n- SUBMIT\n")
    as_lines = tmp_path / "events.jsonl"
    as_lines.write_text('{"type": "ADD_ITEM", "sku": "tea"}\n"SUBMIT"\n')
    for path in (as_yaml, as_lines):
        done = run_here(None, "simulate", ORDER, "--events", str(path), "--json")
        assert json.loads(done.stdout.splitlines()[-1])["value"] == "pendingPayment", path


def test_yaml_needs_no_name_that_says_so(tmp_path: Path) -> None:
    script = "- {type: ADD_ITEM, sku: tea}\n- SUBMIT\n"
    done = run_here(None, "simulate", ORDER, "--events", "-", input=script)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "  state    pendingPayment")
    (tmp_path / "events.txt").write_text(script, encoding="utf-8")
    assert here(ORDER, "--events", str(tmp_path / "events.txt")).stdout == done.stdout
    (tmp_path / "events.json").write_text(script, encoding="utf-8")
    wrong = here(ORDER, "--events", str(tmp_path / "events.json"))
    assert (wrong.returncode, "events.json: Expecting value" in wrong.stderr) == (6, True)
    neither = run_here(None, "simulate", ORDER, "--events", "-", input="ADD_ITEM, SUBMIT")
    assert neither.returncode == 6
    assert "standard input: neither JSON, JSON lines nor a YAML list" in neither.stderr


def test_a_machine_is_found_by_name_in_machines() -> None:
    done = run_cli(None, "simulate", "order", cwd=ROOT)
    assert done.returncode == 0


def test_what_cannot_be_read_says_so() -> None:
    for words, code, says in (
        (["nowhere"], 5, "there is no definition 'nowhere'"),
        ([], 2, "name a MACHINE"),
        ([ORDER, "--events", "/nonexistent.json"], 2, "cannot read /nonexistent.json"),
        ([ORDER, "--input", "{"], 2, "--input is not JSON"),
        ([ORDER, "--batch"], 2, "leave MACHINE and --events out"),
    ):
        done = here(*words)
        assert done.returncode == code, (words, done.stderr)
        assert says in done.stderr
        assert done.stderr.count("\n") == 1, "one sentence"


def test_items_that_are_no_events_say_which() -> None:
    for events, says in (
        ([1], "item 1 of standard input"),
        (["SUBMIT", {}], "item 2 of standard input"),
        ([{"$advance_ms": -1}], "an item of standard input cannot be run"),
    ):
        done = here(ORDER, events=events)
        assert done.returncode == 6
        assert says in done.stderr


def test_a_definition_that_cannot_run_lists_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"id": "m", "initial": "nope", "states": {"a": {"on": {"X": "missing", "Y": "gone"}}}}')
    done = here(str(path))
    assert done.returncode == 6
    assert "nope" in done.stderr
    assert "missing" in done.stderr
    assert "gone" in done.stderr


def test_batch_answers_the_corpus_row_by_row() -> None:
    with gzip.open(ROOT / "tests" / "conformance" / "data" / "dev.jsonl.gz", "rt") as corpus:
        rows = [json.loads(line) for line in islice(corpus, 150)]
    questions = "".join(json.dumps({**row, "expect": None}) + "\n" for row in rows)
    done = run_cli(None, "simulate", "--batch", input=questions)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    for answer, row in zip(answers, rows, strict=True):
        for found, expected in zip(answer["expect"], row["expect"], strict=True):
            assert found["value"] == expected["value"], row["id"]
            assert found["actions"] == expected["actions"], row["id"]


def test_batch_answers_rows_that_cannot_run_and_goes_on() -> None:
    rows = [
        "not json",
        '{"id": 1}',
        '{"id": 2, "machine": {"initial": "x", "states": {"a": {}}}}',
        '{"id": 3, "machine": {}, "events": [5]}',
        "[]",
        "",
        '{"id": 4, "machine": {}}',
    ]
    done = run_cli(None, "simulate", "--batch", input="\n".join(rows) + "\n")
    assert done.returncode == 6
    assert "5 rows could not be run" in done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [("error" in answer, answer["id"]) for answer in answers] == [
        (True, None),
        (True, 1),
        (True, 2),
        (True, 3),
        (True, None),
        (False, 4),
    ]


def test_batch_answers_each_row_before_it_reads_the_next() -> None:
    with subprocess.Popen(
        [PROGRAM, "simulate", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "machine": {"id": "m"}, "events": []}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait() == 0


def test_batch_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    row = {"id": 0, "machine": {"id": "m", "initial": "a", "states": {"a": {"on": {"X": "b"}}, "b": {}}}}

    def peak(rows: int) -> int:
        source = tmp_path / f"{rows}.jsonl"
        with source.open("w") as file:
            for number in range(rows):
                # Each row has an expression of its own: nothing may remember them all.
                guards = {"guards": {"g": f"context.n > {number}"}}
                file.write(json.dumps({**row, "implementations": guards, "events": [{"type": "X"}]}) + "\n")
        with source.open() as file:
            process = subprocess.Popen(
                [PROGRAM, "simulate", "--batch"], stdin=file, stdout=subprocess.DEVNULL, env=environment()
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    few, many = peak(300), peak(2_400)
    assert many < few * 1.2, (few, many)
