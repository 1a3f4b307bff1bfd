"""The worker of one source: takes the slot, or waits for it in standby, and captures until it is asked to end."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import psycopg

from daemon.capture import slot
from daemon.capture.capture import Capture
from daemon.capture.reader import Reader
from daemon.capture.stream import ReplicationStream, Server, SlotInUse
from daemon.config import Settings
from daemon.database import reason
from daemon.errors import Unavailable
from daemon.state.capture import CaptureState
from daemon.state.engine import connect
from daemon.supervisor import Report

STANDBY_RETRY_SECONDS = 0.5
LONGEST_STATUS_SECONDS = 10.0


class CaptureWorker:
    """See `daemon.supervisor.Worker`."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._settings = settings
        self._source = source

    @property
    def name(self) -> str:
        return f"capture:{self._source}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker.run`."""
        try:
            self._run(stop, report)
        except psycopg.OperationalError as error:
            raise Unavailable(f"source {self._source} does not answer: {reason(error)}") from error

    def _run(self, stop: threading.Event, report: Report) -> None:
        with ExitStack() as stack:
            reader = Reader(self._settings.sources[self._source].url.get_secret_value(), self._source)
            stack.callback(reader.close)
            taken = self._take_slot(stack, reader, stop, report)
            if taken is None:
                return
            engine = connect(self._settings.state.url.get_secret_value())
            stack.callback(engine.dispose)
            state = CaptureState(engine, self._source)
            Capture(self._settings, self._source, reader, *taken, state, stack).run(stop, report)

    def _take_slot(
        self, stack: ExitStack, reader: Reader, stop: threading.Event, report: Report
    ) -> tuple[ReplicationStream, Server] | None:
        """The stream, started; None when asked to end while another capture reads the slot."""
        config = self._settings.sources[self._source]
        # A third of the time after which the server gives up on us: one status may be lost on the way.
        timeout = reader.setting_ms("wal_sender_timeout") / 1000
        status_seconds = min(LONGEST_STATUS_SECONDS, timeout / 3) if timeout else LONGEST_STATUS_SECONDS
        while not stop.is_set():
            stream = ReplicationStream(
                config.url.get_secret_value(), self._source, f"{slot.APPLICATION_NAME} {self._source}"
            )
            try:
                server = stream.identify()
                stream.start(config.slot, config.publication, status_seconds)
            except SlotInUse:
                stream.close()
                slot.refuse_strangers(reader, self._source, config.slot)
                report("standby", "Another capture reads the slot.")
                stop.wait(STANDBY_RETRY_SECONDS)
            except BaseException:  # raised again, once the stream is closed
                stream.close()
                raise
            else:
                stack.callback(stream.close)
                return stream, server
        return None
