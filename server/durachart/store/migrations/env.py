"""Alembic's entry: runs on the connection it is given, in the transaction that connection is in."""

from __future__ import annotations

from alembic import context

from durachart.store.schema import metadata

# Server-side commands only ever run through durachart.store.migrate; `alembic revision --autogenerate`, which
# only developers use, passes a connection in the same way.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
