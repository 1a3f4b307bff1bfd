"""The worker of one source: takes the slot, or waits for it in standby, and captures until it is asked to end."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import psycopg

from daemon.capture import slot
from daemon.capture.capture import AskedToEnd, Capture
from daemon.capture.reader import Reader
from daemon.capture.standby import Standby
from daemon.capture.stream import Pace, ReplicationStream, Server, SlotInUse, SlotRefused
from daemon.config.settings import Settings
from daemon.database import reason
from daemon.errors import Unavailable
from daemon.state.capture import CaptureState
from daemon.state.engine import connect
from daemon.supervisor import Report
from daemon.watch import Watch

STATUSES_OF_A_SESSION = 4
STUCK_SECONDS = 5.0


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
            stack.enter_context(_unstick(reader, stop))
            engine = connect(self._settings.state.url.get_secret_value())
            stack.callback(engine.dispose)
            state = CaptureState(engine, self._source)
            taken = self._take_slot(stack, reader, state, stop, report)
            if taken is None:
                return
            try:
                Capture(self._settings, self._source, reader, *taken, state, stop, stack).run(report)
            except AskedToEnd:
                return
            except psycopg.OperationalError:
                taken[0].check()  # a stream that was lost ended the reader too, and is the reason
                raise

    def _take_slot(
        self, stack: ExitStack, reader: Reader, state: CaptureState, stop: threading.Event, report: Report
    ) -> tuple[ReplicationStream, Server] | None:
        """The stream, started; None when asked to end while another capture reads the slot."""
        config = self._settings.sources[self._source]
        standby = Standby(reader, self._source, config)
        while not stop.is_set():
            slot.await_promotion(reader, self._source)
            stream = ReplicationStream(
                config.url.get_secret_value(), self._source, f"{slot.APPLICATION_NAME} {self._source}"
            )
            try:
                server = stream.identify()
                stream.start(config.slot, config.publication, self._pace(reader), reader.hang_up)
            except SlotInUse:
                stream.close()
                standby.wait(stop, report)
            except SlotRefused as refusal:
                stream.close()
                found, left = slot.look(reader, config.slot), state.peek()
                slot.check_server(self._source, config.slot, left, server.system_identifier)
                slot.check(found, self._source, config.slot, left.flush_lsn)
                raise Unavailable(f"source {self._source} does not start replication: {refusal}") from refusal
            except BaseException:  # raised again, once the stream is closed
                stream.close()
                raise
            else:
                stack.callback(stream.close)
                return stream, server
        return None

    def _pace(self, reader: Reader) -> Pace:
        """Standing by, others see from our statuses that we live; one or two may be lost on the way to the server."""
        often = self._settings.sources[self._source].session_timeout_seconds / STATUSES_OF_A_SESSION
        timeout = reader.setting_ms("wal_sender_timeout") / 1000
        return Pace(min(often, timeout / 3), timeout) if timeout else Pace(often, 60.0)


def _unstick(reader: Reader, stop: threading.Event) -> Watch:
    """A server that is frozen answers nothing and ends nothing: asked to end, we do not wait for it for long."""
    asked_at: list[float] = []

    def look() -> None:
        if stop.is_set():
            asked_at.append(time.monotonic())
            if asked_at[-1] - asked_at[0] > STUCK_SECONDS:
                reader.hang_up()

    return Watch(look, 0.5, "end")
