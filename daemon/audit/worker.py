"""The worker `audit:<target>`: relays what the target tells, and signs and publishes heads of the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog

from connectors.contract import Outbox
from daemon.audit import chain, sealing, signing
from daemon.audit.heads.kept import Heads
from daemon.audit.heads.report import ReportedHeads
from daemon.audit.ledger import Ledger, turn
from daemon.audit.relay import ROWS, Relay
from daemon.audit.sealing import months_before
from daemon.audit.signing import Signer
from daemon.config.settings import Settings
from daemon.errors import OperatorError, Unavailable
from daemon.supervisor import Report

IDLE_SECONDS = 0.2
STANDBY_SECONDS = 1.0
SEAL_SECONDS = 3_600.0
log = structlog.get_logger(__name__)


class AuditWorker:
    """Relays one target. `open_outbox` makes the reader of what it tells."""

    def __init__(self, settings: Settings, name: str, open_outbox: Callable[[], Outbox]) -> None:
        self._settings = settings
        self._target = name
        self._open_outbox = open_outbox

    @property
    def name(self) -> str:
        return f"audit:{self._target}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        signer = signing.signer(self._settings.audit)
        outbox = self._open_outbox()
        try:
            with chain.kept(), self._connected() as connection:
                while not stop.is_set():
                    with turn(connection, self._target) as ours:
                        if ours:
                            break
                    report("standby", None)
                    stop.wait(STANDBY_SECONDS)
                if stop.is_set():
                    return
                ledger = Ledger(connection, self._target)
                heads = ReportedHeads(
                    Heads(connection, self._settings.audit, self._settings.kafka, signer), self._target, report
                )
                relay = Relay(self._settings, self._target, outbox, ledger)
                try:
                    self._work(relay, heads, lambda: self._seal(connection, signer), stop)
                finally:
                    relay.close()
                    heads.close()
        finally:
            outbox.close()

    def _work(self, relay: Relay, heads: ReportedHeads, seal: Callable[[], None], stop: threading.Event) -> None:
        heads.report()
        sealed = float("-inf")
        while not stop.is_set():
            rows = relay.run(stop)
            heads.tick()
            if time.monotonic() - sealed > SEAL_SECONDS:
                sealed = time.monotonic()
                seal()
            if rows < ROWS:
                stop.wait(IDLE_SECONDS)
        heads.finish()

    def _seal(self, connection: psycopg.Connection[Any], signer: Signer | None) -> None:
        """Old months go into files, if that is asked for; one of the workers does it for all."""
        audit = self._settings.audit
        if audit.retention_months is None or audit.segments is None or self._target != min(self._settings.targets):
            return
        try:
            sealing.finish(connection, audit.segments)
            for month in sealing.months(connection, months_before(datetime.now(UTC).date(), audit.retention_months)):
                found = sealing.seal(connection, month, audit.segments, signer, "placemat", "retention")
                log.info("month of the audit log was sealed", month=f"{month:%Y-%m}", file=found.file)
        except OperatorError as error:
            connection.rollback()
            log.error("month of the audit log cannot be sealed", error=str(error), advice=error.try_)  # noqa: TRY400 it is a sentence for the operator
        connection.commit()

    def _connected(self) -> psycopg.Connection[Any]:
        try:
            return chain.connect(self._settings.state.url.get_secret_value())
        except OperatorError as error:
            raise Unavailable(str(error)) from error
