"""Several workers at the same effects, in any order, some of them vanishing: each effect ends once.

A run is a list of rounds. What the workers do in a round they do at the same time; between rounds time
passes, so that leases run out. At the end the workers that are left finish what is there.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from durachart.runtime.commands import Caller, EffectError, FailEffect, FinishEffect, RecordStep
from durachart.runtime.effect_views import LeasedEffect
from durachart.runtime.errors import LeaseLost
from durachart.store.keys import InstanceKey
from durachart.store.sqlite.store import SqliteStore
from tests.store.runtimes import Service, serving
from tests.unit.runtime.samples import key

LEASE = timedelta(seconds=30)
HANDLER = "payments.charge"
BUSY = EffectError("BUSY", "It is busy.")
DEEDS = ["lease", "lease", "lease", "heartbeat", "fail", "give_up", "complete", "complete", "step", "stale"]


class Workers:
    """What the workers of a run have leased, and what they were told."""

    def __init__(self, service: Service, chance: Random) -> None:
        self._outbox = service.runtime.outbox
        self._chance = chance
        self.leased: list[LeasedEffect] = []
        self.ends: Counter[str] = Counter()
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        service.runtime.on_effect_end(self._ended)

    def _ended(self, of: InstanceKey, effect_id: str, state: str) -> None:
        self.ends[effect_id] += 1

    def _newest(self, effect_id: str) -> LeasedEffect:
        return [each for each in self.leased if each.effect_id == effect_id][-1]

    async def lease(self, worker: str) -> list[LeasedEffect]:
        found = await self._outbox.lease([HANDLER], self._chance.randint(1, 3), worker, LEASE)
        self.leased += found
        return found

    async def act(self, deed: str, worker: str) -> None:
        if deed == "lease":
            await self.lease(worker)
            return
        if not self.leased:
            return
        leased = self._chance.choice(self.leased)
        if deed != "stale":
            leased = self._newest(leased.effect_id)
        await self._report(deed, leased)

    async def _report(self, deed: str, leased: LeasedEffect) -> None:
        place = (leased.key, leased.effect_id, leased.lease_token)
        caller = Caller("worker")
        acts: dict[str, Callable[[], Any]] = {
            "heartbeat": lambda: self._outbox.extend(*place, LEASE),
            "fail": lambda: self._outbox.fail(FailEffect(*place, BUSY, delay_ms=0), caller),
            "give_up": lambda: self._outbox.fail(FailEffect(*place, BUSY, final=True), caller),
            "complete": lambda: self._outbox.finish(
                FinishEffect(*place, "completed", '{"receipt":"r"}'), caller
            ),
            "step": lambda: self._outbox.record_step(RecordStep(*place, "s", "completed", "1")),
            "stale": lambda: self._outbox.extend(*place, LEASE),
        }
        try:
            answer = await acts[deed]()
        except LeaseLost:
            return
        if deed in ("complete", "give_up"):
            self.told[leased.effect_id].append(f"{deed} {leased.lease_token}")
        if deed == "stale" and answer is not None:
            assert leased.lease_token == self._newest(leased.effect_id).lease_token, "two leases at a time"


async def _run(path: Path, chance: Random) -> None:
    async with serving(lambda: SqliteStore(path)) as service:
        workers = Workers(service, chance)
        keys = [key(f"j-{n}") for n in range(chance.randint(1, 4))]
        for each in keys:
            await service.send("GO", of=each, create_if_missing=True)
        for _ in range(chance.randint(3, 15)):
            deeds = [
                workers.act(chance.choice(DEEDS), f"w{chance.randrange(3)}")
                for _ in range(chance.randint(1, 5))
            ]
            await asyncio.gather(*deeds)
            service.clock.now += chance.choice([0, 1_000, 20_000, 31_000])
        await _finish_all(service, workers)
        for each in keys:
            await _check(service, workers, each)


async def _finish_all(service: Service, workers: Workers) -> None:
    """What vanished workers held is handed on; the rest of what the policy allows is used up."""
    for _ in range(20):
        # Over every lease and every wait.
        service.clock.now += 31_000
        await workers.lease("last")
        if await service.runtime.next_effect_at([HANDLER]) is None:
            return
    raise AssertionError("an effect was never handed on")


async def _check(service: Service, workers: Workers, of: InstanceKey) -> None:
    entries = await service.journal(of)
    (effect_id,) = {effect.effect_id for entry in entries for effect in entry.effects if effect.effect_id} - {
        effect.effect_id for entry in entries for effect in entry.effects if effect.type == "mail"
    }
    record = await service.runtime.effects.details(of, effect_id)
    assert record.finalized_at is not None
    assert workers.ends[effect_id] == 1
    assert [entry.cause for entry in entries].count("effect") == 1
    # Attempts are numbered without a gap, each has ended, and only the last may have ended the effect.
    assert [attempt.attempt for attempt in record.attempts] == list(range(1, record.attempt + 1))
    assert record.attempt <= record.max_attempts
    assert all(attempt.outcome and attempt.ended_at for attempt in record.attempts)
    assert all(attempt.outcome in ("failed", "lost") for attempt in record.attempts[:-1])
    # Whoever was told that its end was taken, was the one whose lease it was.
    assert len(set(workers.told[effect_id])) <= 1
    if workers.told[effect_id]:
        deed = workers.told[effect_id][0].partition(" ")[0]
        assert record.state == {"complete": "completed", "give_up": "discarded"}[deed]


@example(63)  # fails for another attempt, then gives up under the same lease
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 2**32))
def test_each_effect_ends_once_and_what_was_lost_is_handed_on(seed: int) -> None:
    """D3, D10: tracked and retried on its own, never twice."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory) / "store.db", Random(seed)))
