"""Waiting for a slot that another capture reads, until that one is gone or says nothing any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog

from daemon.capture import slot
from daemon.capture.reader import Reader
from daemon.config.source import Source
from daemon.supervisor import Report

LOOK_SECONDS = 0.5
BEAT_SECONDS = 20.0
_END = """
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active_pid = %s
"""
log = structlog.get_logger(__name__)


class Standby:
    """The server would keep the slot for a lost capture until `wal_sender_timeout`; that is a minute by default.

    A capture that has sent no status for `session_timeout_seconds`, by our clock alone, is taken for lost, and its
    connection is ended. Should it live after all: it is fenced by the epoch, and sinks drop what it sends late.
    """

    def __init__(
        self, reader: Reader, source: str, config: Source, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._source = source
        self._slot = config.slot
        self._patience = config.session_timeout_seconds
        self._clock = clock

    def wait(self, stop: threading.Event, report: Report) -> None:
        """Return when the slot seems to be free, or `stop` is set.

        Raises OperatorError when a program that is none of ours reads the slot.
        """
        seen, since, told = None, self._clock(), float("-inf")
        while not stop.is_set():
            holder = slot.holder(self._reader, self._source, self._slot)
            if holder is None:
                return
            now = self._clock()
            if now - told > BEAT_SECONDS:
                told = now
                report("standby", "Another capture reads the slot.")
            if holder != seen:
                seen, since = holder, now
            elif holder.reply is not None and now - since > self._patience:
                self._end(holder)
                seen, since = None, now
            stop.wait(LOOK_SECONDS)

    def _end(self, holder: slot.Holder) -> None:
        log.warning("capture that says nothing is replaced", source=self._source, pid=holder.pid)
        with suppress(psycopg.errors.InsufficientPrivilege):  # then the server ends it, later
            self._reader.query(_END, [self._slot, holder.pid])
