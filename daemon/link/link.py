"""Links two systems: reads both, plans all tables before the first write, and gives the spoke's rows the hub's keys.

Nothing else is written: the initial copies of both sides bring what only one of them has, and the resolver decides what
differs. All keys change in one transaction, and what waits for a person is said before, and taken back behind it; so a
run may be killed anywhere and run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from connectors.linking import Key, Linkable, LinkHub, LinkSpoke
from daemon.errors import OperatorError
from daemon.link.pairs import Ambiguous, Pair, pair
from daemon.link.plan import Differing, Matches, Row, TablePlan, decide, differ, key_of, late_fields, row_of, translate
from daemon.progress import OnProgress, Tracker
from daemon.resolve import wire
from daemon.resolve.rules import Rules
from daemon.seams import AFTER_REKEY, seam

BATCH_ROWS = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan, with what is kept of its rows until they are compared."""

    plan: TablePlan
    ours: Mapping[Key, Row]
    theirs: Mapping[Key, Row]
    late: tuple[str, ...]


class Link:
    """One run. Raises what the sides raise."""

    def __init__(
        self,
        hub: LinkHub,
        spoke: LinkSpoke,
        name: str,
        rules: Mapping[str, Rules],
        on_progress: OnProgress | None = None,
    ) -> None:
        """`name` is the spoke's; `rules` are by table."""
        self._hub = hub
        self._spoke = spoke
        self._name = name
        self._rules = rules
        self._tracker = Tracker(on_progress)

    def plan(self, wanted: Sequence[str], matches: Matches) -> list[TablePlan]:
        """Plans of the wanted tables, all when none is, parents first. Nothing is written.

        Raises OperatorError (exit code 2) for a table or a match that does not exist, and where rows would have to be
        given other keys that cannot be.
        """
        tables = self._tables(wanted)
        names = [one.table for one in tables]
        late = {one.table: late_fields(one, names[at:]) for at, one in enumerate(tables)}
        self._check(tables, matches, late)
        moves: dict[str, dict[Key, Key]] = {}
        plans, circular = [], []
        for at, table in enumerate(tables):
            draft = self._draft(table, matches, late[table.table], moves)
            plan = draft.plan
            if plan.moves and (obstacle := self._spoke.obstacle(table.table)) is not None:
                raise obstacle
            moves[table.table] = plan.moves
            plans.append(plan)
            if {one.table for one in table.references} & set(names[at + 1 :]):
                circular.append(draft)
            else:
                self._compare(draft, moves)
        for draft in circular:
            self._compare(draft, moves)
        return plans

    def write(self, plans: Sequence[TablePlan], by: str) -> None:
        """Do what was planned, parents first; `by` is who has asked for it."""
        for plan in plans:
            self._hold(plan)
        moves = {plan.table.table: plan.moves for plan in plans if plan.moves}
        if moves:
            self._tracker.begin("keys", sum(map(len, moves.values())))
            self._spoke.rekey(moves, by)
            seam(AFTER_REKEY)
        for plan in plans:
            self._release(plan)

    # Which tables, and by what

    def _tables(self, wanted: Sequence[str]) -> list[Linkable]:
        ours = {one.table: one for one in self._hub.tables()}
        theirs = [one for one in self._spoke.tables() if one.table in ours]
        known = {one.table for one in theirs}
        for name in wanted:
            if name not in known:
                raise OperatorError(
                    f"{name} does not go both ways between the hub and {self._name}.",
                    f"Choose among: {', '.join(sorted(known))}.",
                    exit_code=2,
                )
        return [
            Linkable(one.table, one.key, one.fields & ours[one.table].fields, one.references)
            for one in theirs
            if not wanted or one.table in wanted
        ]

    @staticmethod
    def _check(tables: Sequence[Linkable], matches: Matches, late: Mapping[str, Sequence[str]]) -> None:
        for match in matches:
            if not any(set(match) <= one.fields - {*late[one.table]} for one in tables):
                raise OperatorError(
                    f"No table that is linked has {' and '.join(match)} among the fields that go both ways and do not"
                    " refer to rows of its own.",
                    "Name fields as the hub names them: --match legacy_id --match name,workspace_id",
                    exit_code=2,
                )

    # One table

    def _draft(
        self, table: Linkable, matches: Matches, late: Sequence[str], moves: Mapping[str, Mapping[Key, Key]]
    ) -> _Draft:
        usable = [one for one in matches if set(one) <= table.fields - {*late}]
        ours, theirs = self._ours(table, usable, late), self._theirs(table, usable, late, moves)
        found = pair([one.entry for one in ours.values()], [one.entry for one in theirs.values()], len(usable))
        plan = TablePlan(table, tuple(usable), len(ours), len(theirs), found)
        final = {one.theirs: one.ours for one in found.pairs}
        plan.moves = {one.place: final.get(key, key) for key, one in theirs.items() if one.place != final.get(key, key)}
        mine, other = plan.ambiguous
        places = {one.place for one in theirs.values()} - plan.moves.keys()
        plan.released_ours = {key: key not in ours for key in self._spoke.held(table.table) if key not in mine}
        plan.released_theirs = {key: key not in places for key in self._hub.held(table.table) if key not in other}
        return _Draft(plan, ours, theirs, tuple(late))

    def _ours(self, table: Linkable, matches: Matches, late: Sequence[str]) -> dict[Key, Row]:
        found = {}
        self._tracker.begin(f"{table.table} of the hub", 0)
        for page in self._hub.rows(table.table):
            for row, ts_us in page:
                key = key_of(table, row)
                found[key] = row_of(table, row, key, ts_us, matches, late)
            self._tracker.advance(len(page))
        return found

    def _theirs(
        self, table: Linkable, matches: Matches, late: Sequence[str], moves: Mapping[str, Mapping[Key, Key]]
    ) -> dict[Key, Row]:
        """By the keys that they will have once their parents have moved."""
        found = {}
        self._tracker.begin(f"{table.table} of {self._name}", 0)
        for page in self._spoke.rows(table.table):
            rows = self._hub.conform(table.table, [one.row for one in page])
            for row, (_, ts_us) in zip(rows, page, strict=True):
                one = row_of(table, translate(table, row, moves), key_of(table, row), ts_us, matches, late)
                found[one.entry.key] = one
            self._tracker.advance(len(page))
        return found

    # What differs

    def _compare(self, draft: _Draft, moves: Mapping[str, Mapping[Key, Key]]) -> None:
        plan, ours, theirs = draft.plan, draft.ours, draft.theirs
        unequal = [
            one
            for one in plan.pairing.pairs
            if differ(plan.table, ours[one.ours], theirs[one.theirs], draft.late, moves)
        ]
        self._tracker.begin(f"differences of {plan.table.table}", len(unequal))
        for batch in _batches(unequal, BATCH_ROWS):
            self._decide(draft, batch, moves)
            self._tracker.advance(len(batch))

    def _decide(self, draft: _Draft, pairs: Sequence[Pair], moves: Mapping[str, Mapping[Key, Key]]) -> None:
        plan, table = draft.plan, draft.plan.table
        place = {one: draft.theirs[one.theirs].place for one in pairs}
        known = self._hub.known(table.table, [one.ours for one in pairs])
        left = self._hub.read(table.table, [one.ours for one in pairs])
        there = self._spoke.read(table.table, list(place.values()))
        conformed = dict(zip(there, self._hub.conform(table.table, list(there.values())), strict=True))
        for one in pairs:
            mine, other, kept = left.get(one.ours), conformed.get(place[one]), known.get(one.ours)
            if mine is None or other is None or (kept is not None and kept.linked and one.ours == one.theirs):
                plan.in_flow += 1
                continue
            times = draft.ours[one.ours].ts_us, draft.theirs[one.theirs].ts_us
            state = wire.read_state(kept.state if kept is not None else None)
            fields = decide(table, mine, translate(table, other, moves), state, times, self._rules[table.table])
            if fields:
                plan.differing.append(Differing(one, fields))

    # What waits for a person

    def _hold(self, plan: TablePlan) -> None:
        """Ambiguous rows do not go to the other side."""
        for group in plan.pairing.ambiguous:
            reason = _reason(group, plan.matches[group.match])
            for side, keys in ((self._spoke, group.ours), (self._hub, group.theirs)):
                if keys:
                    side.hold(plan.table.table, dict.fromkeys(keys, reason))

    def _release(self, plan: TablePlan) -> None:
        """After the keys have moved: what waited under a key that is gone by now is forgotten, and nothing else."""
        for side, released in ((self._spoke, plan.released_ours), (self._hub, plan.released_theirs)):
            for gone in (True, False):
                if keys := [key for key, was in released.items() if was is gone]:
                    side.release(plan.table.table, keys, gone=gone)


def _reason(group: Ambiguous, match: Sequence[str]) -> str:
    many = f"{len(group.ours)} rows of the hub and {len(group.theirs)} of the other side"
    beside = f", beside {len(group.spoken_for)} that are linked otherwise" if group.spoken_for else ""
    return (
        f"ambiguous: {many} have the same {', '.join(match)}{beside}; make the values tell which is which and run"
        " placemat link again, or let it be a row of its own with placemat dlq redrive"
    )


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch
