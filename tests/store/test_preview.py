"""What an event would do, now and at any version before, without anything being written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from durachart.runtime.commands import DeleteInstance
from durachart.runtime.errors import InstanceNotFound, InvalidArgument, VersionNotFound
from durachart.runtime.preview import Asked
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import Preview, PreviewTransition, View
from durachart.store.interface import LogEntry, Store
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import key

StoreMaker = Callable[[], Store]


async def _preview(service: Service, kind: str, data: str = "", version: int | None = None) -> Preview:
    return await service.runtime.instances.preview(Asked(key(), kind, data, version), ADA)


async def test_a_preview_shows_what_the_event_then_does(service: Service) -> None:
    await service.create(labels={"team": "red"})
    shown = await _preview(service, "GO")
    assert len(await service.journal()) == 1
    sent = await service.send("GO")
    assert shown.accepted
    assert (shown.reason, shown.message, shown.changed) == ("", "", True)
    assert [effect._replace(effect_id="") for effect in sent.effects] == list(shown.effects)
    ((running,), (ran,)) = shown.state.running_effects, sent.state.running_effects
    assert running == ran._replace(effect_id="")
    assert shown.state._replace(running_effects=()) == sent.state._replace(running_effects=())


async def test_a_refusal_is_shown_with_its_reason_and_the_guards_that_were_asked(service: Service) -> None:
    await service.create()
    shown = await _preview(service, "IF_POSITIVE")
    assert (shown.accepted, shown.reason) == (False, "GUARD_REJECTED")
    assert "positive" in shown.message
    assert shown.state == await service.runtime.instances.get(key())
    assert shown.transitions == (PreviewTransition("job.idle", "IF_POSITIVE", (), "positive", False),)
    for kind, data, reason in (
        ("NOPE", "", "EVENT_NOT_ALLOWED"),
        ("ADD", '{"by":"x"}', "PAYLOAD_INVALID"),
        ("ADD", "{", "PAYLOAD_INVALID"),
        ("DIVIDE", "", "EVALUATION_FAILED"),
    ):
        shown = await _preview(service, kind, data)
        assert (shown.accepted, shown.reason) == (False, reason)
        assert shown.message
    assert len(await service.journal()) == 1


@pytest.mark.parametrize("whole_context_bytes", [512, 0])
async def test_every_version_of_the_past_can_be_asked(
    make_store: StoreMaker, whole_context_bytes: int
) -> None:
    """Refusals between the versions do not hide them."""
    async with serving(make_store, RuntimeSettings(whole_context_bytes=whole_context_bytes)) as service:
        await service.create(input_json='{"who":"' + "ada " * 50 + '"}')
        for number in range(12):
            await service.send("ADD", {"by": number})
            for _ in range(number % 4):
                with pytest.raises(Exception, match="not allowed"):
                    await service.send("NOPE")
        await service.send("GO")
        total = 0
        for version in range(13):
            total += max(version - 1, 0)
            shown = await _preview(service, "ADD", '{"by":100}', version)
            assert shown.state.version == version + 1
            assert json.loads(shown.state.context_json)["n"] == total + 100
            assert shown.state.labels == {}
        assert (await _preview(service, "ADD", version=13)).reason == "EVENT_NOT_ALLOWED"
        current = await _preview(service, "LEAVE")
        assert (current.accepted, current.state.version, current.state.running_effects) == (True, 14, ())
        for version in (14, 1_000):
            with pytest.raises(VersionNotFound):
                await _preview(service, "ADD", version=version)


async def test_the_past_shows_what_ran_then(service: Service) -> None:
    await service.create()
    await service.send("GO")
    await service.runtime.lease_effects(["payments.charge"], limit=1, holder="w", lease=timedelta(seconds=30))
    await service.send("LEAVE")
    shown = await _preview(service, "NOPE", version=1)
    assert [effect.type for effect in shown.state.running_effects] == ["charge"]
    assert (await _preview(service, "LEAVE", version=1)).state.running_effects == ()


async def test_versions_are_those_of_the_instance_that_lives(service: Service) -> None:
    await service.create()
    await service.send("ADD", {"by": 5})
    await service.runtime.delete_instance(DeleteInstance(key()), ADA)
    with pytest.raises(InstanceNotFound):
        await _preview(service, "ADD", version=0)
    await service.create()
    await service.send("ADD", {"by": 7})
    assert json.loads((await _preview(service, "ADD", version=0)).state.context_json)["n"] == 1
    with pytest.raises(VersionNotFound):
        await _preview(service, "ADD", version=2)


async def test_a_preview_is_refused_what_could_not_be_sent(service: Service) -> None:
    with pytest.raises(InstanceNotFound):
        await _preview(service, "ADD")
    await service.create()
    with pytest.raises(InvalidArgument):
        await _preview(service, "*")
    shown = await service.runtime.instances.preview(Asked(key(), "ADD", view=View.BASIC), ADA)
    assert (shown.accepted, shown.state.context_json) == (True, "")


async def test_a_version_that_is_removed_while_it_is_read_is_not_found(
    make_store: StoreMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is damaged: what its context is a patch of went with it."""
    settings = RuntimeSettings(snapshot_every=4, whole_context_bytes=0)
    async with serving(make_store, settings) as service:
        await service.create(input_json='{"who":"' + "ada " * 50 + '"}')
        for _ in range(15):
            await service.send("ADD")
        service.clock.now += 10_000_000
        read_results = service.store.read_results
        cuts = 0

        async def read_and_cut(of: InstanceKey, first_seq: int, last_seq: int) -> list[LogEntry]:
            nonlocal cuts
            found = await read_results(of, first_seq, last_seq)
            if not cuts:
                cuts = await service.runtime.expire("journal", timedelta(seconds=1), 100)
            return found

        monkeypatch.setattr(service.store, "read_results", read_and_cut)
        with pytest.raises(VersionNotFound):
            await _preview(service, "ADD", version=6)
        assert cuts
