"""Lists of instances, narrowed by state, tags, labels and fields."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durachart.runtime.errors import InvalidArgument, PageTokenInvalid
from durachart.runtime.instance_list import _MOST_LOOKED_AT
from durachart.runtime.views import View
from tests.store.runtimes import Service
from tests.unit.runtime.samples import key


async def names(service: Service, **wanted: Any) -> list[str]:
    """What a list holds, over all of its pages."""
    found: list[str] = []
    token = ""
    while True:
        page = await service.runtime.instances.list("", page_token=token, **wanted)
        found += [state.key.instance_id for state in page.items]
        token = page.next_page_token
        if not token:
            return found


async def some(service: Service) -> None:
    await service.create(key("a"), '{"who":"ada"}', labels={"team": "x", "tier": "1"})
    await service.create(key("b"), labels={"team": "x"})
    await service.create(key("c"), labels={"team": "y"})
    await service.send("ADD", {"by": 7}, of=key("b"))
    await service.send("GO", of=key("c"))
    await service.create(key("d"))
    await service.send("GO", of=key("d"))
    await service.send("PAID", {"output": {"receipt": ""}}, of=key("d"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"state_ids": ("job.working",)}, "c"),
        ({"state_ids": ("job.working", "job.idle")}, "abc"),
        ({"state_ids": ("job",)}, "abcd"),
        ({"state_ids": ("working",)}, ""),
        ({"tags": ("resting",)}, "ab"),
        ({"tags": ("resting", "other")}, ""),
        ({"labels": {"team": "x"}}, "ab"),
        ({"labels": {"team": "x", "tier": "1"}}, "a"),
        ({"status": "done", "state_ids": ("job.finished",)}, "d"),
        ({"filter": "context.n > 0.5"}, "bc"),
        ({"filter": "context.who == 'ada' || version == 1"}, "abc"),
        ({"filter": "'resting' in tags && labels.team == 'x'", "machine_id": "job"}, "ab"),
        ({"filter": "status == 'done' && value == 'finished'"}, "d"),
        # What cannot be told of an instance is not true of it.
        ({"filter": "size(context.who) == 3"}, "a"),
        ({"filter": "labels.tier == '1'"}, "a"),
    ],
)
async def test_instances_are_found_by_state_and_by_fields(
    service: Service, wanted: dict[str, Any], found: str
) -> None:
    """E8: by active state, tag and label, and by what an expression says of context and the rest."""
    await some(service)
    assert "".join(await names(service, **wanted)) == found
    assert "".join(await names(service, page_size=1, **wanted)) == found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("context.n >", "line 1, column 12"),
        ("true &&\n  nobody", "line 2, column 3"),
        ("event.type == 'A'", "line 1, column 1"),
        ("version", "line 1, column 1"),
    ],
)
async def test_an_expression_that_cannot_be_asked_is_refused_with_its_place(
    service: Service, text: str, place: str
) -> None:
    with pytest.raises(InvalidArgument, match=place) as refused:
        await service.runtime.instances.list("", filter=text)
    assert refused.value.field == "filter"


async def test_a_call_looks_at_so_many_instances_and_no_more(service: Service) -> None:
    keys = [key(f"{number:05}") for number in range(_MOST_LOOKED_AT + 10)]
    await asyncio.gather(*(service.create(each) for each in keys))
    page = await service.runtime.instances.list("", labels={"no": "such"})
    assert (page.items, page.next_page_token != "") == ((), True)
    page = await service.runtime.instances.list("", labels={"no": "such"}, page_token=page.next_page_token)
    assert page == ((), "")


async def test_work_that_costs_much_ends_a_page_early(service: Service) -> None:
    for number in range(30):
        await service.create(key(f"{number:02}"))
    numbers = "[" + ", ".join(map(str, range(60))) + "]"
    dear = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, a + b + c >= 0)))"
    page = await service.runtime.instances.list("", filter=dear)
    assert page.items == (), "more than one instance may cost"
    assert page.next_page_token
    assert await names(service, filter=dear) == []


async def test_a_page_token_is_good_for_its_own_filter(service: Service) -> None:
    await some(service)
    page = await service.runtime.instances.list("", filter="version >= 0", page_size=1)
    with pytest.raises(PageTokenInvalid):
        await service.runtime.instances.list("", filter="version > 0", page_token=page.next_page_token)
    with pytest.raises(PageTokenInvalid):
        await service.runtime.instances.list("", page_token=page.next_page_token)


async def test_a_page_of_large_contexts_ends_early_and_the_next_goes_on(service: Service) -> None:
    for number in range(12):
        await service.create(key(f"large-{number:02}"))
        await service.send("NOTE", {"who": "x" * 250_000}, of=key(f"large-{number:02}"))
    runtime = service.runtime
    for wanted in ({}, {"tags": ("resting",)}):
        page = await runtime.instances.list("", page_size=100, view=View.FULL, **wanted)
        assert 8 <= len(page.items) < 12
        assert page.next_page_token
        assert len(await names(service, view=View.FULL, **wanted)) == 12
        assert len((await runtime.instances.list("", page_size=100, view=View.BASIC, **wanted)).items) == 12
    for _ in range(12):
        await service.send("NOTE", {"who": "y" * 250_000}, of=key("large-00"))
    for newest_first in (False, True):
        found: list[int] = []
        token = ""
        while token or not found:
            entries = await runtime.instances.journal(
                key("large-00"), page_size=100, page_token=token, newest_first=newest_first
            )
            assert len(entries.items) < 13
            found += [entry.seq for entry in entries.items]
            token = entries.next_page_token
        assert found == sorted(range(1, 15), reverse=newest_first)
