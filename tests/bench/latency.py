"""Time from commit in the primary to the topic and to the target, under a steady load.

Both servers note their commits (`track_commit_timestamp`), and all clocks are this machine's. A row counts with its
last change: that is the one whose transaction `xmin` names on either side.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import psycopg
from confluent_kafka import Consumer, TopicPartition

from daemon import broker
from daemon.cli.output import say
from daemon.embedded.postgres_install import binaries
from tests.bench.figures import Figure, Size, single
from tests.bench.rows import PACED_INSERT, PACED_UPDATE, TABLE
from tests.bench.site import APPLY, CAPTURE, TOPIC, Site, site

RATE = 1_000
WRITERS = 8
WARM_UP = timedelta(seconds=3)
ROWS_BEFORE = 50_000
POLL_SECONDS = 0.1

_RATE_REACHED = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_COMMITTED = f"""
SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000 FROM {TABLE}
WHERE at >= %s AND at < %s
"""


def run(size: Size) -> list[Figure]:
    """Percentiles in milliseconds, over all rows changed after the first seconds."""
    lasting = timedelta(seconds=size.latency_seconds)
    with site() as here:
        here.write(ROWS_BEFORE, 1_000)
        here.start(CAPTURE)
        here.start(APPLY)
        here.settle()
        with _listening(here) as received:
            since = datetime.now(UTC) + WARM_UP
            rate = _write_paced(here, WARM_UP + lasting)
            here.settle()
        committed = _committed(here.primary, since, since + lasting)
        arrived = _committed(here.ledger, since, since + lasting)
    say(f"latency: {len(committed):,} rows measured")
    return [
        single("latency", "load: transactions of one row", "1/s", rate, f"{RATE:,}"),
        *_percentiles("commit to record in topic", committed, received, ("<= 5", "<= 25")),
        *_percentiles("commit to commit in target", committed, arrived, ("<= 25", "<= 100")),
    ]


def _percentiles(
    what: str, committed: Mapping[str, float], seen: Mapping[str, float], goals: tuple[str, str]
) -> list[Figure]:
    """Raises KeyError when a row was not seen."""
    percentile = quantiles((seen[row] - at for row, at in committed.items()), n=100, method="inclusive")
    p50, p99 = goals
    return [
        single("latency", f"{what}, p50", "ms", percentile[49], p50),
        single("latency", f"{what}, p99", "ms", percentile[98], p99),
    ]


def _write_paced(here: Site, lasting: timedelta) -> float:
    """Transactions of one row, inserts or updates, at moments by chance around an even rate; how many a second."""
    scripts = {"insert.sql": PACED_INSERT, "update.sql": PACED_UPDATE}
    for name, script in scripts.items():
        (here.directory / name).write_text(script)
    command: list[str | Path] = [
        *(binaries(18, None) / "pgbench", "--no-vacuum", "--protocol=prepared", f"--rate={RATE}"),
        *(f"--client={WRITERS}", f"--time={lasting.total_seconds():.0f}", f"--define=rows={ROWS_BEFORE}"),
        *(f"--file={here.directory / name}" for name in scripts),
        here.primary,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _RATE_REACHED.search(done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"pgbench ended with {done.returncode}: {done.stderr}")
    return float(found[1])


@contextmanager
def _listening(here: Site) -> Iterator[dict[str, float]]:
    """Row to the moment, in milliseconds since 1970, at which a consumer had its last record in hands."""
    partitions = [(TOPIC, number) for number in range(here.settings.kafka.partitions)]
    ends = broker.offsets(here.admin, partitions, "latest")
    consumer = Consumer({**broker.options(here.settings.kafka), "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(*partition, offset) for partition, offset in ends.items()])
    received: dict[str, float] = {}
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is not None and message.error() is None:
                now = time.time() * 1000
                received[json.loads(message.key() or b"{}")["id"]] = now

    thread = threading.Thread(target=listen, name="bench-listen")
    thread.start()
    try:
        yield received
    finally:
        stop.set()
        thread.join()
        consumer.close()


def _committed(dsn: str, since: datetime, until: datetime) -> dict[str, float]:
    """Row to the moment of its last commit, in milliseconds since 1970."""
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(_COMMITTED.encode(), [since, until]).fetchall())
