"""Named places at which a crash test kills the process: nothing happens there unless the environment asks for it."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

VARIABLE: Final = "PLACEMAT_SEAM"
"""`NAME` or `NAME:COUNT`: the process kills itself with SIGKILL when it passes that place for the COUNTth time."""

BEFORE_TARGET_COMMIT: Final = "before_target_commit"
AFTER_TARGET_COMMIT: Final = "after_target_commit"
BEFORE_OFFSET_COMMIT: Final = "before_offset_commit"
BEFORE_REJOIN: Final = "before_rejoin"
AFTER_REJOIN: Final = "after_rejoin"
AFTER_PRODUCE: Final = "after_produce"
AFTER_ACK: Final = "after_ack"
BEFORE_CONFIRM: Final = "before_confirm"
AFTER_CONFIRM: Final = "after_confirm"
AFTER_ANNOUNCEMENT: Final = "after_announcement"
AFTER_VERSION: Final = "after_version"
AFTER_MARK: Final = "after_mark"
AFTER_CHUNK_ROWS: Final = "after_chunk_rows"
BEFORE_PROGRESS: Final = "before_progress"
AFTER_PROGRESS: Final = "after_progress"
BEFORE_REQUESTS: Final = "before_requests"
BEFORE_ANSWER: Final = "before_answer"
AFTER_REGROUP: Final = "after_regroup"
BEFORE_REPLAY_COMMIT: Final = "before_replay_commit"
AFTER_REPLAY_COMMIT: Final = "after_replay_commit"
AFTER_PUT_BACK: Final = "after_put_back"
AFTER_NEW_SLOT: Final = "after_new_slot"
AFTER_GAP_BEGUN: Final = "after_gap_begun"
AFTER_TARGET_SET: Final = "after_target_set"
AFTER_TABLE_ASKED: Final = "after_table_asked"
BEFORE_GAP_CLOSED: Final = "before_gap_closed"
AFTER_REKEY: Final = "after_rekey"
BEFORE_AUDIT_COMMIT: Final = "before_audit_commit"
AFTER_AUDIT_COMMIT: Final = "after_audit_commit"
AFTER_OUTBOX_DELETED: Final = "after_outbox_deleted"
AFTER_ERASURE_ASKED: Final = "after_erasure_asked"
AFTER_HUB_ERASED: Final = "after_hub_erased"
BEFORE_READ_STORED: Final = "before_read_stored"
AFTER_READ_STORED: Final = "after_read_stored"
AFTER_SWEEP_REQUESTED: Final = "after_sweep_requested"

_wanted, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count or 1)
_lock = threading.Lock()


def seam(name: str) -> None:
    """Pass one of the places above."""
    global _left
    if name != _wanted:
        return
    with _lock:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
