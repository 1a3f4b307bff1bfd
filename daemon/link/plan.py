"""What becomes of the rows of one table: decided by the route's rules, before anything is written. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from connectors.linking import Key, Linkable
from daemon.link.pairs import Entry, Pair, Pairing
from daemon.resolve.conflict import Resolution
from daemon.resolve.interval import UNKNOWN, Interval, at
from daemon.resolve.rules import Rules
from daemon.resolve.state import NO_ROW, FieldState, RowState
from daemon.resolve.values import digest
from daemon.resolve.verdict import Edit, judge
from schemas.position import START
from schemas.resolution import Fields

Matches = Sequence[tuple[str, ...]]
"""Sets of fields whose values make two rows one, in the order in which they are tried."""
Moves = Mapping[str, Mapping[Key, Key]]
"""By table, keys of the spoke to those of the hub."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a row while its table is planned: where it is read, and a hash of its fields but for those of its
    key and those that are `late`."""

    entry: Entry
    place: Key
    """Its key as it is now."""
    digest: bytes
    ts_us: int | None
    late: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a pair, with the texts of both sides, and what the ordinary flow will make of it."""

    field: str
    ours: str | None
    theirs: str | None
    rule: str
    resolution: Resolution
    won: Literal["ours", "theirs"] | None


@dataclass(frozen=True, slots=True)
class Differing:
    """A pair whose rows are not equal."""

    pair: Pair
    fields: tuple[Difference, ...]


@dataclass(slots=True)
class TablePlan:
    """One table. `in_flow` are pairs that differ and that the hub has heard of: they are none of ours."""

    table: Linkable
    matches: tuple[tuple[str, ...], ...]
    ours: int
    theirs: int
    pairing: Pairing
    differing: list[Differing] = field(default_factory=list)
    in_flow: int = 0
    released_ours: dict[Key, bool] = field(default_factory=dict)
    """Rows of the hub that were found ambiguous before, and are so no more; whether they are gone by now."""
    released_theirs: dict[Key, bool] = field(default_factory=dict)
    """The same of the spoke; those that get another key are gone."""

    moves: dict[Key, Key] = field(default_factory=dict)
    """Keys of the spoke's rows, as they are, to those that they are to have: the hub's, or what becomes of their own
    where it holds the key of another row that moves."""

    @property
    def equal(self) -> int:
        """Pairs without a difference."""
        return len(self.pairing.pairs) - len(self.differing) - self.in_flow

    @property
    def ambiguous(self) -> tuple[set[Key], set[Key]]:
        """Rows of the hub and of the spoke that nobody can tell."""
        groups = self.pairing.ambiguous
        return {key for one in groups for key in one.ours}, {key for one in groups for key in one.theirs}

    @property
    def rekeyed(self) -> list[Pair]:
        """Pairs whose keys are not the same yet."""
        return [one for one in self.pairing.pairs if one.ours != one.theirs]

    @property
    def nothing_to_do(self) -> bool:
        found = self.pairing
        return not (self.moves or self.differing or found.ours or found.theirs or found.ambiguous)


def late_fields(table: Linkable, later: Collection[str]) -> tuple[str, ...]:
    """Fields that refer to rows whose new keys are not known yet when the table is read: of itself, or of `later` ones,
    where tables refer to each other in a circle."""
    names = {name for one in table.references if one.table in (table.table, *later) for name in one.fields}
    return tuple(sorted(names - set(table.key)))


def translate(table: Linkable, row: Fields, moves: Moves) -> Fields:
    """A row of the spoke as it will be once the rows that it refers to have the hub's keys."""
    changed = dict(row)
    for reference in table.references:
        held = tuple(row.get(name) for name in reference.fields)
        if None not in held and (new := moves.get(reference.table, {}).get(tuple(map(str, held)))) is not None:
            changed.update(zip(reference.fields, new, strict=True))
    return changed


def row_of(table: Linkable, row: Fields, place: Key, ts_us: int | None, matches: Matches, late: Sequence[str]) -> Row:
    """What is kept of a row; fields that a service could not tell are left out of it, and match nothing."""
    hashed = hashlib.blake2b(digest_size=12)
    for name in sorted(table.fields - {*table.key, *late}):
        text = row.get(name, "")
        hashed.update(b"-" if text is None else b"+%d:%b" % (len(text), text.encode()))
    values = tuple(tuple(row.get(name) for name in match) for match in matches)
    return Row(Entry(key_of(table, row), values), place, hashed.digest(), ts_us, tuple(row.get(name) for name in late))


def differ(table: Linkable, ours: Row, theirs: Row, late: Sequence[str], moves: Moves) -> bool:
    """Whether two rows are not equal, once all that the spoke's refers to has the hub's keys."""
    if ours.digest != theirs.digest:
        return True
    return bool(late) and translate(table, dict(zip(late, theirs.late, strict=True)), moves) != dict(
        zip(late, ours.late, strict=True)
    )


def key_of(table: Linkable, row: Fields) -> Key:
    return tuple(str(row[name]) for name in table.key)


def decide(
    table: Linkable, ours: Fields, theirs: Fields, state: RowState, times: tuple[int | None, int | None], rules: Rules
) -> tuple[Difference, ...]:
    """What the resolver will say of a pair's fields; `state` is what the hub knows of its row by now, if anything,
    `times` are what the rows say of themselves, the hub's first."""
    found = []
    for name in sorted(table.fields - set(table.key)):
        own = ours[name]
        value = theirs.get(name, own)
        if value == own:
            continue
        known = state.fields.get(name) if state != NO_ROW else None
        if known is None or known.digest != digest(own):
            known = FieldState(digest(own), START, START, _time(times[0]))
        edit = Edit(
            name, value, _time(times[1]), known, own, None, None, seen=False, other_life=False, kind="insert_exists"
        )
        listed = judge(edit, rules).conflict
        if listed is None:
            found.append(Difference(name, own, value, "outward", "keep_local", "ours"))
        else:
            found.append(Difference(name, own, value, listed.rule, listed.resolution, listed.won))
    return tuple(found)


def _time(ts_us: int | None) -> Interval:
    return UNKNOWN if ts_us is None else at(ts_us)
