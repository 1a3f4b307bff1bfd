"""What happened to one key: the states that it had in the primary against those that it had in the target. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

State = str | None
"""The MD5 of a row's compared columns; None when there is no row."""


class Change(NamedTuple):
    """One entry of the journal or of the target's log."""

    seq: int
    xid: int
    op: str
    state: State


@dataclass(frozen=True, slots=True)
class Verdict:
    lost: bool
    """The key's last state in the primary is not the last one that the target had from it."""
    duplicated: int
    """Changes in the target beyond one per event."""
    out_of_order: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction of the target made of the key: only its last state could be seen from outside."""

    state: State
    changes: int


def judge(journal: Iterable[Change], log: Iterable[Change], reads: int) -> Verdict:
    """Compare what the primary did to a key with what the target did, both in order.

    A transaction of the target may fold several events into one change. `reads` is the number of times that a
    snapshot sent the key: as many changes in the target need no event. A last state that the primary never had is
    left to the comparison of the tables.
    """
    states = primary_states(journal)
    path = Path(states)
    steps = target_steps(log)
    shown, out_of_order = states[0], 0
    for number, step in enumerate(steps, start=1):
        if path.advance(step):
            shown = step.state
        elif step.state in path.places:
            shown = step.state
            out_of_order += 1
        elif number < len(steps) and step.changes:
            out_of_order += 1
    return Verdict(shown != states[-1], max(0, path.least_excess() - reads), out_of_order)


def primary_states(journal: Iterable[Change]) -> list[State]:
    """The key's states, one per event, after the state without a row from which a target begins."""
    states: list[State] = [None]
    for change in journal:
        if change.op != "T" or states[-1] is not None:
            states.append(change.state)
    return states


def target_steps(log: Iterable[Change]) -> list[Step]:
    steps: list[Step] = []
    state: State = None
    for _, group in groupby(log, key=attrgetter("xid")):
        changes = list(group)
        ops = Counter(change.op for change in changes)
        made = [change for change in changes if change.op != "F"]
        if ops.keys() <= {"T", "F"} and state is None:
            continue
        state = made[-1].state if made else state
        own = ops["I"] + ops["D"] + max(0, ops["U"] - ops["F"])
        steps.append(Step(state, own))
    return steps


class Path:
    """All ways to find the target's steps in the primary's states, best first.

    A way is the place of the last state found and the excess so far: changes of the target for which no event was
    passed on the way. A way is kept while none reaches as early a place with as little excess.
    """

    def __init__(self, states: Sequence[State]) -> None:
        self.places: defaultdict[State, list[int]] = defaultdict(list)
        for place, state in enumerate(states):
            if place > 0:
                self.places[state].append(place)
        self._start = states[0]
        self._ways: list[tuple[int, int]] = [(0, 0)]

    def advance(self, step: Step) -> bool:
        """Follow one step; False, and nothing has changed, when its state comes no more."""
        found = [
            (place, excess + max(0, step.changes - (place - begin)))
            for begin, excess in self._ways
            for place in self._candidates(begin, step)
        ]
        if found:
            self._ways = undominated(found)
        return bool(found)

    def least_excess(self) -> int:
        return min(excess for _, excess in self._ways)

    def _candidates(self, begin: int, step: Step) -> list[int]:
        """Places of the state from `begin` on, up to the first one that leaves no excess."""
        places = self.places.get(step.state, [])
        first = bisect_left(places, begin)
        enough = bisect_left(places, begin + step.changes, lo=first)
        reachable = places[first : enough + 1]
        return [begin, *reachable] if begin == 0 and step.state == self._start else reachable


def undominated(ways: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for place, excess in sorted(ways):
        if not kept or excess < kept[-1][1]:
            kept.append((place, excess))
    return kept
