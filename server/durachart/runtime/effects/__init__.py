"""The outbox, as workers and operators see it."""
