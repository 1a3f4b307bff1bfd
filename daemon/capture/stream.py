"""A replication connection: frames come out, status goes in.

psycopg has no replication API; this is libpq's COPY BOTH. Status updates go out on a timer of their own, whatever
the reader does, because a server that hears nothing for `wal_sender_timeout` ends the connection. The positions told
are only those that `confirm` was given. A status asks for an answer when nothing has come since the last one, so that
a server from which nothing comes any more is one that is lost, and not merely idle.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import pq, sql

from daemon.capture import pgoutput
from daemon.capture.values import SESSION
from daemon.database import CONNECT_TIMEOUT_SECONDS, LIVELY, hang_up, ready
from daemon.errors import Unavailable

ANSWER_SECONDS = 5.0
"""Longest time for the server to answer a command of the replication protocol."""


@dataclass(frozen=True, slots=True)
class Server:
    """`history` is the file of a timeline later than the first: `parent <tab> LSN of its end <tab> reason` by line."""

    system_identifier: str
    timeline: int
    history: str


@dataclass(frozen=True, slots=True)
class Pace:
    """`status_seconds` lie between two updates; after `silence_seconds` without a frame the server is lost."""

    status_seconds: float
    silence_seconds: float


class SlotInUse(Exception):
    """The slot is read by another connection."""


class SlotRefused(Exception):
    """The slot cannot be read: it is missing, or what it was kept for is gone. The text is the server's reason."""


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
                **LIVELY,
            )
        except psycopg.Error as error:
            raise Unavailable(f"source {source} cannot be reached: {_line(error)}") from error
        self._pgconn = self._connection.pgconn
        self._lock = threading.Lock()  # libpq allows one call at a time on a connection
        self._closing = threading.Event()
        self._status: threading.Thread | None = None
        self._received = 0
        self._confirmed = 0
        self._frames = 0
        self._failure: str | None = None
        self._on_loss: Callable[[], None] = lambda: None

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

    def start(self, slot: str, publication: str, pace: Pace, on_loss: Callable[[], None] = lambda: None) -> None:
        """Begin to stream from the slot's confirmed position. `on_loss` is called when the server is lost.

        Raises SlotInUse, SlotRefused, and Unavailable.
        """
        statement = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {}, messages 'true')"
        ).format(sql.Identifier(slot), sql.Literal(sql.Identifier(publication).as_string()))
        result = self._ask(statement.as_string(self._connection))
        if result.status != pq.ExecStatus.COPY_BOTH:
            self._refused(result)
        self._on_loss = on_loss
        self._status = threading.Thread(
            target=self._keep_telling, args=(pace,), name=f"status:{self._source}", daemon=True
        )
        self._status.start()

    def read(self, timeout_seconds: float, limit: int) -> list[bytes]:
        """The frames that are there, at most `limit`; waits for the first one up to the time-out.

        Raises Unavailable when the connection has ended.
        """
        frames = self._drain(limit)
        if not frames:
            ready(self._pgconn.socket, select.POLLIN, timeout_seconds)
            with self._lock:
                self._call(self._pgconn.consume_input)  # after a time-out too: TLS may hold bytes back
            frames = self._drain(limit)
        self._frames += len(frames)
        return frames

    def check(self) -> None:
        """Raises Unavailable when the connection has ended, for a loop that does not read for a while."""
        if self._failure:
            raise Unavailable(self._failure)

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
        self.check()
        length, data = self._call(lambda: self._pgconn.get_copy_data(1))
        if length == -1:
            raise Unavailable(self._failure or f"the replication connection of source {self._source} ended")
        return length, data

    def _keep_telling(self, pace: Pace) -> None:
        heard, frames = time.monotonic(), self._frames
        while not self._closing.wait(pace.status_seconds):
            # What waits in the socket is not read yet, and has come.
            if frames != self._frames or ready(self._pgconn.socket, select.POLLIN, 0):
                heard, frames = time.monotonic(), self._frames
            elif time.monotonic() - heard > pace.silence_seconds:
                self._lose(f"source {self._source} has sent nothing for {pace.silence_seconds:g} seconds")
                return
            try:
                self._tell(ask=True)
            except Unavailable as error:
                self._lose(str(error))
                return

    def _lose(self, why: str) -> None:
        """The reader ends with this, also when it waits."""
        self._failure = why
        hang_up(self._connection)
        self._on_loss()

    def _tell(self, *, ask: bool = False) -> None:
        confirmed, received = self._confirmed, self._received
        update = pgoutput.status_update(received, confirmed, time.time_ns() // 1000, ask=ask)
        with self._lock:
            if self._closing.is_set():
                return
            self._call(lambda: self._pgconn.put_copy_data(update))
            self._flush(time.monotonic() + ANSWER_SECONDS)

    def _flush(self, deadline: float) -> None:
        while self._call(self._pgconn.flush):
            if not ready(self._pgconn.socket, select.POLLOUT, deadline - time.monotonic()):
                raise Unavailable(f"source {self._source} takes nothing any more")

    def _call(self, step: Any) -> Any:
        try:
            return step()
        except psycopg.Error as error:
            ended = f"the replication connection of source {self._source} ended: {_line(error)}"
            raise Unavailable(self._failure or ended) from error

    def _query(self, command: str) -> pq.abc.PGresult:
        result = self._ask(command)
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise Unavailable(f"source {self._source} answers {command} with: {_message(result)}")
        return result

    def _ask(self, command: str) -> pq.abc.PGresult:
        """The first result of a command. libpq's own call would wait for ever for a server that is lost."""
        deadline = time.monotonic() + ANSWER_SECONDS
        self._call(lambda: self._pgconn.send_query(command.encode()))
        self._flush(deadline)
        found = self._next_result(command, deadline)
        if found is None:
            raise Unavailable(f"source {self._source} gives no answer to {command}")
        if found.status != pq.ExecStatus.COPY_BOTH:
            while self._next_result(command, deadline) is not None:
                pass
        return found

    def _next_result(self, command: str, deadline: float) -> pq.abc.PGresult | None:
        while self._call(self._pgconn.is_busy):
            if not ready(self._pgconn.socket, select.POLLIN, deadline - time.monotonic()):
                raise Unavailable(f"source {self._source} does not answer {command}")
            self._call(self._pgconn.consume_input)
        return self._call(self._pgconn.get_result)  # type: ignore[no-any-return]

    def _refused(self, result: pq.abc.PGresult) -> None:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate == "55006":  # object_in_use
            raise SlotInUse(_message(result))
        # undefined_object; object_not_in_prerequisite_state: the WAL is gone, or the slot is another's
        if sqlstate in ("42704", "55000"):
            raise SlotRefused(_message(result))
        raise Unavailable(f"source {self._source} does not start replication: {_message(result)}")


def _cell(result: pq.abc.PGresult, column: int) -> str:
    value = result.get_value(0, column)
    return value.decode() if value else ""


def _message(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no reason given").decode()


def _line(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
