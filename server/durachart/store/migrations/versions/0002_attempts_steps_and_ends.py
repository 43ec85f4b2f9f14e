"""Priorities, attempts and steps of effects; claims on timers; deleted instances."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
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
    op.add_column(
        "effects", sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("2"))
    )
    op.add_column("effects", sa.Column("attempted_at_ms", _integer()))
    op.add_column(
        "timers", sa.Column("claimed_until_ms", _integer(), nullable=False, server_default=sa.text("0"))
    )
    op.drop_index("ix_effects_waiting", "effects")
    _partial_index(
        "ix_effects_waiting",
        "effects",
        ["handler", "priority", "scheduled_at_ms"],
        sa.text("finalized_at_ms IS NULL"),
    )
    _partial_index("ix_effects_discarded", "effects", [*_KEY], sa.text("state = 'discarded'"))
    _partial_index("ix_effects_ended", "effects", ["finalized_at_ms"], sa.text("finalized_at_ms IS NOT NULL"))
    _partial_index("ix_instances_finished", "instances", ["updated_at_ms"], sa.text("status != 'active'"))
    op.create_table(
        "effect_attempts",
        *_key(),
        sa.Column("effect_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_holder", sa.Text(), nullable=False),
        sa.Column("started_at_ms", _integer(), nullable=False),
        sa.Column("ended_at_ms", _integer()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint(*_KEY, "effect_id", "attempt", name="pk_effect_attempts"),
    )
    op.create_table(
        "effect_steps",
        *_key(),
        sa.Column("effect_id", sa.Text(), nullable=False),
        sa.Column("name", _name(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("started_at_ms", _integer(), nullable=False),
        sa.Column("ended_at_ms", _integer()),
        sa.PrimaryKeyConstraint(*_KEY, "effect_id", "name", name="pk_effect_steps"),
    )
    op.create_table(
        "tombstones",
        *_key(),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("seq", _integer(), nullable=False),
        sa.Column("deleted_at_ms", _integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "uid", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_deleted_at_ms", "tombstones", ["deleted_at_ms"])


def _partial_index(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
