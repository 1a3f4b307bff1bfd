"""Tries parked keys again: when a person asks for it, when an event of theirs comes, when their parents have come.

Each try reads and judges all that waits behind a key. Where that is much, it is tried when it has doubled, or has
rested for a while.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from connectors.postgres.effects import Effects
from connectors.postgres.failures import Refused
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.parked import FOREIGN_KEY, Key, Parked
from connectors.postgres.rows import CannotFold, Event
from connectors.postgres.statements import Catalogue
from connectors.postgres.table_writes import ChangedMeanwhile, TableWrites
from schemas.outbox import PARKED, REDRIVEN, REFUSED

RETRY_SECONDS = 1.0
"""How often parked children are tried again while rows of their parents come in."""
PARTIAL = "the target has no such row, and the event holds only a part of it"


class Retrying:
    """One per session. Every method needs an open transaction, and raises what `translate` makes of an error."""

    def __init__(
        self, catalogue: Catalogue, parked: Parked, effects: Effects, writes: TableWrites, outcomes: Outcomes,
        resting: frozenset[str],
    ) -> None:  # fmt: skip
        """Nothing is written to `resting` tables."""
        self._catalogue = catalogue
        self._parked = parked
        self._effects = effects
        self._writes = writes
        self._outcomes = outcomes
        self._resting = resting
        self._tried_at = 0.0
        self._owed: set[Key] = set()
        """Keys with long queues whose parents have come since they were tried."""

    @property
    def due(self) -> bool:
        """Whether parked keys are to be tried again, because rows of a parent table have come, or because more waits
        behind them than was tried."""
        return self._parents_came or bool(self._rested())

    @property
    def _parents_came(self) -> bool:
        if time.monotonic() - self._tried_at < RETRY_SECONDS or not self._parked.entries:
            return False
        return bool(self._children(self._writes.arrived))

    def forget(self) -> None:
        """What was tried was rolled back: all may be tried again."""
        self._writes.arrived = set(self._catalogue.tables)
        self._tried_at = 0.0

    def try_again(self, refused: Sequence[Key]) -> None:
        """Try what was refused in this transaction, which is complete now, and what it may have set free."""
        entries = self._parked.entries
        self._retry([key for key in dict.fromkeys(refused) if key in entries and entries[key].kind == "refused"])
        if self._parents_came:
            self._retry_children(self._writes.arrived)
            self._writes.arrived = set()
            self._tried_at = time.monotonic()
        self._retry(self._rested())
        while tables := self._parked.unparked:
            self._parked.unparked = set()
            self._retry_children(tables)

    def redrive(self, key: Key, *, asked: bool = True) -> bool:
        """Write the queue of a refused key, because a person has asked for it or what it lacked has come; False when it
        was refused again."""
        events = self._parked.events(key)
        try:
            missing = self._effects.write(events)
        except Refused as error:
            self._parked.failed(error.sqlstate, {key: error.reason}, asked=asked)
            if asked:  # else it is tried again and again
                self._outcomes.redriven(*key, events, REFUSED, sqlstate=error.sqlstate, reason=error.reason)
            return False
        except CannotFold:
            missing = [key]
        if missing:
            self._lack(key, events)
        else:
            self._parked.unpark(key)
            self._outcomes.redriven(*key, events, REDRIVEN)
        return True

    def _retry_children(self, tables: set[str]) -> None:
        """What rows of these tables may set free; long queues among that when they have rested."""
        children = self._children(tables)
        self._owed.update(key for key in children if key in self._parked.long)
        self._retry([key for key in children if key not in self._parked.long])

    def _retry(self, keys: Sequence[Key]) -> None:
        """Try parked keys again, all at once; those that are not welcome yet stay as they are."""
        long, tried_at = [key for key in keys if key in self._parked.long], self._parked.rests.tried_at
        for key in long:  # never beside others, whose faults would have it judged again and again
            tried_at[key] = time.monotonic()
            self._owed.discard(key)
            if self.redrive(key, asked=False):
                del tried_at[key]
        keys = [key for key in keys if key not in long] if long else keys
        if not keys:
            return
        events = self._parked.events(*keys)
        try:
            missing, orphans = self._effects.write_screened(events)
        except (Refused, CannotFold, ChangedMeanwhile):
            if len(keys) == 1:
                self.redrive(keys[0], asked=False)
            else:
                self._retry(keys[: len(keys) // 2])
                self._retry(keys[len(keys) // 2 :])
            return
        waited: defaultdict[Key, list[Event]] = defaultdict(list)
        for event in events:
            waited[event.table, event.key].append(event)
        for key in missing:
            self._lack(key, waited[key])
        self._failed(keys, orphans)
        if welcome := [key for key in keys if key not in missing and key not in orphans]:
            self._parked.unpark(*welcome)
        for key in welcome:
            self._outcomes.redriven(*key, waited[key], REDRIVEN)

    def _failed(self, keys: Sequence[Key], orphans: Mapping[Key, str]) -> None:
        """Those that lack their parent; not again those of which that is known, and of which nothing has come since."""
        entries = self._parked.entries
        tried = {key: entries[key] for key in keys if key in orphans}
        if fresh := [key for key, one in tried.items() if one.sqlstate != FOREIGN_KEY or one.last > one.tried]:
            self._parked.failed(FOREIGN_KEY, {key: orphans[key] for key in fresh})

    def _rested(self) -> list[Key]:
        """Keys with long queues that are to be tried again, and were left alone for long enough."""
        now, found = time.monotonic(), []
        for key in sorted(self._parked.long):
            entry = self._parked.entries[key]
            rests = now - self._parked.rests.since(key)
            if (entry.last > entry.tried or key in self._owed) and rests >= entry.rest_seconds:
                found.append(key)
        return [key for key in found if key[0] not in self._resting]

    def _lack(self, key: Key, events: Sequence[Event]) -> None:
        self._parked.need(key, PARTIAL)
        self._outcomes.redriven(*key, events, PARKED, kind="needs_full_row", reason=PARTIAL)

    def _children(self, tables: set[str]) -> list[Key]:
        """Parked keys that a foreign key has refused and that rows of these tables may set free: those of children
        that lacked their parent, and of parents to which children referred still."""
        catalogue = self._catalogue.tables
        concerned = {
            name for name, table in catalogue.items() if any(key.parent in tables for key in table.foreign_keys)
        }
        concerned |= {key.parent for name in tables if name in catalogue for key in catalogue[name].foreign_keys}
        entries = self._parked.entries.items()
        concerned -= self._resting
        return [key for key, entry in entries if entry.sqlstate == FOREIGN_KEY and key[0] in concerned]
