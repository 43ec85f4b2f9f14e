"""Definitions, instances, journal, outbox, timers, requests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    # Lists are sorted by bytes on every database.
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _integer() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key() -> list[sa.Column[Any]]:
    return [
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("namespace", _name(), nullable=False),
        sa.Column("machine_id", _name(), nullable=False),
        sa.Column("instance_id", _name(), nullable=False),
    ]


_KEY = ("shard", "namespace", "machine_id", "instance_id")


def upgrade() -> None:
    op.create_table(
        "store_info",
        sa.Column("name", _name(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_store_info"),
    )
    op.create_table(
        "definitions",
        sa.Column("machine_id", _name(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("created_at_ms", _integer(), nullable=False),
        sa.PrimaryKeyConstraint("machine_id", "version", name="pk_definitions"),
        sa.UniqueConstraint("machine_id", "content_hash", name="uq_definitions_machine_id_content_hash"),
    )
    op.create_table(
        "instances",
        *_key(),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("machine_version", sa.Integer(), nullable=False),
        sa.Column("version", _integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("internals", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("created_at_ms", _integer(), nullable=False),
        sa.Column("updated_at_ms", _integer(), nullable=False),
        sa.Column("seq", _integer(), nullable=False),
        sa.Column("snapshot_seq", _integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_instances"),
    )
    op.create_index(
        "ix_instances_namespace_machine_id_instance_id",
        "instances",
        ["namespace", "machine_id", "instance_id"],
    )
    _create_journal()
    _create_effects()
    op.create_table(
        "timers",
        *_key(),
        sa.Column("timer_key", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("sequence", _integer(), nullable=False),
        sa.Column("due_at_ms", _integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "timer_key", name="pk_timers"),
    )
    op.create_index("ix_timers_due_at_ms_sequence", "timers", ["due_at_ms", "sequence"])
    op.create_table(
        "requests",
        *_key(),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("seq", _integer(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("created_at_ms", _integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "request_id", name="pk_requests"),
    )
    op.create_index("ix_requests_created_at_ms", "requests", ["created_at_ms"])


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("revision", _integer(), nullable=False),
        *_key(),
        sa.Column("seq", _integer(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("data_hash", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at_ms", _integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", sa.Text()),
        sa.Column("from_version", _integer(), nullable=False),
        sa.Column("to_version", _integer(), nullable=False),
        sa.Column("from_value", sa.Text(), nullable=False),
        sa.Column("to_value", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("effects", sa.Text()),
        sa.Column("machine_version", sa.Integer(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=False),
        sa.Column("expected_version", _integer()),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("context", sa.Text()),
        sa.Column("context_patch", sa.Text()),
        sa.Column("internals", sa.Text()),
        sa.Column("snapshot_seq", _integer(), nullable=False),
        sa.Column("running_effects", sa.Text()),
        sa.Column("labels", sa.Text()),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "seq", name="pk_journal"),
    )
    op.create_index("ix_journal_revision", "journal", ["revision"])


def _create_effects() -> None:
    op.create_table(
        "effects",
        *_key(),
        sa.Column("effect_id", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("version", _integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("cancel_on_exit", sa.Boolean(), nullable=False),
        sa.Column("machine_version", sa.Integer(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("created_at_ms", _integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("scheduled_at_ms", _integer(), nullable=False),
        sa.Column("lease_holder", sa.Text(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=False),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("finalized_at_ms", _integer()),
        sa.Column("output", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint(*_KEY, "effect_id", name="pk_effects"),
    )
    unfinished = sa.text("finalized_at_ms IS NULL")
    op.create_index(
        "ix_effects_waiting",
        "effects",
        ["handler", "scheduled_at_ms"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_index(
        "ix_effects_unfinished",
        "effects",
        list(_KEY),
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
