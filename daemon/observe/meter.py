"""Keeps the gauges of lag true: a thread per target and per source, so that a dead one delays no other's numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Self

import structlog
from prometheus_client import Gauge

from connectors.contract import Outbox
from daemon.config.settings import Settings
from daemon.errors import OperatorError, Unavailable
from daemon.observe import metrics
from daemon.observe.lag import SourceLag
from daemon.observe.measure import ReadProgress, SourceMeasure, TargetMeasure
from daemon.observe.topic_log import TopicLog
from daemon.observe.wal_guard import Level, level

INTERVAL_SECONDS = 1.0
JOIN_SECONDS = 5.0
SOURCE_GAUGES = (metrics.CAPTURE_LAG_BYTES, metrics.SLOT_SAFE_BYTES, metrics.SLOT_SECONDS_LEFT)
TARGET_GAUGES = (metrics.LAG_RECORDS, metrics.LAG_SECONDS, metrics.LAG_BYTES, metrics.PARKED_KEYS)
BACKLOG_GAUGES = (metrics.PUSH_BACKLOG_KEYS, metrics.PUSH_BACKLOG_SECONDS, metrics.FETCH_UNREAD)
log = structlog.get_logger(__name__)

ProgressFor = Callable[[Settings, str], ReadProgress]
OutboxFor = Callable[[Settings, str], Outbox]


class Meters:
    """The meters of a process's workers; `names` are those of the workers."""

    def __init__(
        self, settings: Settings, names: Sequence[str], progress_for: ProgressFor, outbox_for: OutboxFor | None = None
    ) -> None:
        """`outbox_for`: where the audit log is on; who applies also measures what it lacks."""
        self._settings = settings
        self._progress_for = progress_for
        self._outbox_for = outbox_for
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=tuple(name.split(":", 1)), name=f"meter {name}", daemon=True)
            for name in names
            if name.startswith(("capture:", "apply:"))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)

    def _run(self, kind: str, name: str) -> None:
        meter = self._meter_source if kind == "capture" else self._meter_target
        while not self._stop.is_set():
            try:
                meter(name)
            except (OperatorError, Unavailable):
                # Kafka is away: the workers say so; here it only means that there is no number.
                self._stop.wait(INTERVAL_SECONDS)
            except Exception as error:  # noqa: BLE001 numbers that are not known must not end the work they are about
                log.error("lag cannot be measured", kind=kind, name=name, error=type(error).__name__)  # noqa: TRY400 the message may hold a URL
                self._stop.wait(INTERVAL_SECONDS)

    def _meter_target(self, name: str) -> None:
        with ExitStack() as stack:
            topics = stack.enter_context(TopicLog(self._settings.kafka))
            progress = self._progress_for(self._settings, name)
            stack.callback(progress.close)
            for gauge in (*TARGET_GAUGES, *BACKLOG_GAUGES):
                stack.callback(show, gauge, name, None)
            measure = TargetMeasure(self._settings, name, topics, progress)
            tables = self._settings.targets[name].needed
            stack.callback(show_paused, name, tables, {})
            outbox = self._outbox_for(self._settings, name) if self._outbox_for is not None else None
            if outbox is not None:
                stack.callback(outbox.close)
                stack.callback(_show_audit_lag, name, None)
            while not self._stop.is_set():
                lag = measure()
                show_paused(name, tables, lag.paused or {})
                for gauge, value in zip(TARGET_GAUGES, (lag.records, lag.seconds, lag.bytes, lag.parked), strict=True):
                    show(gauge, name, value)
                if (backlog := lag.backlog) is not None:
                    waits = backlog.keys, backlog.seconds, backlog.unread
                    for gauge, value in zip(BACKLOG_GAUGES, waits, strict=True):
                        show(gauge, name, value)
                if outbox is not None:
                    _show_audit_lag(name, outbox)
                self._stop.wait(INTERVAL_SECONDS)

    def _meter_source(self, name: str) -> None:
        config = self._settings.sources[name]
        told = Level.FINE
        with ExitStack() as stack:
            measure = SourceMeasure(config)
            stack.callback(measure.close)
            for gauge in SOURCE_GAUGES:
                stack.callback(show, gauge, name, None)
            while not self._stop.is_set():
                lag = measure()
                for gauge, value in zip(SOURCE_GAUGES, (lag.bytes, lag.keep.safe_bytes, lag.seconds_left), strict=True):
                    show(gauge, name, value)
                found = level(lag.keep, lag.seconds_left, config.wal_warning_minutes, config.wal_alert_minutes)
                if found != told:
                    told = found
                    _tell(found, name, lag)
                self._stop.wait(INTERVAL_SECONDS)


def _show_audit_lag(target: str, outbox: Outbox | None) -> None:
    try:
        lag = outbox.lag() if outbox is not None else None
    except (OperatorError, Unavailable):
        lag = None
    show(metrics.AUDIT_LAG_ROWS, target, lag.rows if lag is not None else None)
    show(metrics.AUDIT_LAG_SECONDS, target, lag.seconds if lag is not None else None)


def _tell(found: Level, source: str, lag: SourceLag) -> None:
    """Once for every change: who reads the log every second is told by the metric."""
    minutes = None if lag.seconds_left is None else round(lag.seconds_left / 60, 1)
    facts = {"source": source, "minutes_left": minutes, "slot": str(lag.keep), "wal_status": lag.keep.wal_status}
    match found:
        case Level.ALERT:
            log.error("slot is about to be lost", **facts)
        case Level.WARNING:
            log.warning("slot will be lost", **facts)
        case _:
            log.info("slot is safe again", **facts)


def show(gauge: Gauge, label: str, value: float | None) -> None:
    """Set a series, or take it away when its number is not known."""
    if value is not None:
        gauge.labels(label).set(value)
        return
    with suppress(KeyError):
        gauge.remove(label)


def show_paused(target: str, tables: Iterable[str], waiting: Mapping[str, int]) -> None:
    """A series for each paused table, and none for the others."""
    for table in tables:
        if (records := waiting.get(table)) is not None:
            metrics.PAUSED_RECORDS.labels(target, table).set(records)
        else:
            with suppress(KeyError):
                metrics.PAUSED_RECORDS.remove(target, table)
