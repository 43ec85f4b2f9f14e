"""Bring a database's schema to what this release knows."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from durachart.store.errors import StoreTooNew


def upgrade(connection: Connection, name: str) -> None:
    """Run the migrations that ``connection``'s database has not seen, in the transaction it is in.

    Args:
        connection: In a transaction; the caller commits it.
        name: Of the database, for messages.

    Raises:
        StoreTooNew: A newer release has migrated it.
    """
    config = Config()
    config.set_main_option("script_location", "durachart.store:migrations")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None and current not in known:
        raise StoreTooNew(
            f"the database {name} has schema {current}, which this release does not know "
            f"(it knows up to {scripts.get_current_head()}); a newer release wrote it: "
            "run that one or a later one"
        )
    command.upgrade(config, "head")
