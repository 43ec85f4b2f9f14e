"""What a store promises. It holds rows and orders them; it never steps a machine.

Commands travel in batches: ``load`` gives what the judge needs to know, the judge decides in memory,
``commit`` writes what follows in one transaction. The transaction holds only if everything judged is still
current: the version of each instance that moves, the position of each new row in its instance's journal, the
lease of each effect that ends, each request id. Where that fails nothing of the affected instance is written,
and its commands are judged again. With a database of its own (``exclusive``) this happens for request ids and
leases alone; with many nodes on one database it is how they agree.

Everything is read as of some moment between call and return, except where a cut is promised. Every method
raises ``StoreFailed`` when the database fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from durachart.store.keys import InstanceKey
from durachart.store.nodes import NodeTable
from durachart.store.rows import (
    AttemptRow,
    EffectEnd,
    EffectRow,
    InstanceRow,
    JournalRow,
    MachineRow,
    RequestRow,
    StepRow,
    TimerRow,
    TombstoneRow,
)

RequestKey = tuple[InstanceKey, str]
EffectKey = tuple[InstanceKey, str]


class Head(NamedTuple):
    """The end of an instance's journal.

    Attributes:
        seq: Of the last row; 0 when there is none.
        hash: Of the last row; empty when there is none.
        now_ms: Of the last row; 0 when there is none.
    """

    seq: int
    hash: bytes
    now_ms: int


NO_JOURNAL = Head(0, b"", 0)


class StoredInstance(NamedTuple):
    """An instance and what hangs on it, from one cut.

    Attributes:
        row: Its current snapshot.
        effects: Those that have not ended, in the order in which they were asked for.
    """

    row: InstanceRow
    effects: tuple[EffectRow, ...]


class Wanted(NamedTuple):
    """What a batch needs to know.

    Attributes:
        instances: Whole instances, with their heads.
        requests: Whether these ids were used.
        effects: These effects, whether they ended or not.
    """

    instances: Sequence[InstanceKey] = ()
    requests: Sequence[RequestKey] = ()
    effects: Sequence[EffectKey] = ()


class Loaded(NamedTuple):
    """Answer to `Wanted`; what does not exist is left out.

    Attributes:
        instances: By key.
        heads: Of the wanted instances that have a journal, whether they exist or not.
        requests: By key and id.
        effects: By key and id.
    """

    instances: Mapping[InstanceKey, StoredInstance]
    heads: Mapping[InstanceKey, Head]
    requests: Mapping[RequestKey, RequestRow]
    effects: Mapping[EffectKey, EffectRow]


class InstanceUpdate(NamedTuple):
    """An instance moves on.

    Attributes:
        row: As it is after the batch.
        from_version: The version it was judged on; the commit holds only if it is still there, of the same
            uid.
    """

    row: InstanceRow
    from_version: int


class InstanceDelete(NamedTuple):
    """An instance goes; its journal row is among the batch's, and so are the ends of its effects and timers.

    Or one was never made, because its creation was refused: then its rows are remembered alone.

    Attributes:
        tombstone: What is remembered of it. Of one that was never made the uid is ``#`` and the row's seq.
        from_version: The version it was judged on; the commit holds only if it is still there, of the
            tombstone's uid. None: it was made in the same batch, and was never stored.
        purge: After everything else of the batch, remove its journal rows and request ids with a ``seq``
            under ``tombstone.seq``, and all effects, attempts and steps but those of the instance that the
            batch leaves under this name, if it leaves one.
    """

    tombstone: TombstoneRow
    from_version: int | None
    purge: bool


class EffectRevival(NamedTuple):
    """A discarded effect is given back for further attempts; holds only if it is still discarded.

    Attributes:
        row: As it is from now on: available, not finalized, with more attempts allowed.
    """

    row: EffectRow


@dataclass(slots=True)
class Writes:
    """Everything one batch changes, in the order of judging.

    No instance is both inserted and updated; one may be deleted and inserted anew, in that order.

    Attributes:
        journal: New rows, in log order.
        deletes: Instances that go, before ``inserts``.
        inserts: New instances.
        updates: Instances that move on, each once.
        effects: New effects.
        revivals: Effects given back.
        ends: Effects that end; one that began in the same batch does not appear here.
        late_ends: What came of effects that had been cancelled; kept once, under the lease they had.
        timers_gone: Pending timers that fired or were cancelled, as they were.
        timers: New pending timers.
        requests: Request ids now used.
        occupied: Instances that a creation was refused for, by key and uid: they must still be there.
    """

    journal: list[JournalRow] = field(default_factory=list)
    deletes: list[InstanceDelete] = field(default_factory=list)
    inserts: list[InstanceRow] = field(default_factory=list)
    updates: list[InstanceUpdate] = field(default_factory=list)
    effects: list[EffectRow] = field(default_factory=list)
    revivals: list[EffectRevival] = field(default_factory=list)
    ends: list[EffectEnd] = field(default_factory=list)
    late_ends: list[EffectEnd] = field(default_factory=list)
    timers_gone: list[TimerRow] = field(default_factory=list)
    timers: list[TimerRow] = field(default_factory=list)
    requests: list[RequestRow] = field(default_factory=list)
    occupied: list[tuple[InstanceKey, str]] = field(default_factory=list)


class CommitResult(NamedTuple):
    """What became of a batch.

    Attributes:
        revisions: Of each journal row, in the order given; 0 for rows of stale instances, which are not
            written.
        stale: Instances of which nothing was written, because what was judged is not current. Their commands
            must be loaded and judged again; the rest is on disk.
    """

    revisions: Sequence[int]
    stale: frozenset[InstanceKey]


class LogEntry(NamedTuple):
    """A journal row with its place in the log."""

    revision: int
    row: JournalRow


class LogMatch(NamedTuple):
    """Which rows of the log are wanted: of these instances, or of this machine. Both None: all.

    Attributes:
        keys: Instances.
        machine: Namespace and machine id.
    """

    keys: frozenset[InstanceKey] | None = None
    machine: tuple[str, str] | None = None


class LogPage(NamedTuple):
    """A stretch of the log.

    Attributes:
        entries: Accepted rows that match, by revision.
        through: Every match up to this revision that is still there is in ``entries``: go on after it.
        compacted: Retention had removed rows up to this revision by then, inclusive: whoever asked for what
            comes after an older one may have missed some. 0: none.
    """

    entries: list[LogEntry]
    through: int
    compacted: int = 0


class InstancesPage(NamedTuple):
    """A stretch of a list of instances, from one cut.

    Attributes:
        instances: In the order asked for.
        revision: The newest final revision at the cut: the log up to it is what it is for ever.
        ahead: With several nodes a cut may show rows of the log beyond ``revision``, others between them
            still being on their way. For each instance that has such rows: the revision of its last one.
            The cut shows what those rows made.
    """

    instances: list[StoredInstance]
    revision: int
    ahead: Mapping[InstanceKey, int] = MappingProxyType({})


class Leased(NamedTuple):
    """An effect as a lease found it.

    Attributes:
        row: As it is now: running, unless exhausted.
        exhausted: The last attempt allowed was made and its lease ran out. The lease is the caller's to end
            it.
    """

    row: EffectRow
    exhausted: bool


class EffectMatch(NamedTuple):
    """Which effects are wanted.

    Attributes:
        namespace: Exactly this one; ``""`` is the default namespace.
        machine_id: Empty: any.
        instance_id: Empty: any; else ``machine_id`` is given.
        handler: Empty: any.
        state: Empty: any.
    """

    namespace: str
    machine_id: str = ""
    instance_id: str = ""
    handler: str = ""
    state: str = ""


class EffectPosition(NamedTuple):
    """A place in the order of `Store.list_effects`: that of the primary key, and in it of asking."""

    shard: int
    machine_id: str
    instance_id: str
    created_at_ms: int
    version: int
    ordinal: int


class EffectDetails(NamedTuple):
    """An effect and what was recorded of it, from one cut.

    Attributes:
        row: The effect.
        attempts: By number.
        steps: In the order in which they first began.
    """

    row: EffectRow
    attempts: tuple[AttemptRow, ...]
    steps: tuple[StepRow, ...]


class Hint(Flag):
    """What another node may have changed."""

    LOG = auto()
    """The journal has new rows."""
    EFFECTS = auto()
    """Effects wait to be leased."""
    ENDS = auto()
    """Effects have ended."""
    TIMERS = auto()
    """Timers were armed."""
    MACHINES = auto()
    """A machine has a new version."""


HintListener = Callable[[Hint], None]

Expirable = Literal["instances", "deleted", "effects", "requests", "journal"]
"""What retention removes: finished instances with all that is theirs; what deleted instances left behind;
effects of living instances that have ended, with attempts and steps; request ids; journal rows of living
instances that lie before their newest whole context (and are not needed to replay a request's answer)."""


class Store(NodeTable, Protocol):
    """See the module."""

    @property
    def uid(self) -> str:
        """Identity of the database, 32 characters; a restored copy keeps it."""

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can write while this is open: then what was committed here is current."""

    @property
    def system(self) -> str:
        """What kind of database it is, as OpenTelemetry's ``db.system.name`` has it."""

    async def open(self) -> None:
        """Bring the schema up to date and start. Raises StoreNotOpened with a sentence for people."""

    async def close(self) -> None:
        """Finish what was begun and let go of the database. May be called again."""

    def listen(self, listener: HintListener) -> None:
        """Call ``listener`` on the loop when another node may have changed something.

        Also when that may have gone unnoticed for a while. A call may be lost: whoever waits for others looks
        for itself every now and then. Nobody is called where the database is ``exclusive``.
        """

    # --- the event path ---

    async def load(self, wanted: Wanted) -> Loaded:
        """What a batch needs to know."""

    def commit(self, writes: Writes) -> Awaitable[CommitResult]:
        """One transaction; on disk when the result is there. It may begin before it is awaited.

        After StoreFailed nothing of it will be read here, and what is cached of its instances must be loaded
        again.
        """

    # --- instances ---

    async def get_instance(self, key: InstanceKey) -> StoredInstance | None:
        """One instance; None when it does not exist."""

    async def get_instances(self, keys: Sequence[InstanceKey]) -> InstancesPage:
        """Those that exist, in key order."""

    async def list_instances(
        self, namespace: str, machine_id: str, status: str, after: tuple[str, str], limit: int
    ) -> InstancesPage:
        """By machine id, then instance id, strictly after ``after``; empty: any."""

    # --- the journal ---

    async def list_journal(
        self, key: InstanceKey, *, from_seq: int, limit: int, newest_first: bool = False
    ) -> list[LogEntry]:
        """One instance's rows from ``from_seq`` (inclusive) on, by seq, or backwards."""

    async def read_results(self, key: InstanceKey, first_seq: int, last_seq: int) -> list[LogEntry]:
        """The accepted rows from ``first_seq`` to ``last_seq``, both inclusive, by seq."""

    async def read_log(self, after: int, limit: int, match: LogMatch, known: Sequence[int] = ()) -> LogPage:
        """Accepted rows with a final revision over ``after``, by revision, at most ``limit`` (>= 1).

        Rows with the revisions ``known``, which the caller has, are left out.
        """

    async def newest_revision(self) -> int:
        """Of the last row that is final: all rows up to it are there. 0 when there is none.

        With one node that is the last row committed. With several, a row committed a moment ago may lie
        beyond it, as long as a transaction that began before is under way.
        """

    async def compacted_revision(self) -> int:
        """Retention removed rows up to this revision, inclusive; 0: none."""

    # --- machines ---

    async def insert_machine(self, row: MachineRow) -> tuple[MachineRow, bool]:
        """Store a definition as its machine's next version (``row.version`` is not looked at).

        Returns the stored row, and whether it is new: the same content is stored once.
        """

    async def get_machine(self, machine_id: str, version: int) -> MachineRow | None:
        """One version; 0 is the latest."""

    async def list_machines(self, after: str, limit: int) -> list[MachineRow]:
        """The latest version of each, by machine id, strictly after ``after``; documents are left empty."""

    # --- effects ---

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, now_ms: int, until_ms: int
    ) -> list[Leased]:
        """Begin an attempt at up to ``limit`` effects that wait, by priority, then those that wait longest.

        Each gets a row in the list of its attempts; an attempt before it that never ended is ended as lost,
        at ``now_ms``. One that is exhausted begins no attempt: its last one is ended as lost. Several nodes
        may ask at once: each effect goes to one of them, and none waits for another.
        """

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
    ) -> EffectRow | None:
        """Prolong a lease; None: it is lost."""

    async def retry_effect(
        self,
        key: InstanceKey,
        effect_id: str,
        lease_token: str,
        *,
        now_ms: int,
        scheduled_at_ms: int,
        error: str,
        more_attempts: int = 0,
    ) -> EffectRow | None:
        """End an attempt as failed at ``now_ms``, for another one later; None: the lease is lost.

        The token is worth nothing any more; who held the lease is remembered. ``more_attempts`` are allowed
        beyond those allowed before: 1 when this one is not to count.
        """

    async def record_step(self, step: StepRow, lease_token: str) -> StepRow | None:
        """Keep a step under its effect's lease; returns it as stored, None: the lease is lost.

        ``ordinal`` and ``started_at_ms`` of a step that is known stay; one that has completed stays as it is.
        A new one comes after all that are known; its ``ordinal`` as given is not looked at.
        """

    async def list_steps(self, key: InstanceKey, effect_ids: Sequence[str]) -> list[StepRow]:
        """Of these effects of an instance, by effect id, then ordinal."""

    async def count_steps(self, key: InstanceKey, effect_id: str, *, but: str) -> int:
        """How many steps of an effect are known, the one named ``but`` left out."""

    async def get_effect_details(self, key: InstanceKey, effect_id: str) -> EffectDetails | None:
        """One effect with attempts and steps; None when there is no such effect."""

    async def list_effects(
        self, match: EffectMatch, after: EffectPosition | None, limit: int
    ) -> list[EffectRow]:
        """Those that match, in the order of `EffectPosition`, strictly after ``after``; None: all."""

    async def next_effect_at(self, handlers: Sequence[str]) -> int | None:
        """When the next effect may begin an attempt, in ms; None: none waits."""

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRow | None:
        """One effect; None when there is no such effect."""

    async def latest_effect(self, key: InstanceKey, handler: str) -> EffectRow | None:
        """The effect asked for last among those that have not ended, else among all; empty handler: any."""

    # --- timers ---

    async def due_timers(self, before_ms: int, limit: int) -> list[TimerRow]:
        """Timers due at or before ``before_ms``, by due instant, then order of arming, claimed or not."""

    async def claim_due_timers(self, before_ms: int, limit: int, until_ms: int) -> list[TimerRow]:
        """Take on timers due at or before ``before_ms``, by due instant, then order of arming.

        Where several nodes share the database, one that another node has taken on is left out until that
        node's claim ends at its ``until_ms``. A claim promises nothing: whether a timer fires is decided by
        the transaction that fires it.
        """

    async def next_due(self) -> int | None:
        """When the next timer can be claimed, in ms; None: none is pending."""

    # --- retention ---

    async def expire(self, what: Expirable, before_ms: int, limit: int) -> int:
        """Remove up to ``limit`` of what ended or was written before ``before_ms``, in a short transaction.

        Nothing that can still be read is half removed: an instance goes first, then, some rows at a time,
        what it left behind. Where journal rows go, the compacted revision rises with them. Returns how many
        were removed; 0: there are no more for now. On several nodes one at a time removes; to the others it
        seems that there is nothing.
        """
