"""Machines built from definitions, run in simulated time."""

from collections.abc import Callable
from typing import Any

import pytest

from durachart.definitions.build import build_machine
from durachart.definitions.simulation import Simulator
from durachart.engine import Machine

Config = dict[str, Any]


class Play:
    """One instance and what its last item did."""

    def __init__(self, machine: Machine, input: Any) -> None:  # noqa: A002
        self.simulator = Simulator(machine, input)

    def __call__(self, item: str | Config | int) -> "Play":
        """Send an event type, an event, or let milliseconds pass."""
        if isinstance(item, int):
            self.simulator.advance(item)
        else:
            self.simulator.send({"type": item} if isinstance(item, str) else item)
        return self

    @property
    def value(self) -> Any:
        return self.simulator.describe()["value"]

    @property
    def context(self) -> Config:
        return self.simulator.describe()["context"]

    @property
    def effects(self) -> list[str]:
        return [effect["type"] for effect in self.simulator.describe()["actions"]]

    @property
    def described(self) -> Config:
        return self.simulator.describe()


@pytest.fixture
def play() -> Callable[..., Play]:
    """Start a machine: ``play(config, guards={…}, actions={…}, …, input=…)``."""

    def start(config: Config, input: Any = None, **implementations: Any) -> Play:  # noqa: A002
        return Play(build_machine(config, implementations), input)

    return start
