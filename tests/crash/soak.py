"""`python -m tests.crash.soak`: kills under load for as long as asked, and the witness's report at the end.

Copies of all tables go on during the whole run, so that kills fall into them too. Ends with status 3 when the witness
counts anything, and 1 when the time did not suffice for as many kills as asked.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import psycopg

from daemon.cli.output import say, write_json
from daemon.embedded import witness
from daemon.embedded.tate import load_tate
from tests.crash.kills import Kill, NothingInFlight, draw, revive
from tests.crash.stage import APPLY, CAPTURE, Stage, stage

COPY_AGAIN = """
UPDATE placemat.snapshots SET last_key = NULL, done_at = NULL
WHERE NOT EXISTS (SELECT FROM placemat.snapshots WHERE done_at IS NULL)
"""
COPYING = {
    "PLACEMAT_SOURCES__PRIMARY__SNAPSHOT__CHUNK_ROWS": "100",
    "PLACEMAT_SOURCES__PRIMARY__SNAPSHOT__ROWS_PER_SECOND": "1000",
}
"""A copy lasts over many kills, and leaves room for the load."""
TELL_SECONDS = 30.0
SETTLE_SECONDS = 600.0
RATE = 400


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="how long the load runs (20)")
    parser.add_argument("--kills", type=int, default=200, help="how many kills are wanted at the least (200)")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--data", type=Path, help="a folder of CSV files of an art collection; else the sample")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the text")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="placemat-soak-") as directory,
        stage(Path(directory), sample=given.data is None) as found,
    ):
        found.environment.update(COPYING)
        found.init()
        if given.data is not None:  # behind the slot's beginning: all of it is witnessed and goes through the stream
            with psycopg.connect(found.primary) as primary:
                load_tate(primary, given.data)
        found.start_dead()
        found.settle(SETTLE_SECONDS)
        try:
            kills = soak(found, given.seed, given.minutes * 60)
        except AssertionError:
            for worker in (CAPTURE, APPLY):
                say(f"{worker} has said last:\n{found.said(worker)}")
            raise
        say("The load has ended; the target catches up.")
        found.kill(CAPTURE)  # a copy that was begun anew beside a capture is heard of when that starts again
        found.start_dead()
        found.settle(SETTLE_SECONDS)
        parked, counted = len(found.parked()), found.count()
    write(given.seed, kills, parked, counted, as_json=given.json)
    if not counted.ok or parked:
        return 3
    return 0 if len(kills) >= given.kills else 1


def soak(found: Stage, seed: int, seconds: float) -> list[Kill]:
    """Kill and revive until the time is over."""
    rng = random.Random(seed)
    kills: list[Kill] = []
    end = time.monotonic() + seconds
    told = time.monotonic()
    with found.load(seed, rate=RATE):
        while time.monotonic() < end:
            copy_again(found)
            with suppress(NothingInFlight):
                kill = draw(found, rng, copying=True)
                kills.append(replace(kill, recovery_seconds=revive(found)))
            found.start_dead()
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                say(f"{len(kills)} kills; {max(0, end - told) / 60:.0f} minutes left")
    return kills


def copy_again(found: Stage) -> None:
    """Begin the copy of all tables anew if it is done; the capture hears of it when it starts again."""
    with psycopg.connect(found.state) as state:
        state.execute(COPY_AGAIN)


def write(seed: int, kills: Sequence[Kill], parked: int, counted: witness.WitnessReport, *, as_json: bool) -> None:
    """The report: phases, events in flight, recovery, and what the witness counted."""
    recovery = sorted(kill.recovery_seconds for kill in kills if kill.recovery_seconds is not None)
    flying = [kill.in_flight for kill in kills]
    phases = Counter(f"{kill.worker} {kill.phase}" for kill in kills)
    counts = {name: value for name, value in asdict(counted).items() if isinstance(value, int)}
    least, most = min(flying, default=0), max(flying, default=0)
    p50, p99 = percentile(recovery, 0.50), percentile(recovery, 0.99)
    if as_json:
        write_json(
            {
                "seed": seed,
                "kills": len(kills),
                "phases": dict(phases),
                "in_flight": {"least": least, "most": most},
                "recovery_seconds": {"p50": p50, "p99": p99},
                "parked": parked,
                "witness": counts,
            }
        )
        return
    say(f"Seed {seed}: {len(kills)} kills, with {least} to {most} events in flight.")
    for phase, count in sorted(phases.items()):
        say(f"  {phase:<44} {count:>4}")
    say(f"From the start of what was dead to the first new change applied: p50 {p50:.1f} s, p99 {p99:.1f} s.")
    say(f"Parked {parked}. The witness:")
    for name, value in counts.items():
        say(f"  {name.replace('_', ' '):<44} {value:>10,}")


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share does not exceed; 0 when there is none."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
