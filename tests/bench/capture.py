"""Capture beside `pg_recvlogical`: the same transactions, each from a slot of its own."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psycopg

from daemon.embedded.postgres_install import binaries
from tests.bench.clock import when
from tests.bench.comparison import Comparison
from tests.bench.figures import Figure, Size, Speed
from tests.bench.rows import PUBLICATION
from tests.bench.site import CAPTURE, Site, checkpoint, cpu_seconds, site

SLOT = "bench_recv"
PER_TRANSACTION = 100
FINE_SECONDS = 0.002


def run(size: Size) -> list[Figure]:
    """Rows a second, each from the first row that came out to the last, and what of a core a row takes."""
    what = f"rows of 650 bytes, transactions of {PER_TRANSACTION}"
    comparison = Comparison("capture", what, "row", "pg_recvlogical", "ratio >= 0.9")
    with site() as here:
        _create_slot(here)
        return comparison.run(
            size.rounds,
            lambda: _written(here, size.capture_rows),
            lambda _: _captured(here, size.capture_rows),
            lambda end: _received(here, size.capture_rows, end),
        )


def _written(here: Site, rows: int) -> str:
    """New rows in the primary's WAL; the LSN of their end."""
    here.write(rows, PER_TRANSACTION)
    end = _flushed(here)
    here.write_one()  # something behind the end, so that the receiver sees that it is there
    checkpoint(here.primary)
    return end


def _captured(here: Site, rows: int) -> Speed:
    """By the topic's end offsets, which count what Kafka has acknowledged."""
    base = here.published()
    process = here.start(CAPTURE)
    first = here.when_published(base + 1)
    used = cpu_seconds(process)
    last = here.when_published(base + rows)
    used = cpu_seconds(process) - used
    here.when_published(base + rows + 1)  # the row behind the end is nobody's work later
    here.stop(CAPTURE)
    return Speed(rows, last - first, used)


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
