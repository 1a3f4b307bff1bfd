"""Where fixtures come from: each `fix_*.py` holds those of one kind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
"""What a property claims has nothing to do with how long an example takes on a busy machine."""

MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 << 30
"""More than all servers of three workers need."""

if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    """Databases come and go by the thousand; nobody misses them, and a disk has no part in what tests claim."""

pytest_plugins = [
    "tests.fix_servers",
    "tests.fix_proxy",
    "tests.fix_site",
    "tests.fix_capture",
    "tests.fix_linked",
    "tests.fix_both",
    "tests.fix_mirrored",
    "tests.fix_office",
    "tests.fix_outward",
    "tests.fix_standby_server",
    "tests.fix_audit_log",
    "tests.fix_notion",
    "tests.fix_heard",
]
