"""What `placemat audit erase` tells: where values of a key went, and where they are still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.cli.output import Json, say
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.erasing import Held
    from daemon.audit.erase import Erasure


@contextmanager
def nothing_erased() -> Iterator[None]:
    """What goes wrong before anything is erased says so."""
    try:
        yield
    except OperatorError as error:
        raise OperatorError(f"{error} Nothing was erased.", error.try_, exit_code=error.exit_code) from error


def erasure_json(done: Erasure, *, dry_run: bool) -> dict[str, Json]:
    hubs: list[Json] = [
        {
            "hub": name,
            "conflicts": one.conflicts,
            "decisions": one.decisions,
            "deleted_rows": one.deleted_rows,
            "links": one.links,
            "there": one.there,
            "kept": list(one.kept),
        }
        for name, one in done.hubs.items()
    ]
    files: list[Json] = list(done.files)
    return {
        "entity": done.entity, "key": json.loads(done.key), "dry_run": dry_run, "entries": done.entries, "hubs": hubs,
        "files": files,
    }  # fmt: skip


def say_erased(done: Erasure, *, dry_run: bool) -> None:
    verb = "Would erase" if dry_run else "Erased"
    say(f"{verb} the values of {done.entity} {done.key} from {_many(done.entries, 'entry', 'entries')}.")
    for name, one in done.hubs.items():
        _say_hub(name, one, verb)
    if done.files:
        say(f"Not reached, and to be looked through by hand: {', '.join(done.files)}")


def _say_hub(name: str, one: Held, verb: str) -> None:
    met = _many(one.conflicts, "conflict that was met", "conflicts that were met")
    decided = _many(one.decisions, "decision", "decisions")
    gone = ", and what was kept of the deleted row" if one.deleted_rows else ""
    former = f", and what was kept of it in {_many(one.links, 'former spoke', 'former spokes')}" if one.links else ""
    say(f"{verb} at {name}: {met}, {decided}{gone}{former}.")
    if one.there:
        say(f"The row itself is there at {name}, not erased: delete it, and repeat this when it is gone everywhere.")
    elif one.kept:
        say(f"Not gone yet at {', '.join(one.kept)}: what is kept of the row there goes with it.")


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
