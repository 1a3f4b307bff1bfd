"""What `placemat audit erase` tells: where values of a key went, and where they are still."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.cli.output import Json, say
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.erasing import Held
    from daemon.audit.erasing.erasable import Erasure

LISTED = 40


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
    names: list[Json] = [{"source": of, "entity": table, "key": json.loads(key)} for of, table, key in _sides(done)]
    look_at: list[Json] = [
        {"sequence": one.sequence, "op": one.op, "text": one.text, "values": one.values} for one in done.mentions
    ]
    left: list[Json] = [{"hub": name, "reason": why} for name, why in done.left.items()]
    others: list[Json] = [
        {"source": one.source, "entity": one.entity, "key": json.loads(one.key), "entries": one.entries}
        for one in done.others
    ]
    return {
        "source": done.source, "entity": done.entity, "key": json.loads(done.key), "names": names, "dry_run": dry_run,
        "entries": done.entries, "also": list[Json](done.also), "hubs": hubs, "files": files, "look_at": look_at,
        "others": others, "left": left,
    }  # fmt: skip


def say_erased(done: Erasure, *, dry_run: bool) -> None:
    verb = "Would erase" if dry_run else "Erased"
    say(f"{verb} the values of {done.entity} {done.key} from {_many(done.entries, 'entry', 'entries')}.")
    for source, entity, key in _sides(done)[1:]:
        say(f"That is {entity} {key} at {source}, too.")
    if done.also:
        say(f"{verb} the conditions of {_numbers(done.also)}.")
    for name, one in done.hubs.items():
        _say_hub(name, one, verb)
    for finished in done.unfinished if not (dry_run or done.left) else ():
        say(f"Finished what {finished.said.who} had asked for in {_numbers(finished.asked)}.")
    _say_left(done)


def _say_left(done: Erasure) -> None:
    for name, why in done.left.items():
        say(
            f"Not reached: what {name} keeps, or may keep, of it beside its rows, as {why}. This is not finished before"
            " that was reached: let the configuration reach it, and repeat this."
        )
    for one in done.others:
        say(
            f"Not reached: {_many(one.entries, 'entry', 'entries')} of {one.entity} {one.key} at {one.source}, as"
            f" nobody knows whether that is the same row. Where it is, repeat this with --source {one.source}."
        )
    if done.files:
        say(f"Not reached, and to be looked through by hand: {', '.join(done.files)}")
    if texts := [one.sequence for one in done.mentions if one.text]:
        say(
            f"Not reached: what was written as a reason in {_numbers(texts)}. It stays: look whether it names somebody."
        )
    if values := [one.sequence for one in done.mentions if one.values and one.sequence not in done.also]:
        say(
            f"Not reached: the conditions of {_numbers(values)}, as nobody knows whose values they name. Look at them"
            " with placemat audit show --values, and repeat this with --entry NUMBER for each that is to go."
        )


def _sides(done: Erasure) -> list[tuple[str | None, str, str]]:
    """The row once for each table that has it, as records name it."""
    found: dict[tuple[str | None, str], str] = {}
    for source, entity, key in done.names:
        found.setdefault((source, entity), key)
    return [(source, entity, key) for (source, entity), key in found.items()]


def _numbers(entries: Sequence[int]) -> str:
    shown = ", ".join(map(str, entries[:LISTED])) + (" …" if len(entries) > LISTED else "")
    return f"{'entry' if len(entries) == 1 else 'entries'} {shown}"


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
