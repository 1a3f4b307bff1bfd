"""Alembic migrations of the daemon's own database; `daemon.state.engine.migrate` runs them."""
