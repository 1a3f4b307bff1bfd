"""A replication connection: frames come out, status goes in.

psycopg has no replication API; this is libpq's COPY BOTH. Status updates go out on a timer of their own, whatever
the reader does, because a server that hears nothing for `wal_sender_timeout` ends the connection. The positions told
are only those that `confirm` was given.
"""

from __future__ import annotations

import select
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import pq, sql

from daemon.capture import pgoutput
from daemon.capture.values import SESSION
from daemon.errors import GAP_ADVICE, OperatorError, Unavailable

CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Server:
    """`history` is the file of a timeline later than the first: `parent <tab> LSN of its end <tab> reason` by line."""

    system_identifier: str
    timeline: int
    history: str


class SlotInUse(Exception):
    """The slot is read by another connection."""


class ReplicationStream:
    """One START_REPLICATION. `read` belongs to one thread; `confirm` and `close` are safe from any."""

    def __init__(self, url: str, source: str, application_name: str) -> None:
        self._source = source
        try:
            self._connection: psycopg.Connection[Any] = psycopg.connect(
                url,
                autocommit=True,
                replication="database",
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=application_name,
                options=SESSION,
            )
        except psycopg.Error as error:
            raise Unavailable(f"source {source} cannot be reached: {_line(error)}") from error
        self._pgconn = self._connection.pgconn
        self._lock = threading.Lock()  # libpq allows one call at a time on a connection
        self._closing = threading.Event()
        self._status: threading.Thread | None = None
        self._received = 0
        self._confirmed = 0
        self._failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def identify(self) -> Server:
        """Which server this is; only before `start`."""
        result = self._query("IDENTIFY_SYSTEM")
        timeline = int(_cell(result, 1))
        history = _cell(self._query(f"TIMELINE_HISTORY {timeline}"), 1) if timeline > 1 else ""
        return Server(_cell(result, 0), timeline, history)

    def start(self, slot: str, publication: str, status_seconds: float) -> None:
        """Begin to stream from the slot's confirmed position.

        Raises SlotInUse, OperatorError when slot or publication are not what they must be, and Unavailable.
        """
        statement = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {}, messages 'true')"
        ).format(sql.Identifier(slot), sql.Literal(sql.Identifier(publication).as_string()))
        result = self._pgconn.exec_(statement.as_string(self._connection).encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            self._refused(result, slot)
        self._status = threading.Thread(
            target=self._keep_telling, args=(status_seconds,), name=f"status:{self._source}", daemon=True
        )
        self._status.start()

    def read(self, timeout_seconds: float, limit: int) -> list[bytes]:
        """The frames that are there, at most `limit`; waits for the first one up to the time-out.

        Raises Unavailable when the connection has ended.
        """
        frames = self._drain(limit)
        if not frames and _readable(self._pgconn.socket, timeout_seconds):
            with self._lock:
                self._call(self._pgconn.consume_input)
            frames = self._drain(limit)
        return frames

    def received(self, lsn: int, *, reply: bool = False) -> None:
        """Note how far the stream was read; `reply` tells the server at once."""
        self._received = max(self._received, lsn)
        if reply:
            self._tell()

    def confirm(self, lsn: int) -> None:
        """Tell the server that everything below `lsn` is safe; a lower position than before is ignored."""
        if lsn > self._confirmed:
            self._confirmed = lsn
            self._received = max(self._received, lsn)
            self._tell()

    def close(self) -> None:
        """End the connection; what was confirmed has been told."""
        self._closing.set()
        if self._status is not None and self._status is not threading.current_thread():
            self._status.join()
        with self._lock:
            self._connection.close()

    def _drain(self, limit: int) -> list[bytes]:
        frames: list[bytes] = []
        with self._lock:
            while len(frames) < limit:
                length, data = self._call_copy()
                if length <= 0:
                    break
                frames.append(bytes(data))
        return frames

    def _call_copy(self) -> tuple[int, memoryview]:
        try:
            length, data = self._pgconn.get_copy_data(1)
        except psycopg.Error as error:
            raise Unavailable(f"the replication connection of source {self._source} ended: {_line(error)}") from error
        if length == -1:
            raise Unavailable(f"the replication connection of source {self._source} ended")
        if self._failure:
            raise Unavailable(self._failure)
        return length, data

    def _keep_telling(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            try:
                self._tell()
            except Unavailable as error:
                self._failure = str(error)  # the reader ends with it
                return

    def _tell(self) -> None:
        confirmed, received = self._confirmed, self._received
        update = pgoutput.status_update(received, confirmed, time.time_ns() // 1000)
        with self._lock:
            if self._closing.is_set():
                return
            self._call(lambda: self._pgconn.put_copy_data(update))
            while self._call(self._pgconn.flush):
                select.select([], [self._pgconn.socket], [], 1.0)

    def _call(self, step: Any) -> Any:
        try:
            return step()
        except psycopg.Error as error:
            raise Unavailable(f"the replication connection of source {self._source} ended: {_line(error)}") from error

    def _query(self, command: str) -> pq.abc.PGresult:
        result = self._call(lambda: self._pgconn.exec_(command.encode()))
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise Unavailable(f"source {self._source} answers {command} with: {_message(result)}")
        return result  # type: ignore[no-any-return]

    def _refused(self, result: pq.abc.PGresult, slot: str) -> None:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate == "55006":  # object_in_use
            raise SlotInUse(_message(result))
        if sqlstate == "42704":  # undefined_object
            raise OperatorError(
                f"Slot {slot} of source {self._source} is missing: what was committed since is not known.",
                GAP_ADVICE,
            )
        if sqlstate == "55000":  # object_not_in_prerequisite_state: the WAL is gone, or the slot is another's
            raise OperatorError(
                f"Slot {slot} of source {self._source} cannot be read any more: {_message(result)}.",
                GAP_ADVICE,
            )
        raise Unavailable(f"source {self._source} does not start replication: {_message(result)}")


def _readable(socket: int, timeout_seconds: float) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLERR | select.POLLHUP)
    return bool(poll.poll(timeout_seconds * 1000))


def _cell(result: pq.abc.PGresult, column: int) -> str:
    value = result.get_value(0, column)
    return value.decode() if value else ""


def _message(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no reason given").decode()


def _line(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
