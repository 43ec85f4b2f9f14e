"""Alembic's migrations; ``durachart.store.migrate`` runs them when a store is opened."""
