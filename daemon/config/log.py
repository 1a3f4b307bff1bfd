"""`[log]`: what is logged, and in which form."""

from __future__ import annotations

from typing import Literal

from daemon.config.section import Section


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"
