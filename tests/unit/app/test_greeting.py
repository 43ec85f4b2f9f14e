"""What a server says when it is ready fits what it brought along."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from durachart.app.foreground import greeting
from durachart.app.server import Server
from durachart.fronts.address import GRPC_DEFAULT, HTTP_DEFAULT, Address
from durachart.runtime.views import MachineRecord


def said(*machines: str, **fields: Any) -> list[str]:
    moment = datetime(2031, 1, 1, tzinfo=UTC)
    records = [MachineRecord(name, 1, "", "", moment, "", ()) for name in machines]
    parts: dict[str, Any] = {
        "grpc": GRPC_DEFAULT,
        "http": HTTP_DEFAULT,
        "database": Path("data/durachart.db"),
        "machines": records,
        "runtime": None,
        "service": None,
    }
    return list(greeting(Server(**{**parts, **fields}), "durachart"))


def commands(lines: list[str]) -> list[str]:
    return [line.removeprefix("  durachart ") for line in lines if line.startswith("  durachart ")]


def test_addresses_and_three_commands() -> None:
    lines = said("canvas", "order")
    assert "  gRPC      127.0.0.1:7575" in lines
    assert "  gRPC-Web  http://127.0.0.1:7576" in lines
    assert "  machines  canvas 1, order 1" in lines
    assert len(commands(lines)) == 3
    assert commands(lines)[2].startswith("generate")
    assert not any("DURACHART_SERVER" in line for line in lines)


def test_another_port_is_exported_and_http_may_be_off() -> None:
    lines = said("order", grpc=Address("127.0.0.1", 9000), http=None)
    assert "  export DURACHART_SERVER=127.0.0.1:9000" in lines
    assert not any("gRPC-Web" in line for line in lines)
    assert "canvas" not in " ".join(lines)


def test_commands_name_machines_that_are_there() -> None:
    assert commands(said("zoo", "bar"))[0] == "create bar my-first"
    assert commands(said())[1] == "publish FILE"
