"""Which rows of two systems are the same: by their keys first, then by the values of fields. Nothing is guessed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, ...]
"""Values of a row's key in canonical form, in the order of the key's fields."""
Values = tuple[str | None, ...]
"""Values of the fields of one match; None is NULL, and matches nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row, as far as pairing needs it: its key, and for each match the values of its fields."""

    key: Key
    matches: tuple[Values, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same row on both sides; `match` is the number of the match that has found it, None for the key."""

    ours: Key
    theirs: Key
    match: int | None = None


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Rows of both sides that have the same values, and nobody can tell which is which.

    `spoken_for` are rows with these values that have another partner or are ambiguous themselves: named where one side
    has none but those.
    """

    match: int
    ours: tuple[Key, ...]
    theirs: tuple[Key, ...]
    spoken_for: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairing:
    """Every row is in exactly one of these, but for those that are named as spoken for."""

    pairs: tuple[Pair, ...]
    ours: tuple[Key, ...]
    theirs: tuple[Key, ...]
    ambiguous: tuple[Ambiguous, ...]


@dataclass(slots=True)
class _Group:
    """Rows with the same values: those that are free still, and others."""

    free: list[Key] = field(default_factory=list)
    taken: list[Key] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether one row has these values, and is free."""
        return len(self.free) == 1 and not self.taken


def pair(ours: Sequence[Entry], theirs: Sequence[Entry], matches: int) -> Pairing:
    """`ours` are the hub's rows, `theirs` the spoke's, each with as many matches; those are tried in turn."""
    left, right = {one.key: one for one in ours}, {one.key: one for one in theirs}
    pairs = [Pair(key, key) for key in left if key in right]
    partner = {one.ours: one.theirs for one in pairs}
    taken_left, taken_right = set(partner), set(partner)
    ambiguous: list[Ambiguous] = []
    for match in range(matches):
        mine, other = _groups(left, taken_left, match), _groups(right, taken_right, match)
        for values in mine.keys() & other.keys():
            found, group = mine[values], other[values]
            if found.alone and group.alone:
                pairs.append(Pair(found.free[0], group.free[0], match))
                partner[found.free[0]] = group.free[0]
            elif one := _unsure(match, found, group, partner):
                ambiguous.append(one)
            else:
                continue
            taken_left.update(found.free)
            taken_right.update(group.free)
    return Pairing(
        tuple(pairs),
        tuple(key for key in left if key not in taken_left),
        tuple(key for key in right if key not in taken_right),
        tuple(sorted(ambiguous, key=lambda one: (one.match, one.ours, one.theirs))),
    )


def _unsure(match: int, ours: _Group, theirs: _Group, partner: Mapping[Key, Key]) -> Ambiguous | None:
    """None: no row is free, or they are on one side only, beside a pair that has these values on both."""
    if ours.free and theirs.free:
        return Ambiguous(match, tuple(ours.free), tuple(theirs.free))
    if not (ours.free or theirs.free) or any(partner.get(one) in theirs.taken for one in ours.taken):
        return None
    spoken_for = ours.taken if theirs.free else theirs.taken
    return Ambiguous(match, tuple(ours.free), tuple(theirs.free), tuple(spoken_for))


def _groups(rows: Mapping[Key, Entry], taken: Collection[Key], match: int) -> dict[Values, _Group]:
    groups: defaultdict[Values, _Group] = defaultdict(_Group)
    for key, entry in rows.items():
        values = entry.matches[match]
        if None not in values:
            group = groups[values]
            (group.taken if key in taken else group.free).append(key)
    return groups
