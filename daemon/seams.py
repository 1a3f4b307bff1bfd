"""Places at which a crash test kills the process: off unless `PLACEMAT_SEAM` names one.

`PLACEMAT_SEAM=after_ack:17` kills the process, as SIGKILL does, when it comes by for the 17th time.
"""

from __future__ import annotations

import os
import signal
from typing import Final

AFTER_PRODUCE: Final = "after_produce"
AFTER_ACK: Final = "after_ack"
BEFORE_CONFIRM: Final = "before_confirm"
AFTER_CONFIRM: Final = "after_confirm"
AFTER_MARK: Final = "after_mark"
AFTER_CHUNK_ROWS: Final = "after_chunk_rows"
BEFORE_PROGRESS: Final = "before_progress"
BEFORE_TARGET_COMMIT: Final = "before_target_commit"
AFTER_TARGET_COMMIT: Final = "after_target_commit"
BEFORE_OFFSET_COMMIT: Final = "before_offset_commit"

_wanted, _, _count = os.environ.get("PLACEMAT_SEAM", "").partition(":")
_left = int(_count or 1)


def seam(name: str) -> None:
    """Die here if a test wants it."""
    global _left
    if name == _wanted:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
