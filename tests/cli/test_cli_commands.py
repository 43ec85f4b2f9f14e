"""Each command against a real server process: what it writes into a pipe, and its exit code.

The main job runs in processes; the many small variations run the same code here.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.in_process import run_here
from tests.processes import PROGRAM, ROOT, Server, environment, run_cli

ORDER = ROOT / "machines" / "order"


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def data(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in lines(done)]


def failure(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.stdout == ""
    body = json.loads(done.stderr)["error"]
    assert body["exit_code"] == done.returncode
    return body


def test_an_order_from_the_command_line(server: Server) -> None:
    assert lines(run_cli(server, "create", "order", "a-1", "--input", '{"customer": "ada"}')) == [
        "created order/a-1: draft (version 0); allowed: ADD_ITEM, CANCEL"
    ]
    assert lines(run_cli(server, "send", "order", "a-1", "ADD_ITEM", "sku=tea", "quantity=2")) == [
        "accepted order/a-1: draft (version 1); allowed: ADD_ITEM, CANCEL, SUBMIT"
    ]
    assert "pendingPayment (version 2)" in run_cli(server, "send", "order", "a-1", "SUBMIT").stdout
    (paid,) = data(
        run_cli(server, "send", "order", "a-1", "PAYMENT_SUCCESS", '{"payment_id": "p"}', "--json")
    )
    assert (paid["state"]["value"], paid["state"]["version"], paid["changed"]) == ("confirmed", 3, True)
    (state,) = data(run_cli(server, "get", "order", "a-1", "--json"))
    assert state["context"]["items"] == [{"sku": "tea", "quantity": 2, "price_cents": 0}]
    assert state["created_at"].endswith("Z")
    shown = dict(line.split(maxsplit=1) for line in lines(run_cli(server, "get", "order", "a-1")))
    assert shown["state"] == "confirmed"
    assert json.loads(shown["context"])["customer"] == "ada"


def test_the_journal_is_tab_separated_in_a_pipe(server: Server) -> None:
    run_here(server, "create", "order", "b-1")
    run_here(server, "send", "order", "b-1", "SUBMIT")
    rows = [line.split("\t") for line in lines(run_here(server, "journal", "order", "b-1"))]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("1", "(create)", "accepted"),
        ("2", "SUBMIT", "GUARD_REJECTED"),
    ]
    assert "hasItems" in rows[1][8]
    newest = data(run_here(server, "journal", "order", "b-1", "--newest-first", "--limit", "1", "--json"))
    assert [(entry["seq"], entry["reason"]) for entry in newest] == [(2, "GUARD_REJECTED")]


def test_refusals_conflicts_and_the_rest_have_exit_codes_and_one_sentence(server: Server) -> None:
    run_here(server, "create", "order", "c-1")
    cases = [
        (3, "GUARD_REJECTED", ["send", "order", "c-1", "SUBMIT"]),
        (3, "EVENT_NOT_ALLOWED", ["send", "order", "c-1", "NOPE"]),
        (4, "VERSION_CONFLICT", ["send", "order", "c-1", "CANCEL", "--expected-version", "7"]),
        (4, "INSTANCE_EXISTS", ["create", "order", "c-1"]),
        (5, "INSTANCE_NOT_FOUND", ["get", "order", "nobody"]),
        (5, "INSTANCE_NOT_FOUND", ["send", "order", "nobody", "SUBMIT"]),
        (5, "MACHINE_NOT_FOUND", ["create", "nothing", "x"]),
        (5, "MACHINE_NOT_FOUND", ["machines", "nothing"]),
        (6, "PAYLOAD_INVALID", ["send", "order", "c-1", "ADD_ITEM", "sku=1"]),
        (6, "PAYLOAD_INVALID", ["create", "order", "c-2", "--input", '{"customer": 5}']),
        (6, "REQUEST_INVALID", ["send", "order", "c-1", "xstate.init"]),
    ]
    for code, reason, words in cases:
        done = run_here(server, *words)
        assert done.returncode == code, (words, done.stderr)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.rstrip().endswith(f"({reason})")
        assert failure(run_here(server, *words, "--json"))["reason"] == reason


def test_a_refusal_as_json_says_what_would_be_allowed(server: Server) -> None:
    run_here(server, "create", "order", "d-1")
    refused = failure(run_here(server, "send", "order", "d-1", "SUBMIT", "--json"))
    assert refused["allowed_events"] == ["ADD_ITEM", "CANCEL"]
    assert refused["guards"] == ["hasItems"]
    conflict = failure(
        run_here(server, "send", "order", "d-1", "CANCEL", "--expected-version", "3", "--json")
    )
    assert (conflict["expected_version"], conflict["actual_version"]) == (3, 0)


def test_the_same_request_id_is_answered_once(server: Server) -> None:
    run_here(server, "create", "order", "e-1")
    words = ("send", "order", "e-1", "ADD_ITEM", "sku=tea", "--request-id", "r-1")
    assert "version 1" in run_here(server, *words).stdout
    assert run_here(server, *words).stdout.startswith("accepted before order/e-1: draft (version 1)")
    reused = run_here(server, "send", "order", "e-1", "CANCEL", "--request-id", "r-1")
    assert reused.returncode == 4


def test_send_may_create_the_instance(server: Server) -> None:
    done = run_here(
        server, "send", "order", "f-1", "ADD_ITEM", "sku=tea", "--create", "--input", '{"customer": "bo"}'
    )
    assert done.returncode == 0
    (state,) = data(run_here(server, "get", "order", "f-1", "--json"))
    assert state["context"]["customer"] == "bo"


def test_data_comes_from_a_file_or_standard_input(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_text('{"sku": "tea"}')
    run_cli(server, "create", "order", "g-1")
    assert run_cli(server, "send", "order", "g-1", "ADD_ITEM", f"@{path}").returncode == 0
    assert run_cli(server, "send", "order", "g-1", "ADD_ITEM", "-", input='{"sku": "cup"}').returncode == 0
    (state,) = data(run_cli(server, "get", "order", "g-1", "--json"))
    assert [item["sku"] for item in state["context"]["items"]] == ["tea", "cup"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["send", "order", "x", "E", "{bad"], "the event's data is not JSON"),
        (["send", "order", "x", "E", "[1]", "a=1"], "neither a JSON object nor key=value"),
        (["send", "order", "x", "E", "word"], "neither a JSON object nor key=value"),
        (["send", "order", "x", "E", "@/nonexistent"], "cannot read /nonexistent"),
        (["send", "order", "x", "E", "-"], "the event's data on standard input is not JSON"),
        (["create", "order", "x", "--input", "nope"], "--input is not JSON"),
        (["create", "order", "x", "--label", "nope"], "--label 'nope' is not KEY=VALUE"),
        (["send", "order", "x", "E", "--expected-version", "-1"], "--expected-version"),
        (["send", "order", "x", "E", "--expected-version", "99999999999999999999"], "--expected-version"),
        (["send", "order", "\udcff", "E"], "not UTF-8"),
        (["get", "order"], "missing argument 'ID'"),
        (["gett"], "no such command 'gett'"),
        (["get", "order", "x", "--nope"], "no such option: --nope"),
        (["watch", "order", "--until-done"], "--until-done needs the ids"),
        (["publish", "/nonexistent"], "there is no definition '/nonexistent'"),
        (["get", "order", "x", "-s", "http://127.0.0.1:7575"], "write HOST:PORT, as in 127.0.0.1:7575"),
        (["get", "order", "x", "-s", "127.0.0.1"], "write HOST:PORT"),
        (["-s", "127.0.0.1:0", "get", "order", "x"], "write HOST:PORT"),
        (["generate", ""], "the PROMPT is empty"),
        (["generate", "canvas", "x", "  "], "the PROMPT is empty"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(server: Server, words: list[str], says: str) -> None:
    done = run_here(server, *words)
    assert done.returncode in (2, 5), done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_no_command_at_all_shows_the_help_and_is_a_wrong_command_line() -> None:
    done = run_here(None)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("Usage: durachart")


def test_the_version_can_be_asked_for_either_way() -> None:
    command, option = run_here(None, "version"), run_here(None, "--version")
    assert (command.returncode, option.returncode) == (0, 0)
    assert command.stdout == option.stdout
    assert option.stdout.startswith("durachart ")
    (as_json,) = data(run_here(None, "version", "--json"))
    assert f"durachart {as_json['version']}\n" == command.stdout


def test_nobody_listening_is_exit_code_7_and_says_what_to_do() -> None:
    done = run_cli("127.0.0.1:1", "get", "order", "x")
    assert done.returncode == 7
    assert "no server answers at 127.0.0.1:1: start one with `durachart serve`" in done.stderr
    assert "gRPC's port is 7575 by default" in done.stderr
    watching = run_cli("127.0.0.1:1", "watch", "order")
    assert watching.returncode == 7


def test_the_http_port_answers_no_command(server: Server) -> None:
    done = run_here(server.http, "get", "order", "x")
    assert done.returncode == 7
    assert "gRPC's port is 7575 by default" in done.stderr


def test_an_unknown_machine_is_named_and_the_one_meant_is_suggested(server: Server) -> None:
    for words in (
        ["watch", "ordr"],
        ["watch", "ordr", "o-1"],
        ["get", "ordr", "o-1"],
        ["journal", "ordr", "o-1"],
        ["send", "ordr", "o-1", "SUBMIT"],
        ["create", "ordr", "o-1"],
        ["instances", "ordr"],
        ["machines", "ordr"],
        ["generate", "ordr", "o-1", "Hello."],
    ):
        done = run_here(server, *words)
        assert (done.returncode, done.stdout) == (5, ""), words
        assert done.stderr == "error: there is no machine 'ordr'; did you mean 'order'? (MACHINE_NOT_FOUND)\n"
    unlike = run_here(server, "get", "zzz", "o-1")
    assert "there is no machine 'zzz'; `durachart machines` lists those there are" in unlike.stderr
    version = run_here(server, "machines", "order", "--version", "77")
    assert "there is no version 77 of machine 'order'" in version.stderr


def test_what_the_server_says_names_options_and_arguments(server: Server) -> None:
    run_here(server, "create", "order", "w-1")
    for words, says in (
        (["send", "order", "nobody", "CANCEL"], "send the event with --create ("),
        (["get", "order", "nobody"], "there is no instance order/nobody (INSTANCE_NOT_FOUND)"),
        (["send", "order", "w-1", "ADD_ITEM", "sku=1"], "DATA is not valid: /sku"),
        (["send", "order", "w-1", ""], "EVENT must have"),
        (["send", "order", "w-1", "CANCEL", "type=X"], "name the type in EVENT ("),
        (["create", "order", "w-2", "--input", '{"customer": 5}'], "--input is not valid"),
        (["create", "order", ""], "ID must have"),
    ):
        assert says in run_here(server, *words).stderr, words
    quoted = run_here(server, "get", "input_json", "x")
    assert "there is no machine 'input_json'" in quoted.stderr


def test_an_event_that_is_misspelt_is_told_from_one_that_is_not_allowed(server: Server) -> None:
    run_here(server, "create", "order", "w-3")
    for typed in ("SUMBIT", "submit"):
        refused = run_here(server, "send", "order", "w-3", typed)
        assert (refused.returncode, "; did you mean 'SUBMIT'? (EVENT_NOT_ALLOWED)" in refused.stderr) == (
            3,
            True,
        )
    for typed in ("PAYMENT_SUCCESS", "SOMETHING_ELSE"):
        data_of = ["payment_id=p-1"] if typed == "PAYMENT_SUCCESS" else []
        refused = run_here(server, "send", "order", "w-3", typed, *data_of)
        assert (refused.returncode, "did you mean" in refused.stderr) == (3, False)


def test_a_refusal_of_the_data_is_a_whole_sentence(server: Server) -> None:
    run_here(server, "create", "order", "s-1")
    long = json.dumps({"note": "x" * 300_000})
    for given, says in (
        (long, "DATA is not valid: it is 300011 bytes long; at most 262144 are taken"),
        ('{"type": "X"}', "DATA is not valid: /type: it is the event's own key; name the type in EVENT"),
        ('{"n": %s}' % ("[" * 70 + "]" * 70), "DATA is not valid: it is nested more than 64 levels deep"),
    ):
        done = run_here(server, "send", "order", "s-1", "CANCEL", "-", input=given)
        assert done.stderr == f"error: {says} (PAYLOAD_INVALID)\n"


def test_the_server_is_named_before_or_after_the_command(server: Server) -> None:
    run_here(server, "create", "order", "h-1")
    for words in (
        ["--server", server.grpc, "get", "order", "h-1"],
        ["get", "order", "h-1", "--server", server.grpc],
        ["-s", "127.0.0.1:1", "get", "order", "h-1", "-s", server.grpc],
    ):
        assert run_here(None, *words).returncode == 0, words


def test_every_command_that_talks_to_a_server_takes_a_timeout() -> None:
    for words in (
        ["create", "order", "x"],
        ["send", "order", "x", "E"],
        ["preview", "order", "x", "E"],
        ["get", "order", "x"],
        ["instances"],
        ["watch", "order"],
        ["journal", "order", "x"],
        ["delete", "order", "x", "--yes"],
        ["effects", "list"],
        ["effects", "show", "order", "x", "e"],
        ["effects", "retry", "order", "x", "e"],
        ["generate", "Hello."],
        ["publish", str(ORDER)],
        ["machines"],
    ):
        done = run_here("127.0.0.1:1", *words, "--timeout", "0.05")
        assert done.returncode == 7, (words, done.stderr)


def test_namespaces_are_apart(server: Server) -> None:
    run_here(server, "create", "order", "i-1", "-n", "eu")
    assert run_here(server, "get", "order", "i-1").returncode == 5
    assert "eu" in run_here(server, "get", "order", "i-1", "--namespace", "eu").stdout
    assert run_here(server, "get", "order", "i-1", env={"DURACHART_NAMESPACE": "eu"}).returncode == 0


def test_labels_and_status_are_listed(server: Server) -> None:
    run_here(server, "create", "order", "j-1", "--label", "tier=gold", "-n", "list")
    run_here(server, "create", "order", "j-2", "-n", "list")
    run_here(server, "send", "order", "j-2", "CANCEL", "-n", "list")
    active = data(run_here(server, "instances", "order", "--status", "active", "--json", "-n", "list"))
    assert all({"context", "allowed_events"}.isdisjoint(one) for one in active)
    assert [(one["instance"]["instance_id"], one["labels"]) for one in active] == [("j-1", {"tier": "gold"})]
    rows = [line.split("\t")[:4] for line in lines(run_here(server, "instances", "-n", "list"))]
    assert rows == [["list:order/j-1", "draft", "0", "active"], ["list:order/j-2", "cancelled", "1", "done"]]
    assert len(lines(run_here(server, "instances", "--limit", "1", "-n", "list"))) == 1
    for narrowed in (
        ("--label", "tier=gold"),
        ("--state", "order.draft"),
        ("--where", "labels.tier == 'gold'"),
        (
            "--where",
            "value == 'draft' && version == 0",
            "--state",
            "order.cancelled",
            "--state",
            "order.draft",
        ),
    ):
        (row,) = lines(run_here(server, "instances", *narrowed, "-n", "list"))
        assert row.startswith("list:order/j-1\t"), narrowed
    assert lines(run_here(server, "instances", "--tag", "none-such", "-n", "list")) == []
    wrong = run_here(server, "instances", "--where", "nobody.knows", "-n", "list")
    assert wrong.returncode != 0
    assert "line 1, column 1" in wrong.stderr


def test_ids_and_what_narrows_a_machine_do_not_go_together(server: Server) -> None:
    done = run_here(server, "watch", "order", "o-1", "--tag", "open")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tag" in done.stderr


def test_publish_says_what_is_new_and_what_was_there(server: Server, tmp_path: Path) -> None:
    assert lines(run_here(server, "publish", str(ORDER))) == ["unchanged order version 1"]
    path = tmp_path / "lamp.json"
    path.write_text('{"id": "lamp", "initial": "off", "states": {"off": {"on": {"PUSH": "on"}}, "on": {}}}')
    assert lines(run_here(server, "publish", str(path))) == ["published lamp version 1"]
    (again,) = data(run_here(server, "publish", str(path), "--json"))
    assert (again["created"], again["machine"]["version"]) == (False, 1)
    shown = json.loads(run_here(server, "machines", "lamp").stdout)
    assert shown["machine"]["id"] == "lamp"
    assert "lamp\t1\tPUSH" in run_here(server, "machines").stdout


def test_publish_refuses_with_every_problem_its_place_and_the_alternative(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "machine:\n  id: bad\n  initial: a\n"
        "  states:\n    a:\n      invoke: {src: work}\n      on: {X: nowhere}\n"
    )
    done = run_here(server, "publish", str(path))
    assert done.returncode == 6
    assert f"{path}#/machine/states/a/invoke" in done.stderr
    assert "effect" in done.stderr
    assert "nowhere" in done.stderr
    as_json = run_here(server, "publish", str(path), "--json")
    assert json.loads(as_json.stderr)["error"]["reason"] == "DEFINITION_INVALID"


def test_publish_says_each_problem_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"id": "twice", "initial": "x", "states": {"a": {"on": {"E": "zz"}}}}')
    first, second, last = run_here(server, "publish", str(path)).stderr.splitlines()
    assert first.startswith(f"{path}#/initial: error initial_not_found: ")
    assert second.startswith(f"{path}#/states/a/on/E: error target_not_found: ")
    assert last == f"error: the definition {path} is not valid, and is not published (DEFINITION_INVALID)"


def test_validate_needs_no_server_and_finds_what_publish_would(tmp_path: Path) -> None:
    good = run_here("127.0.0.1:1", "validate", str(ORDER), str(ROOT / "machines" / "canvas" / "machine.yaml"))
    assert [line.endswith(": valid") for line in lines(good)] == [True, True]
    path = tmp_path / "bad.json"
    path.write_text('{"machine": {"id": "m", "initial": "a", "states": {"a": {"invoke": {"src": "x"}}}}}')
    bad = run_here("127.0.0.1:1", "validate", str(path))
    assert bad.returncode == 6
    assert f"{path}#/machine/states/a/invoke: error" in bad.stdout
    assert bad.stdout.splitlines()[-1] == f"{path}: not valid"
    checked = json.loads(run_here(None, "validate", str(path), "--json").stdout)
    assert checked["valid"] is False
    assert "/machine/states/a/invoke" in [finding["path"] for finding in checked["findings"]]
    path.write_text('{"machine": ')
    malformed = run_here(None, "validate", str(path))
    assert malformed.returncode == 6
    assert "line 1, column" in malformed.stdout


def test_a_directory_of_machines_is_all_of_them(server: Server, tmp_path: Path) -> None:
    for name in ("b", "a"):
        path = tmp_path / name / "machine.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"id": f"all-{name}", "initial": "on", "states": {"on": {}}}))
    checked = data(run_here(None, "validate", str(tmp_path), "--json"))
    assert [Path(one["file"]).parent.name for one in checked] == ["a", "b"]
    published = lines(run_here(server, "publish", str(tmp_path)))
    assert published == ["published all-a version 1", "published all-b version 1"]
    (tmp_path / "a" / "machine.yaml").write_text("id: x")
    ambiguous = run_here(None, "validate", str(tmp_path))
    assert ambiguous.returncode == 2
    assert "keep one of them" in ambiguous.stderr


def test_a_reader_that_leaves_early_is_no_error(server: Server) -> None:
    assert run_here(server, "machines").stdout.count("\n") > 1
    done = subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            f"{PROGRAM} machines | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        ],
        capture_output=True,
        text=True,
        env=environment({"DURACHART_SERVER": server.grpc}),
        timeout=60,
    )
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("output", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_one_sentence_and_exit_code_1(server: Server, output: str) -> None:
    run_here(server, "create", "order", "full-1")
    for words in ("machines", "get order full-1", "get order full-1 --json", "version", "--help"):
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} {words} {output}"],
            capture_output=True,
            text=True,
            env=environment({"DURACHART_SERVER": server.grpc}),
            timeout=60,
        )
        assert done.returncode == 1, words
        assert "cannot write to standard output" in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_an_error_that_cannot_be_said_keeps_its_exit_code(server: Server) -> None:
    for errors in ("2> /dev/full", "2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{PROGRAM} get order nobody {errors}"],
            capture_output=True,
            text=True,
            env=environment({"DURACHART_SERVER": server.grpc}),
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


def test_version_and_help() -> None:
    assert run_cli(None, "version").stdout.startswith("durachart ")
    shown = run_cli(None, "--help")
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    for part in ("serve", "simulate", "Exit codes: 0 done", "130 interrupted"):
        assert part in " ".join(shown.stdout.split())


def test_every_command_has_help() -> None:
    commands = ("serve", "publish", "validate", "machines", "create", "send", "get", "watch", "journal")
    for command in (*commands, "instances", "generate", "simulate", "version"):
        done = run_here(None, command, "--help")
        assert done.returncode == 0, command
        assert f"Usage: durachart {command}" in done.stdout


def test_shells_can_complete_commands_and_options() -> None:
    done = run_cli(
        None,
        env={"_DURACHART_COMPLETE": "complete_bash", "COMP_WORDS": "durachart se", "COMP_CWORD": "1"},
    )
    assert set(done.stdout.split()) == {"send", "serve"}


def test_a_preview_says_what_would_happen_and_why(server: Server) -> None:
    run_here(server, "create", "order", "p-1")
    refused = lines(run_here(server, "preview", "order", "p-1", "SUBMIT"))
    assert refused[0].startswith("would be refused (GUARD_REJECTED): event 'SUBMIT' is rejected by hasItems")
    assert refused[1] == "  SUBMIT of order.draft → order.pendingPayment if hasItems: guard false"
    run_here(server, "send", "order", "p-1", "ADD_ITEM", "sku=tea")
    accepted = lines(run_here(server, "preview", "order", "p-1", "SUBMIT"))
    assert accepted[0] == "would be accepted: order/p-1 would be pendingPayment (version 2)"
    assert accepted[-1] == "  SUBMIT of order.draft → order.pendingPayment if hasItems: selected"
    (past,) = data(run_here(server, "preview", "order", "p-1", "SUBMIT", "--version", "0", "--json"))
    assert (past["accepted"], past["reason"], past["state"]["version"]) == (False, "GUARD_REJECTED", 0)
    missing = run_here(server, "preview", "order", "p-1", "SUBMIT", "--version", "9", "--json")
    assert (failure(missing)["reason"], missing.returncode) == ("VERSION_NOT_FOUND", 5)
    assert len(lines(run_here(server, "journal", "order", "p-1"))) == 2


def test_an_instance_is_deleted_when_that_is_said_twice(server: Server) -> None:
    run_here(server, "create", "order", "del-1")
    asked = run_here(server, "delete", "order", "del-1")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "--yes" in asked.stderr
    conflict = run_here(server, "delete", "order", "del-1", "--yes", "--expected-version", "4")
    assert conflict.returncode == 4
    assert lines(run_here(server, "delete", "order", "del-1", "--yes", "--request-id", "r")) == [
        "deleted order/del-1; was draft (version 0)"
    ]
    (again,) = data(run_here(server, "delete", "order", "del-1", "-y", "--request-id", "r", "--json"))
    assert (again["replayed"], again["state"]["value"]) == (True, "draft")
    assert run_here(server, "get", "order", "del-1").returncode == 5
    assert [row.split("\t")[2] for row in lines(run_here(server, "journal", "order", "del-1"))] == [
        "(create)",
        "(delete)",
        "(delete)",
    ]
    run_here(server, "create", "order", "del-1")
    run_here(server, "delete", "order", "del-1", "--yes", "--purge")
    assert len(lines(run_here(server, "journal", "order", "del-1"))) == 1
