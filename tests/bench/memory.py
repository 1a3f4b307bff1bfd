"""Resident memory of the two workers: at rest, through transactions that fit nowhere, and through a backlog.

Each trial is drawn too: one line for each worker, from its beginning to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import psutil  # type: ignore[import-untyped]

from daemon.cli.output import say
from tests.bench.figures import Figure, Size, single
from tests.bench.site import APPLY, CAPTURE, Site, site

MIB = 1024 * 1024
LOOK_SECONDS = 0.02
REST_SECONDS = 5.0
PER_TRANSACTION = 100
NAMES = {CAPTURE: "capture", APPLY: "apply"}
IDLE_GOALS = {CAPTURE: "<= 90", APPLY: ""}
PEAK_GOAL = "idle + 50 at most"

COLUMNS = 72
LEVELS = "▁▂▃▄▅▆▇█"

Peaks = dict[str, float]
"""Worker to MiB."""


def run(size: Size) -> list[Figure]:
    """MiB by worker: at rest, and the highest that was seen in each trial."""
    with site() as here:
        processes = {worker: here.start(worker) for worker in NAMES}
        here.settle()
        threading.Event().wait(REST_SECONDS)
        idle = {worker: _resident(process) for worker, process in processes.items()}
        trials: dict[str, Peaks] = {}
        for rows in size.large_transactions:
            with _watched(processes) as peaks:
                here.write(rows, rows)
                here.settle()
            trials[f"1 transaction of {rows:,} rows"] = peaks
            say(f"memory, transaction of {rows:,} rows: {_told(peaks)}")
        trials[f"backlog of {size.backlog_rows:,} rows"] = _through_backlog(here, size.backlog_rows)
    return [
        figure
        for worker, name in NAMES.items()
        for figure in (
            single("memory", f"{name}, at rest", "MiB", idle[worker], IDLE_GOALS[worker]),
            *(single("memory", f"{name}, {trial}", "MiB", peaks[worker], PEAK_GOAL) for trial, peaks in trials.items()),
        )
    ]


def _through_backlog(here: Site, rows: int) -> Peaks:
    """Fresh workers, and all of it there when they start: in the WAL for one, then in the topics for the other."""
    for worker in NAMES:
        here.stop(worker)
    base = here.published()
    here.write(rows, PER_TRANSACTION)
    peaks: Peaks = {}
    with _watched({CAPTURE: here.start(CAPTURE)}) as seen:
        here.when_published(base + rows)
    peaks |= seen
    with _watched({APPLY: here.start(APPLY)}) as seen:
        here.settle()
    peaks |= seen
    say(f"memory, backlog of {rows:,} rows: {_told(peaks)}")
    return peaks


@contextmanager
def _watched(processes: Mapping[str, psutil.Process]) -> Iterator[Peaks]:
    """The highest resident size of each while the block runs."""
    peaks: Peaks = dict.fromkeys(processes, 0.0)
    samples: dict[str, list[float]] = {worker: [] for worker in processes}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_SECONDS):
            for worker, process in processes.items():
                samples[worker].append(resident := _resident(process))
                peaks[worker] = max(peaks[worker], resident)

    thread = threading.Thread(target=look, name="bench-memory")
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()
    for worker, seen in samples.items():
        say(f"memory over time, {NAMES[worker]:<8} {plot(seen)} 0 to {peaks[worker]:.0f} MiB")


def plot(samples: Sequence[float], columns: int = COLUMNS) -> str:
    """A line of blocks: the highest sample of each stretch of time, on a scale from 0 to the highest of all."""
    top = max(samples, default=0.0)
    if not top:
        return ""
    width = min(columns, len(samples))
    edges = [round(at * len(samples) / width) for at in range(width + 1)]
    highest = (max(samples[start:stop]) for start, stop in pairwise(edges))
    return "".join(LEVELS[min(len(LEVELS) - 1, int(value / top * len(LEVELS)))] for value in highest)


def _resident(process: psutil.Process) -> float:
    """0 when it is gone."""
    try:
        return float(process.memory_info().rss) / MIB
    except psutil.NoSuchProcess:
        return 0.0


def _told(peaks: Peaks) -> str:
    return ", ".join(f"{NAMES[worker]} {peak:.0f} MiB" for worker, peak in peaks.items())
