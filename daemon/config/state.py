"""`[state]`: where the daemon keeps what it knows."""

from __future__ import annotations

from pydantic import Field, SecretStr

from daemon.config.section import Section


class State(Section):
    """The daemon's own database."""

    url: SecretStr = Field(description="PostgreSQL URL of the daemon's own database.")
