"""`[http]`: where metrics and health are answered."""

from __future__ import annotations

from pydantic import Field

from daemon.config.section import Section


class Http(Section):
    """Where /metrics, /healthz and /readyz are answered."""

    host: str = "127.0.0.1"
    port: int = Field(9464, ge=0, le=65_535, description="0 takes a free port.")
