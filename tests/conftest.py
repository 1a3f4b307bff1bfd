"""Where fixtures come from: each `fix_*.py` holds those of one kind."""

from __future__ import annotations

pytest_plugins = [
    "tests.fix_servers",
    "tests.fix_proxy",
    "tests.fix_site",
    "tests.fix_capture",
    "tests.fix_standby_server",
]
