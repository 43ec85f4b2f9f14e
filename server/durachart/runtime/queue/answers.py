"""Replies as callers get them, whether their transaction has just been committed or was long ago."""

from __future__ import annotations

import orjson

from durachart.runtime.effect_views import EffectRecord, effect_record
from durachart.runtime.errors import (
    EffectNotFound,
    InstanceCorrupt,
    Refusal,
    StoreUnavailable,
)
from durachart.runtime.history import History
from durachart.runtime.instance import NOT_AS_WRITTEN, Instance
from durachart.runtime.judge.deletion import last_state
from durachart.runtime.judge.refusals import refusal_of
from durachart.runtime.judge.stepping import Recorded
from durachart.runtime.log import Transition
from durachart.runtime.present import instance_state, running_effects_of
from durachart.runtime.queue.batch import Reply
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import Accepted, Created, Deleted, InstanceState, Stopped, View
from durachart.store.interface import LogEntry, Store
from durachart.store.rows import RequestRow


class Answers:
    """Turns replies into answers. A recorded answer is the original one but for ``replayed``."""

    def __init__(self, store: Store, history: History) -> None:
        """Read recorded answers from ``store``."""
        self._store = store
        self._history = history

    async def created(self, reply: Reply, view: View) -> Created:
        """The answer to a creation. Raises the refusal if it was refused."""
        if reply.request is not None:
            return Created((await self._recorded(reply, reply.request)).state(view), replayed=True)
        recorded = _require_accepted(reply)
        return Created(_state(recorded, view), reply.repeated)

    async def accepted(self, reply: Reply, view: View) -> Accepted:
        """The answer to an event. Raises the refusal if it was refused."""
        if reply.request is not None:
            transition = await self._recorded(reply, reply.request)
            changed = transition.entry.row.changed
            return Accepted(transition.state(view), changed, True, transition.shown)
        return self.accepted_now(reply, view)

    def accepted_now(self, reply: Reply, view: View) -> Accepted:
        """The answer to an event that was not recorded before (``reply.request`` is None)."""
        recorded = _require_accepted(reply)
        return Accepted(_state(recorded, view), recorded.row.changed, reply.repeated, recorded.effects)

    async def deleted(self, reply: Reply) -> Deleted:
        """The answer to a deletion. Raises the refusal if it was refused."""
        if reply.request is not None:
            return Deleted(last_state((await self._entry(reply.request)).row), replayed=True)
        return Deleted(last_state(_require_accepted(reply).row), reply.repeated)

    async def stopped(self, reply: Reply, view: View) -> Stopped:
        """The answer to a stop."""
        if reply.request is not None:
            done, effect_id, running = orjson.loads(reply.request.answer or "[]")
            instance = (await self._recorded(reply, reply.request)).instance
            effects = running_effects_of(running)
            state = instance_state(instance, view, instance.updated_at_ms, effects)
            return Stopped(state, done, effect_id)
        verdict = reply.verdict
        if verdict.error is not None:
            raise verdict.error
        current = verdict.seat.instance
        assert current is not None
        state = instance_state(current, view, current.updated_at_ms)
        return Stopped(state, verdict.done, verdict.effect_id)

    async def revived(self, reply: Reply) -> EffectRecord:
        """The answer to a revival. Raises the refusal if it was refused."""
        if reply.request is None:
            if reply.verdict.error is not None:
                _require_accepted(reply)
            assert reply.verdict.revived is not None
            return effect_record(reply.verdict.revived)
        request = reply.request
        details = orjson.loads((await self._entry(request)).row.details or "{}")
        attempt, max_attempts, scheduled_at_ms = orjson.loads(request.answer or "[]")
        with told_as_unavailable():
            row = await self._store.get_effect(request.key, details["retried"])
        if row is None:
            raise EffectNotFound(request.key, details["retried"])
        # As it was then, whatever has become of it.
        then = row._replace(
            state="available",
            attempt=attempt,
            max_attempts=max_attempts,
            scheduled_at_ms=scheduled_at_ms,
            finalized_at_ms=None,
            output=None,
        )
        return effect_record(then)

    async def _recorded(self, reply: Reply, request: RequestRow) -> Transition:
        """The transition a request made. Raises the refusal if it was refused."""
        entry = await self._entry(request)
        with told_as_unavailable():
            return (await self._history.transitions([entry], reply.verdict.seat.instance))[0]

    async def _entry(self, request: RequestRow) -> LogEntry:
        """The accepted row a request made. Raises the refusal if it was refused."""
        with told_as_unavailable():
            entries = await self._store.list_journal(request.key, from_seq=request.seq, limit=1)
        if not entries or entries[0].row.seq != request.seq:
            # Asked again, the request is known no more, and is judged.
            raise StoreUnavailable(
                f"the answer to request {request.request_id!r} of {request.key} was removed while it was "
                "read; ask again"
            )
        if entries[0].row.outcome == "refused":
            try:
                refusal = refusal_of(entries[0].row)
            except NOT_AS_WRITTEN as error:
                raise InstanceCorrupt(request.key, f"journal row {request.seq}: {error}") from error
            refusal.replayed = True
            raise refusal
        return entries[0]


def _require_accepted(reply: Reply) -> Recorded:
    error = reply.verdict.error
    if error is None:
        return reply.verdict.recorded[-1]
    if reply.repeated and isinstance(error, Refusal) and reply.verdict.recorded:
        error = refusal_of(reply.verdict.recorded[-1].row)
        error.replayed = True
    raise error


def _state(recorded: Recorded, view: View) -> InstanceState:
    instance: Instance | None = recorded.after
    assert instance is not None
    return instance_state(instance, view, recorded.row.at_ms)
