"""Bring a database's schema to what this release knows."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, text

from durachart.store.errors import StoreTooNew

HEAD: Final = "0003"
"""The newest migration in ``migrations/versions``; a test holds it to that."""


def upgrade(connection: Connection, name: str) -> None:
    """Run the migrations that ``connection``'s database has not seen, in the transaction it is in.

    Args:
        connection: In a transaction; the caller commits it.
        name: Of the database, for messages.

    Raises:
        StoreTooNew: A newer release has migrated it.
    """
    current = _current(connection)
    if current == HEAD:
        return
    # Imported only when there is something to migrate: it takes longer to load than a server to start.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "durachart.store:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreTooNew(
            f"the database {name} has schema {current}, which this release does not know "
            f"(it knows up to {HEAD}); a newer release wrote it: run that one or a later one"
        )
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    """The last migration the database has seen, as Alembic keeps it; None: it has seen none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
