"""Which events a target takes, by the conditions of its routes: a row that does not pass is deleted there.

A condition over the row alone is told from its event. One over parents is told from what `placemat.related` remembers
of them, as of the event's commit; when a parent changes, its children that pass no more leave in the same transaction,
and those that pass again are asked for until they come whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
import psycopg

from connectors.contract import Destination, Record
from connectors.postgres.literals import JSON_NULL
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.plan import Plan, Rule, plans
from connectors.postgres.related import FIRST, Name, Related, Row, name_of, read_columns
from connectors.postgres.rows import Change, Event
from connectors.route.condition import Column
from connectors.route.truth import MISSING, TRUE, Lookup, Missing, Text, text_of
from schemas.outbox import ASKED, DELETED, FILTERED, REMEMBERED
from schemas.position import START
from schemas.topics import table_topic

_JSON_NULL = bytes(JSON_NULL)

MOST_WANTED = 1_000
"""Rows that are asked for together."""
WANTED_SECONDS = 10.0
"""How long it is their turn: what is not answered must not keep those behind it from being asked for."""


def open_router(
    connection: psycopg.Connection[Any], destination: Destination, resting: frozenset[str] = frozenset(),
    outcomes: Outcomes | None = None,
) -> Router | None:  # fmt: skip
    """None where no route has a condition: then nothing is to be told of any row. `resting` are paused tables.

    Raises OperatorError where a condition does not fit the columns that it names.
    """
    name, source, routes = destination.name, destination.source, destination.routes
    if all(routing.where is None for routing in routes.values()):
        return None
    by_table = plans(name, routes, read_columns(connection, source))
    told = outcomes or Outcomes(source, {}, wanted=False)
    return Router(source, by_table, Related(connection, source), resting, told)


class Router:
    """One per session. Reads and writes within the open transaction, and keeps no row from one call to the next."""

    def __init__(
        self, source: str, by_table: Mapping[str, Plan], related: Related, resting: frozenset[str], outcomes: Outcomes
    ) -> None:
        self._source = source
        self._outcomes = outcomes
        self._plans = by_table
        self._related = related
        self._resting = resting
        paths = [path for plan in by_table.values() if plan.rule is not None for path in plan.rule.parents]
        self._levels = max(map(len, paths), default=0)
        """How far conditions look up: rows may refer to each other in a circle, or without end."""
        self._wants = any(plan.remembered for plan in by_table.values())
        """Whether a row may be wanted: else there is nothing to ask the target for."""
        self.unread: dict[str, frozenset[str]] = {}
        """Columns by table whose values are of a type that conditions do not read."""
        self._wanted_after: Name = FIRST
        self._wanted_since = time.monotonic()
        self._rows: dict[Name, Row | None] = {}
        self._touched: set[Name] = set()
        self._changed: set[Name] = set()
        self._doubted: set[str] = set()
        """Tables of which a row is gone, and nobody knows which: each is asked for, and its answer tells."""

    def route(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        """What is to be written for these events, in order and in parts. Each part is written before the next."""
        self._load(events)
        taken: list[Event] = []
        for event, then in zip_longest(events, events[1:]):
            taken += self._route(event, then)
        changed, self._changed = self._changed, set()
        self._flush()
        for table in self._doubted:
            self._related.doubt(table)
            self._wants = True
        self._doubted.clear()
        yield taken
        yield from self._follow(changed, self._levels)

    def rejoin(self, table: str) -> Iterator[list[Event]]:
        """What is to be written to a table that was paused, as parents of its rows have changed meanwhile; in parts."""
        plan = self._plans.get(table)
        if plan is not None and plan.rule is not None and plan.rule.parents:
            for page in self._related.rows(table):
                yield self._judge_page(page)

    def again(self, event: Event) -> Event:
        """A parked event as it is to be written now."""
        return self.all_again([event])[0]

    def all_again(self, events: Sequence[Event]) -> list[Event]:
        """Events that were taken before, as they are to be written now; what a part does not tell is `untold`."""
        names = [(event.table, name_of(event.key)) for event in events if self._recalls(event)]
        rows = self._related.load(names) if names else {}
        found = []
        for event in events:
            plan = self._plans.get(event.table)
            if plan is None or plan.rule is None or event.change.after is None:
                found.append(event)
            elif plan.remembered:
                row = rows.get((event.table, name_of(event.key)))
                found.append(event if row is not None and row.shown else _gone(event))
            elif plan.rule.own.isdisjoint(event.change.withheld or ()):
                found.append(self._judge(event, plan.rule)[-1])
            else:
                found.append(event)  # it passed when it came; the value that said so was not kept
        return found

    def _recalls(self, event: Event) -> bool:
        """Whether what is remembered of its row tells if it passes."""
        plan = self._plans.get(event.table)
        return plan is not None and plan.rule is not None and plan.remembered and event.change.after is not None

    def wanted(self) -> list[tuple[str, bytes]]:
        """Table and record key of rows that are to be read whole, because a parent's change lets them pass again.

        Where there are many, they take turns.
        """
        if not self._wants:
            return []
        found = self._related.wanted(self._wanted_after, MOST_WANTED)
        if not found and self._wanted_after != FIRST:
            found = self._related.wanted(FIRST, MOST_WANTED)
        self._wants = bool(found)
        if time.monotonic() - self._wanted_since >= WANTED_SECONDS:
            self._wanted_since = time.monotonic()
            self._wanted_after = next(reversed(found)) if len(found) == MOST_WANTED else FIRST
        return [(table, key) for (table, _), key in found.items()]

    # One event

    def _route(self, event: Event, then: Event | None) -> list[Event]:
        plan = self._plans.get(event.table)
        if plan is None or event.change.op == "n":
            return [event]
        if plan.remembered:
            return self._remember(event, plan, then)
        return self._judge(event, plan.rule) if plan.rule is not None and event.change.after is not None else [event]

    def _judge(self, event: Event, rule: Rule) -> list[Event]:
        """By the row alone."""
        if event.change.oversize is not None:
            return [_gone(event), event]
        fields = self._fields(event, rule.own, {})
        found = rule.test(lambda column: fields.get(column.name, MISSING))
        if found == TRUE:
            return [event]
        if found & TRUE:
            return [_untold(event)]
        self._outcomes.note(event, FILTERED)
        return [_gone(event)]

    def _remember(self, event: Event, plan: Plan, then: Event | None) -> list[Event]:
        """Keep what is asked for of a row, and tell from all that is kept whether it passes."""
        change = event.change
        if change.op == "t":
            self._empty(plan.table)
        elif not event.key:
            self._doubted.add(plan.table)
            self._outcomes.note(event, ASKED)
            return []
        elif change.moved_to and then is not None and bytes(then.change.moved_from) == event.key:
            pass  # its other half tells both keys; that of a row too large to publish does not
        elif change.after is None:
            self._forget((event.table, name_of(event.key)))
        else:
            return self._keep(event, plan)
        return self._passed(event, plan)

    def _keep(self, event: Event, plan: Plan) -> list[Event]:
        change = event.change
        name = event.table, name_of(event.key)
        before = self._rows.get(name)
        if change.moved_from:
            old = event.table, name_of(bytes(change.moved_from))
            self._load_names([old])
            before = self._rows.get(old)
            self._forget(old)
        known = before.fields if before is not None else {}
        # Of a row that is too large nothing is known but its key: whether it may be shown cannot be told.
        fields = {} if change.oversize is not None else self._fields(event, plan.fields, known)
        row = Row(event.key.decode(), fields, before is not None and before.shown)
        self._put(name, row)
        if before is None or fields != before.fields or change.moved_from:
            self._changed.add(name)
        partial = change.oversize is None and len(fields) < len(plan.fields)
        # What was passed over while the row was asked for is not made good by another part of it.
        row.wanted = partial and (plan.children or plan.rule is None)
        row.wanted |= before is not None and before.wanted and not change.complete
        if not plan.routed or plan.rule is None:
            return self._passed(event, plan)
        found = self._test(plan.rule, row)
        if found == TRUE:
            row.shown = True
            return [event]
        if found & TRUE and partial:
            row.wanted = True
            self._outcomes.note(event, ASKED)
            return []
        self._outcomes.note(event, DELETED if row.shown else FILTERED)
        row.shown = False
        row.wanted &= plan.children
        return [_gone(event), event] if change.oversize is not None else [_gone(event)]

    def _passed(self, event: Event, plan: Plan) -> list[Event]:
        if plan.routed:
            return [event]
        self._outcomes.note(event, REMEMBERED)
        return []

    def _fields(self, event: Event, names: Iterable[str], before: Mapping[str, str | None]) -> dict[str, str | None]:
        """The texts of columns. One that was not sent keeps the text that it had, if that is known; of one that the
        source had under another name, of another type, not yet, or not any more for a while, nothing is known."""
        after, unchanged = event.change.after or {}, event.change.unchanged or ()
        unread = self.unread.get(event.table, ())
        found: dict[str, str | None] = {}
        for name in names:
            if name in unread:
                continue
            if name in after:
                raw = bytes(after[name])
                found[name] = "null" if raw == _JSON_NULL else text_of(raw)
            elif name in unchanged and name in before:
                found[name] = before[name]
        return found

    # What is remembered

    def _load(self, events: Sequence[Event]) -> None:
        """Everything that these events' conditions may ask for, level by level."""
        self._rows = {}
        names: set[Name] = set()
        for event in events:
            plan = self._plans.get(event.table)
            if plan is None or not plan.remembered or event.change.op == "t" or not event.key:
                continue
            names.add((event.table, name_of(event.key)))
            after = event.change.after or {}
            for column, table in plan.refers.items():
                if column in after and (text := text_of(bytes(after[column]))) is not None:
                    names.add((table, text))
        self._load_names(names)

    def _load_names(self, names: Iterable[Name]) -> None:
        """Load rows and what they refer to, as far up as conditions look; None stands for a row that is not known."""
        level = set(names)
        for _ in range(self._levels + 1):
            if missing := level - self._rows.keys():
                self._rows |= dict.fromkeys(missing) | self._related.load(missing)
            level = {link for name in level if (row := self._rows[name]) is not None for link in self._links(name, row)}

    def _links(self, name: Name, row: Row) -> list[Name]:
        texts = ((table, row.fields.get(column)) for column, table in self._plans[name[0]].refers.items())
        return [(table, text) for table, text in texts if text is not None]

    def _put(self, name: Name, row: Row) -> None:
        self._rows[name] = row
        self._touched.add(name)
        self._load_names(self._links(name, row))
        self._ask_for_parents(name, row)

    def _ask_for_parents(self, name: Name, row: Row) -> None:
        """A parent that has not come may never do so by itself: its last event may be older than the topics."""
        plan = self._plans[name[0]]
        for column, key in plan.keys.items():
            text = row.fields.get(column)
            if text is not None and self._rows.get(parent := (plan.refers[column], text)) is None:
                self._rows[parent] = Row(key.record_key(text), {}, wanted=True)
                self._touched.add(parent)

    def _forget(self, name: Name) -> None:
        if self._rows.get(name) is not None:
            self._rows[name] = None
            self._touched.add(name)
            self._changed.add(name)

    def _empty(self, table: str) -> None:
        self._flush()
        self._related.clear(table)
        self._rows.update({name: None for name in self._rows if name[0] == table})

    def _flush(self) -> None:
        kept: dict[Name, tuple[Row, Sequence[Name]]] = {}
        gone: list[Name] = []
        for name in self._touched:
            row = self._rows[name]
            if row is None:
                gone.append(name)
            else:
                kept[name] = row, self._links(name, row)
                self._wants |= row.wanted
        self._related.forget(gone)
        self._related.store(kept)
        self._touched = set()

    def _test(self, rule: Rule, row: Row) -> int:
        return rule.test(self._lookup(rule, row))

    def _lookup(self, rule: Rule, row: Row) -> Lookup:
        def lookup(column: Column) -> Text:
            holder = row
            for depth in range(len(column.path)):
                parent = rule.parents[column.path[: depth + 1]]
                reference = holder.fields.get(parent.column, MISSING)
                if reference is None or isinstance(reference, Missing):
                    return reference
                found = self._rows.get((parent.table, reference))
                if found is None:
                    return MISSING  # it has not come yet
                holder = found
            return holder.fields.get(column.name, MISSING)

        return lookup

    # Children of what has changed

    def _follow(self, changed: Iterable[Name], levels: int) -> Iterator[list[Event]]:
        """Judge again whoever refers to these rows, and whoever refers to those, so many levels down."""
        parents = [name for name in changed if self._plans[name[0]].children] if levels else []
        for page in self._related.children(parents):
            yield self._judge_page(page)
            yield from self._follow(page, levels - 1)

    def _judge_page(self, page: Mapping[Name, Row]) -> list[Event]:
        """The rows of these that leave."""
        self._rows = dict(page)
        self._load_names({link for name, row in page.items() for link in self._links(name, row)})
        leaving = [event for name, row in page.items() if (event := self._judge_again(name, row)) is not None]
        self._flush()
        return leaving

    def _judge_again(self, name: Name, row: Row) -> Event | None:
        plan = self._plans[name[0]]
        if plan.rule is None or name[0] in self._resting:
            return None  # nothing is written to a paused table: its rows are judged when it rejoins
        found = self._test(plan.rule, row)
        if (found == TRUE) == row.shown and not row.wanted:
            return None
        self._touched.add(name)
        if found == TRUE:
            # `shown` follows when the row has come whole: an update of a part of it has nothing to write to.
            row.wanted |= not row.shown
            return None
        row.wanted = len(row.fields) < len(plan.fields) and (plan.children or bool(found & TRUE))
        if not row.shown:
            return None
        row.shown = False
        key = row.key.encode()
        topic = table_topic(self._source, *name[0].split(".", 1))
        event = Event(name[0], Record(topic, 0, -1, START, key, _deletion(key)), Change("d"))
        self._outcomes.note(event, DELETED)
        return event


def _gone(event: Event) -> Event:
    """Its row leaves; should that have to wait, nothing else of it does."""
    return Event(event.table, event.record._replace(value=_deletion(event.key)), Change("d"))


def _deletion(key: bytes) -> bytes:
    return b'{"before":%b,"after":null,"op":"d"}' % (key or b"null")


def _untold(event: Event) -> Event:
    return event._replace(change=msgspec.structs.replace(event.change, untold=True))
