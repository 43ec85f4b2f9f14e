"""The tables, the same for every database.

Every primary key of what belongs to an instance begins with shard, namespace, machine id and instance id, so
that a sharded engine keeps an instance's rows together. Instants are milliseconds since the epoch, JSON is
text: what was judged is what is stored, byte for byte. ``""`` is no value in a text column unless the column
is nullable.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Lists are sorted by bytes on every database.
_NAME = Text().with_variant(Text(collation="C"), "postgresql")
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")


def _key() -> tuple[Column[int], Column[str], Column[str], Column[str]]:
    return (
        Column("shard", SmallInteger, nullable=False),
        Column("namespace", _NAME, nullable=False),
        Column("machine_id", _NAME, nullable=False),
        Column("instance_id", _NAME, nullable=False),
    )


# What the store knows about itself: its uid, and the revision up to which retention removed the journal.
store_info: Final = Table(
    "store_info",
    metadata,
    Column("name", _NAME, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name"),
)

# Every version of every machine. Rows never change.
definitions: Final = Table(
    "definitions",
    metadata,
    Column("machine_id", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", Text, nullable=False),
    Column("created_at_ms", _INTEGER, nullable=False),
    PrimaryKeyConstraint("machine_id", "version"),
    UniqueConstraint("machine_id", "content_hash"),
)

# The current snapshot of each instance.
instances: Final = Table(
    "instances",
    metadata,
    *_key(),
    Column("uid", Text, nullable=False),
    Column("machine_version", Integer, nullable=False),
    Column("version", _INTEGER, nullable=False),
    Column("status", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("context", Text, nullable=False),
    # Everything else the engine keeps: history value, timers, output. The truth about pending timers.
    Column("internals", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at_ms", _INTEGER, nullable=False),
    Column("updated_at_ms", _INTEGER, nullable=False),
    # The journal row that made this version, and the nearest row at or before it that holds a whole context.
    Column("seq", _INTEGER, nullable=False),
    Column("snapshot_seq", _INTEGER, nullable=False),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id"),
    Index(None, "namespace", "machine_id", "instance_id"),
)
_finished = instances.c.status != literal_column("'active'")
Index(
    "ix_instances_finished",
    instances.c.updated_at_ms,
    sqlite_where=_finished,
    postgresql_where=_finished,
)

# One row per attempt, accepted or refused; only ever appended. `revision` orders the rows of the whole store.
journal: Final = Table(
    "journal",
    metadata,
    Column("revision", _INTEGER, nullable=False),
    *_key(),
    Column("seq", _INTEGER, nullable=False),
    Column("uid", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    # The event's own keys or the creation's input, as received; when not kept, hex SHA-256 of its bytes.
    Column("data", Text, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", _INTEGER, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    # JSON: what a refusal answered beside its message, or which arming of a timer fired.
    Column("details", Text),
    Column("from_version", _INTEGER, nullable=False),
    Column("to_version", _INTEGER, nullable=False),
    Column("from_value", Text, nullable=False),
    Column("to_value", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("changed", Boolean, nullable=False),
    Column("effects", Text),
    Column("machine_version", Integer, nullable=False),
    Column("engine_version", Text, nullable=False),
    Column("expected_version", _INTEGER),
    Column("request_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    # The result of an accepted macrostep: the whole context, or a patch on that of the version before, or
    # neither when it is the same. `internals` is always whole.
    Column("context", Text),
    Column("context_patch", Text),
    Column("internals", Text),
    Column("snapshot_seq", _INTEGER, nullable=False),
    Column("running_effects", Text),
    Column("labels", Text),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "seq"),
    Index(None, "revision"),
)

PRIORITIES: Final = (1, 2, 3, 4)
"""Of effects, first to last, as River has them."""

# The outbox. States are River's: available, running, retryable; completed, discarded, cancelled are final.
effects: Final = Table(
    "effects",
    metadata,
    *_key(),
    Column("effect_id", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("version", _INTEGER, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("handler", Text, nullable=False),
    Column("params", Text, nullable=False),
    # The state whose entry action asked; null when another action did.
    Column("owner", Text),
    Column("cancel_on_exit", Boolean, nullable=False),
    Column("machine_version", Integer, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("created_at_ms", _INTEGER, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # When an attempt may begin; while one runs, that is when its lease ends.
    Column("scheduled_at_ms", _INTEGER, nullable=False),
    Column("lease_holder", Text, nullable=False),
    # Epoch, dot, random: the epoch goes up with every lease, which tells a late holder from the current one.
    Column("lease_token", Text, nullable=False),
    Column("lease_epoch", Integer, nullable=False),
    Column("finalized_at_ms", _INTEGER),
    Column("output", Text),
    Column("error", Text),
    # One of PRIORITIES.
    Column("priority", SmallInteger, nullable=False, server_default=text("2")),
    # When the last attempt began.
    Column("attempted_at_ms", _INTEGER),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "effect_id"),
)
_unfinished = effects.c.finalized_at_ms.is_(None)
_ended = effects.c.finalized_at_ms.is_not(None)
_discarded = effects.c.state == literal_column("'discarded'")
Index(
    "ix_effects_waiting",
    effects.c.handler,
    effects.c.priority,
    effects.c.scheduled_at_ms,
    sqlite_where=_unfinished,
    postgresql_where=_unfinished,
)
Index(
    "ix_effects_unfinished",
    effects.c.shard,
    effects.c.namespace,
    effects.c.machine_id,
    effects.c.instance_id,
    sqlite_where=_unfinished,
    postgresql_where=_unfinished,
)
Index(
    "ix_effects_discarded",
    effects.c.shard,
    effects.c.namespace,
    effects.c.machine_id,
    effects.c.instance_id,
    sqlite_where=_discarded,
    postgresql_where=_discarded,
)
Index("ix_effects_ended", effects.c.finalized_at_ms, sqlite_where=_ended, postgresql_where=_ended)

# One row per attempt at an effect.
effect_attempts: Final = Table(
    "effect_attempts",
    metadata,
    *_key(),
    Column("effect_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_holder", Text, nullable=False),
    Column("started_at_ms", _INTEGER, nullable=False),
    Column("ended_at_ms", _INTEGER),
    # "" while it is made; completed, failed, rejected, cancelled, lost.
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "effect_id", "attempt"),
)

# Named steps that handlers recorded; a completed one is skipped by later attempts.
effect_steps: Final = Table(
    "effect_steps",
    metadata,
    *_key(),
    Column("effect_id", Text, nullable=False),
    Column("name", _NAME, nullable=False),
    # The order in which they first began, from 1.
    Column("ordinal", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    # started, completed, failed
    Column("state", Text, nullable=False),
    Column("output", Text),
    Column("error", Text),
    Column("started_at_ms", _INTEGER, nullable=False),
    Column("ended_at_ms", _INTEGER),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "effect_id", "name"),
)

# An index of the pending timers of all snapshots, by due instant.
timers: Final = Table(
    "timers",
    metadata,
    *_key(),
    Column("timer_key", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("sequence", _INTEGER, nullable=False),
    Column("due_at_ms", _INTEGER, nullable=False),
    # A node has taken it on until then; whether it fires is decided by the transaction that fires it.
    Column("claimed_until_ms", _INTEGER, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "timer_key"),
    Index(None, "due_at_ms", "sequence"),
)

# Which request ids were used, and which journal row holds the answer.
requests: Final = Table(
    "requests",
    metadata,
    *_key(),
    Column("request_id", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    # The accepted row whose state was answered, or the refused row; 0: no row, `answer` says it all.
    Column("seq", _INTEGER, nullable=False),
    Column("answer", Text),
    Column("created_at_ms", _INTEGER, nullable=False),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "request_id"),
    Index(None, "created_at_ms"),
)

# Instances that were deleted; what they left behind, up to the journal row `seq`, waits for retention.
tombstones: Final = Table(
    "tombstones",
    metadata,
    *_key(),
    Column("uid", Text, nullable=False),
    Column("seq", _INTEGER, nullable=False),
    Column("deleted_at_ms", _INTEGER, nullable=False),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "uid"),
    Index(None, "deleted_at_ms"),
)

# Servers that share the database and can be called by each other, until their lease ends.
nodes: Final = Table(
    "nodes",
    metadata,
    Column("node_id", _NAME, nullable=False),
    Column("address", Text, nullable=False),
    Column("lease_until_ms", _INTEGER, nullable=False),
    PrimaryKeyConstraint("node_id"),
)

# Which node has the text of an attempt that a worker in a process of its own makes. Gone with the attempt, or
# with the node.
fed_generations: Final = Table(
    "fed_generations",
    metadata,
    *_key(),
    Column("effect_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node_id", _NAME, nullable=False),
    PrimaryKeyConstraint("shard", "namespace", "machine_id", "instance_id", "effect_id"),
    Index(None, "node_id"),
)
