"""What people did to a world's rows, written down apart from the resolver, and what must be true in the end.

Every edit has a value of its own, so that a value tells who made it, and which edits it was made on top of. Values that
were given twice tell nothing, and are left out where that matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from daemon.resolve.conflict import Conflict
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.values import Row, Value
from tests.resolution_service import ServiceSite
from tests.resolution_world import Listed, World


@dataclass(frozen=True, slots=True)
class Edit:
    """`stamp` is the time on the site's clock, `before` what the field held there, or all that a deletion removed."""

    key: str
    field: str | None
    token: str
    true_time: int
    stamp: int
    before: frozenset[str]
    site: str


def tokens(value: Value) -> Iterator[str]:
    """What a value was made of, whatever case or order a trigger gave it."""
    match value:
        case str():
            yield value.lower()
        case list():
            for one in value:
                yield from tokens(one)
        case dict():
            for one in value.values():
                yield from tokens(one)


def _deletion_lost(one: Conflict) -> bool:
    erased = one.rule == "hub"  # of what was erased no value is listed
    if one.field is not None or one.resolution == "agreed" or erased:
        return False
    return one.won is None or (one.ours if one.won == "theirs" else one.theirs) is None


@dataclass
class Ledger:
    world: World
    edits: dict[str, Edit] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)
    removed: set[str] = field(default_factory=set)
    """Elements of sets that somebody took out; values that were emptied, or that a trigger of the hub took away."""
    emptied: set[tuple[str, str]] = field(default_factory=set)
    """Key and field of those."""
    swept: set[str] = field(default_factory=set)
    """Keys of rows that a trigger of the hub has removed or made."""
    ruled: set[str] = field(default_factory=set)
    """What a person had before them when they decided."""
    ruled_rows: set[str] = field(default_factory=set)

    def edit(self, site: str, key: str, **values: Value) -> None:
        before, there = self.world.site(site).rows.get(key), self.world.site(site).columns
        values = {name: value for name, value in values.items() if name in there}
        if not values:
            return
        for name, value in values.items():
            if before is not None and before[name] == value:
                continue
            old = set(tokens(before[name])) if before is not None else self._deletions(key, site)
            new = set(tokens(value))
            self.removed |= old - new if before is not None and (value is None or isinstance(value, list)) else set()
            for token in new - old if isinstance(value, list) else new:
                self._note(site, key, name, token, old)
        self.world.edit(site, key, **values)

    def delete(self, site: str, key: str) -> None:
        row = self.world.site(site).rows[key]
        self._note(site, key, None, f"deletion {self.given.total()}", set(tokens(dict(row))))
        self.world.delete(site, key)

    # What triggers of the hub do beside a row that is written there, which nobody is told

    def triggers_empty(self, key: str, name: str) -> None:
        self.removed |= set(tokens(self.world.hub.rows[key][name]))
        self.emptied.add((key, name))
        self.world.edit("hub", key, **{name: None})

    def triggers_remove(self, key: str) -> None:
        self.removed |= set(tokens(dict(self.world.hub.rows[key])))
        self.swept.add(key)
        self.world.delete("hub", key)

    def triggers_make(self, key: str, row: Row) -> None:
        self.swept.add(key)
        self.world.edit("hub", key, **row)

    def seen(self, key: str) -> set[str]:
        """What a person has before them who decides."""
        conflict, row = self.world.conflicts[key], self.world.hub.rows.get(key)
        found = set(tokens(dict(row))) if row is not None else set()
        for own in conflict.fields.values():
            found |= {token for one in own.values() for token in tokens(one.value)}
        return found

    def rule(self, key: str, seen: set[str], values: Row) -> None:
        """A person has decided: what they saw is not lost behind their back, and what they chose is given once more."""
        self.ruled |= seen
        self.ruled_rows.add(key)
        for name, value in values.items():
            for token in tokens(value):
                self._note("hub", key, name, token, seen)

    def _note(self, site: str, key: str, name: str | None, token: str, before: set[str]) -> None:
        self.given[token] += 1
        now, there = self.world.now, self.world.site(site)
        stamp = now if isinstance(there, ServiceSite) else now + there.clock  # a read has the reader's time
        if token in self.edits:
            known = self.edits[token]
            before, stamp = before | known.before, max(stamp, known.stamp)
        self.edits[token] = Edit(key, name, token, now, stamp, frozenset(before), site)

    def _deletions(self, key: str, site: str | None = None) -> set[str]:
        of = [one for one in self.edits.values() if one.key == key and one.field is None]
        return {one.token for one in of if site in (None, one.site)}

    def _unique(self, token: str) -> bool:
        return self.given[token] == 1

    def _below(self, of: Iterable[str], *, surely: bool = False) -> set[str]:
        """These, and everything that they were made on top of; `surely` does not look behind what was given twice."""
        found: set[str] = set()
        due = list(of)
        while due:
            token = due.pop()
            if token not in found:
                found.add(token)
                known = token in self.edits and (self._unique(token) or not surely)
                due += self.edits[token].before if known else ()
        return found

    # What must be true

    def check_listed(self, listed: Listed, skew: int) -> None:
        """Of each conflict when it is listed: both sides were changed apart, and the rule gave what it must give."""
        one = listed.conflict
        if one.rule == "latest" and one.won is not None:
            later = one.theirs_time.lo > one.ours_time.hi + skew
            assert (one.won == "theirs") == later, ("the wrong side has won", listed)
        ours, theirs = list(tokens(one.ours)), list(tokens(one.theirs))
        if UNKNOWN in (one.ours_time, one.theirs_time) or self._uncertain(listed.key) or listed.key in self.swept:
            return
        if one.field is None or one.won is None or isinstance(one.ours, list) or isinstance(one.theirs, list):
            return
        if (
            len(ours) != 1
            or len(theirs) != 1
            or ours == theirs
            or not self._unique(ours[0])
            or not self._unique(theirs[0])
        ):
            return
        if one.kind == "insert_exists" and self._deletions(listed.key):
            return  # what a site has deleted and made again was made on top of everything that it ever had
        if one.kind == "update_deleted" and listed.key in self.world.refused:
            return  # what was changed, refused and deleted in one is listed as it was before
        assert ours[0] not in self._below(theirs, surely=True), ("theirs was made on top of ours", listed)
        assert theirs[0] not in self._below(ours, surely=True), ("ours was made on top of theirs", listed)
        if (
            one.rule == self.world.rules.of(one.field).rule == "latest"
            and one.ours_time.lo == one.ours_time.hi
            and one.theirs_time.lo == one.theirs_time.hi
        ):
            self._check_times(one, ours[0], theirs[0], skew)

    def _check_times(self, one: Conflict, ours: str, theirs: str, skew: int) -> None:
        key = self.edits[ours].key
        before = self._below([ours])
        if self._deletions(key):  # which are no older than anything in the row, nor is what is made after them
            before |= {one.token for one in self.edits.values() if one.key == key}
        stamps = [self.edits[token].stamp for token in before if token in self.edits]
        if one.won == "theirs":
            assert self.edits[theirs].stamp > self.edits[ours].stamp + skew, ("a tie went to the spoke", one)
        else:
            assert self.edits[theirs].stamp <= max(stamps) + skew, ("the newer value has lost", one)

    def check_end(self, skew: int) -> None:
        """When nothing is under way and nothing waits for a person."""
        for key in {one.key for one in self.edits.values()}:
            self.check_equal(key)
            self._check_nothing_lost(key)
            self._check_outward(key)
            self._check_deletions(key)
            self._check_newest(key, skew)

    def check_equal(self, key: str) -> None:
        of = [one.conflict for one in self.world.listed if one.key == key]
        stopped = {one.field for one in of if one.resolution == "skip"}
        rows = {
            site: None if row is None else {name: value for name, value in row.items() if name not in stopped}
            for site, row in self.world.rows(key).items()
        }
        for site, row in rows.items():
            hub, there = rows["hub"], self.world.site(site).columns
            expected = None if hub is None else {name: value for name, value in hub.items() if name in there}
            assert row == expected, ("the sides differ", key, rows)

    def _losers(self, key: str) -> set[str]:
        found: set[str] = set()
        for one in self.world.listed:
            if one.key == key and one.conflict.won is not None:
                found |= set(tokens(one.conflict.ours if one.conflict.won == "theirs" else one.conflict.theirs))
        for of, row in self.world.too_late:
            found |= set(tokens(dict(row))) if of == key else set()
        return found

    def _check_nothing_lost(self, key: str) -> None:
        row = self.world.hub.rows.get(key)
        accounted = self._losers(key) | self._deletions(key) | self.removed | self.ruled
        accounted |= set(tokens(dict(row))) if row is not None else set()
        below = self._below(accounted)
        for one in self.edits.values():
            if one.key == key and one.field is not None and one.token not in below:
                if self._uncertain(key) and one.site in {site.name for site in self._services()}:
                    continue
                if one.field in self._lacked_by(self._deletions(key)):
                    continue  # who does not have it deletes the row nevertheless
                outward = self.world.rules.of(one.field).outward and one.site != "hub"
                assert outward, ("an edit was lost, and nobody was told", one, row)

    def _lacked_by(self, deletions: Iterable[str]) -> set[str]:
        """Fields that those who made these deletions do not have."""
        spokes = [self.world.spokes.get(self.edits[one].site) for one in deletions]
        return {name for spoke in spokes if spoke is not None for name in spoke.lacks}

    def _services(self) -> list[ServiceSite]:
        return [site for site in self.world.spokes.values() if isinstance(site, ServiceSite)]

    def _uncertain(self, key: str) -> bool:
        """Whether nobody can tell what a service did with it in a crash."""
        return any(key in site.uncertain for site in self._services())

    def _check_outward(self, key: str) -> None:
        row = self.world.hub.rows.get(key) or {}
        for name, value in row.items():
            by = {self.edits[token].site for token in tokens(value) if self._unique(token)}
            assert not self.world.rules.of(name).outward or by <= {"hub"}, ("a spoke's edit counted", key, name)

    def _check_deletions(self, key: str) -> None:
        """A row that was deleted is gone, or somebody made it again, or was told that a deletion has lost."""
        if key not in self.world.hub.rows or key in self.ruled_rows | self.swept:
            return
        if self._uncertain(key):
            return
        told = any(one.key == key and _deletion_lost(one.conflict) for one in self.world.listed)
        polled = {site.name for site in self._services()}  # what comes and goes between two reads is not seen
        of = [self.edits[one] for one in self._deletions(key)]
        seen = any(one.site not in polled for one in of)
        deleted = min(one.true_time for one in of) if seen else None
        made = max((one.true_time for one in self.edits.values() if one.key == key and one.field == "made"), default=0)
        assert deleted is None or told or made >= deleted, ("a deletion was lost, and nobody was told", key)

    def _check_newest(self, key: str, skew: int) -> None:
        row = self.world.hub.rows.get(key)
        if row is None or self._deletions(key) or self._services() or key in self.swept:
            return
        for name, value in row.items():
            if self.world.rules.of(name).rule != "latest" or self.world.rules.of(name).outward:
                continue
            if (key, name) in self.emptied or any(name in site.lacks for site in self.world.spokes.values()):
                continue  # nobody has given it
            below = self._below(tokens(value))
            newest = max((self.edits[token].true_time for token in below if token in self.edits), default=0)
            for one in self.edits.values():
                if one.key == key and one.field == name and one.token not in below:
                    assert one.true_time <= newest + 2 * skew, ("an older value stands over a newer one", one, row)
