"""Capture beside `pg_recvlogical`: the same transactions, each from a slot of its own."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psycopg

from daemon.cli.output import say
from daemon.embedded.postgres_install import binaries
from tests.bench.clock import when
from tests.bench.figures import Figure, Size, Speed
from tests.bench.rows import PUBLICATION
from tests.bench.site import CAPTURE, Site, checkpoint, cpu_seconds, site

SLOT = "bench_recv"
PER_TRANSACTION = 100
FINE_SECONDS = 0.002


def run(size: Size) -> list[Figure]:
    """Rows a second, each from the first row that came out to the last, and what of a core a row takes."""
    rounds: list[tuple[float, float | None]] = []
    costs: list[tuple[float, float | None]] = []
    with site() as here:
        _create_slot(here)
        for number in range(size.rounds):
            here.write(size.capture_rows, PER_TRANSACTION)
            end = _flushed(here)
            here.write_one()  # something behind the end, so that the receiver sees that it is there
            checkpoint(here.primary)
            if number % 2 == 0:
                ours, theirs = _captured(here, size.capture_rows), _received(here, size.capture_rows, end)
            else:
                theirs, ours = _received(here, size.capture_rows, end), _captured(here, size.capture_rows)
            rounds.append((ours.rate, theirs))
            costs.append((ours.cpu_us, None))
            say(f"capture, round {number + 1}: {ours.rate:,.0f} rows/s beside {theirs:,.0f}")
    what = f"rows of 650 bytes, transactions of {PER_TRANSACTION}"
    return [
        Figure("capture", what, "rows/s", rounds, "pg_recvlogical", "ratio >= 0.9"),
        Figure("capture", "processor time of its process", "us/row", costs),
    ]


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
