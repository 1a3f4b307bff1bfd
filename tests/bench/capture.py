"""Capture beside `pg_recvlogical`: the same transactions, each from a slot of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from daemon.cli.output import say
from daemon.embedded.postgres_install import binaries
from tests.bench.clock import when
from tests.bench.figures import Figure, Size
from tests.bench.rows import PUBLICATION
from tests.bench.site import CAPTURE, Site, checkpoint, site

SLOT = "bench_recv"
PER_TRANSACTION = 100
FINE_SECONDS = 0.002


def run(size: Size) -> list[Figure]:
    """Rows a second, each from the first row that came out to the last."""
    rounds: list[tuple[float, float | None]] = []
    with site() as here:
        _create_slot(here)
        for number in range(size.rounds):
            here.write(size.capture_rows, PER_TRANSACTION)
            end = _flushed(here)
            here.write_one()  # something behind the end, so that the receiver sees that it is there
            checkpoint(here.primary)
            rates: dict[Callable[[Site, int, str], float], float] = {}
            for measured in (_captured, _received)[:: 1 if number % 2 == 0 else -1]:
                rates[measured] = measured(here, size.capture_rows, end)
            rounds.append((rates[_captured], rates[_received]))
            say(f"capture, round {number + 1}: {rates[_captured]:,.0f} rows/s beside {rates[_received]:,.0f}")
    what = f"rows of 650 bytes, transactions of {PER_TRANSACTION}"
    return [Figure("capture", what, "rows/s", rounds, "pg_recvlogical", "ratio >= 0.9")]


def _captured(here: Site, rows: int, _end: str) -> float:
    """By the topic's end offsets, which count what Kafka has acknowledged."""
    base = here.published()
    here.start(CAPTURE)
    first = here.when(lambda: here.published() > base, "the first record")
    last = here.when(lambda: here.published() >= base + rows, "the last record")
    here.when(lambda: here.published() > base + rows, "the row behind the end")
    here.stop(CAPTURE)
    return rows / (last - first)


def _received(here: Site, rows: int, end: str) -> float:
    file = here.directory / "received"
    command: list[str | Path] = [
        *(binaries(18, None) / "pg_recvlogical", "--dbname", here.primary, "--slot", SLOT, "--start", "--no-loop"),
        *("--endpos", end, "--file", file, "--option", "proto_version=1", "--option", "messages=true"),
        *("--option", f"publication_names={PUBLICATION}"),
    ]
    with subprocess.Popen(command) as process:
        first = when(lambda: _size(file) or process.poll() is not None, "the first row", pause_seconds=FINE_SECONDS)
        code = process.wait()
    last = time.monotonic()
    received = _size(file)
    file.unlink(missing_ok=True)
    if code or received < rows * 500:
        raise RuntimeError(f"pg_recvlogical ended with {code} after {received} bytes")
    return rows / (last - first)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _create_slot(here: Site) -> None:
    with psycopg.connect(here.primary, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [SLOT])


def _flushed(here: Site) -> str:
    with psycopg.connect(here.primary, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])
