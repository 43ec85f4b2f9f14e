"""Nodes that can be called by each other, and which of them have text that workers bring."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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
        "nodes",
        sa.Column("node_id", _name(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("lease_until_ms", _integer(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_nodes"),
    )
    op.create_table(
        "fed_generations",
        *_key(),
        sa.Column("effect_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("node_id", _name(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "effect_id", name="pk_fed_generations"),
    )
    op.create_index("ix_fed_generations_node_id", "fed_generations", ["node_id"])
