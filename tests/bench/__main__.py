"""`python -m tests.bench [PART]...`: every comparison side by side in one run, and a table at the end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from daemon.cli.output import complain, say, write_json
from daemon.errors import OperatorError
from tests.bench import apply, audit, capture, latency, memory
from tests.bench.figures import FULL, LONG, QUICK, Figure, Size, write_figures

PARTS: Mapping[str, Callable[[Size], list[Figure]]] = {
    "capture": capture.run,
    "apply": apply.run,
    "audit": audit.run,
    "latency": latency.run,
    "memory": memory.run,
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them when none is named")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", dest="size", action="store_const", const=QUICK, help="a short run")
    length.add_argument(
        "--long",
        dest="size",
        action="store_const",
        const=LONG,
        help="5 million rows at a time and 10 million events, too",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}: name some of {', '.join(PARTS)}")
    try:
        before = _load()
        figures = _measure(given.parts or list(PARTS), given.size or FULL)
    except OperatorError as error:
        complain(error)
        return error.exit_code
    if given.json:
        written = [figure.as_json() for figure in figures]
        write_json({"cores": os.cpu_count(), "load_before": round(before, 1), "figures": written})
    else:
        write_figures(figures)
    return 0


def _measure(parts: Sequence[str], size: Size) -> list[Figure]:
    say(f"{size.rounds} rounds on {os.cpu_count()} cores; load of the machine before it began: {_load():.1f}")
    figures: list[Figure] = []
    for part in parts:
        say(f"{part}: servers start")
        figures += PARTS[part](size)
    return figures


def _load() -> float:
    """Processes that were running or waited to, over the last minute: what else goes on shows in every figure."""
    return os.getloadavg()[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
