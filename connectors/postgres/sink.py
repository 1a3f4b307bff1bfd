"""A PostgreSQL target: rows, parked keys and offsets in one transaction, fenced by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import psycopg

from connectors.contract import Destination, Hold, NewShape, Pin, Progress, Record, Rerouted, TableLane, Wanted
from connectors.errors import Unavailable
from connectors.postgres import pins, plan, turns
from connectors.postgres.adapt import Adapting
from connectors.postgres.bookkeeping import MAIN_LANE
from connectors.postgres.guard import BEFORE_ALL, LAST
from connectors.postgres.holds import Exceeded, Holds
from connectors.postgres.lanes import Lanes
from connectors.postgres.mirror.queueing import Queueing
from connectors.postgres.outcomes import Outcomes
from connectors.postgres.parked import Parked, Rests
from connectors.postgres.related import read_columns
from connectors.postgres.rerouting import Rerouting
from connectors.postgres.router import Router, open_router
from connectors.postgres.session import open_session, translated
from connectors.postgres.statements import read_catalogue
from connectors.postgres.two_way.inward import Awaited
from connectors.postgres.two_way.session import TwoWay
from connectors.postgres.unrouted import Unrouted
from connectors.postgres.untellable import check_conditions, unfit_as_gone, unread
from connectors.postgres.writer import Writer
from schemas.outbox import DISCARDED
from schemas.topics import messages_topic, table_topic, transactions_topic

_END_PREDECESSORS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND application_name = current_setting('application_name')
"""
GIVE_WAY = "300ms"


class PostgresSink:
    """See `connectors.contract.Sink`."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        tables = plan.tables(destination.routes)
        self._topics = {table_topic(destination.source, *table.split(".", 1)): table for table in tables}
        self._above = plan.above(
            {table: {one.table for one in routing.parents.values()} for table, routing in destination.routes.items()}
        )
        self._routed = {topic: table for topic, table in self._topics.items() if table in destination.routes}
        self._origin = turns.origin(destination)
        self._connection: psycopg.Connection[Any] | None = None
        self._parked: Parked | None = None
        self._writer: Writer | None = None
        self._router: Router | None = None
        self._lanes: Lanes | None = None
        self._rerouting: Rerouting | None = None
        self._two_way: TwoWay | None = None
        self._awaited = Awaited()
        self._rests = Rests()
        self._holds: Holds | None = None
        self._messages = messages_topic(destination.source) if destination.both_ways is not None else None
        self._outcomes = Outcomes(destination.source, {}, wanted=False)

    def claim(self) -> Progress:
        self.close()
        with self._translated():
            # People write here too: we are the first to give way, before PostgreSQL looks for a deadlock (after 1 s).
            both = self._destination.both_ways
            patience = {"lock_timeout": GIVE_WAY} if both is not None and both.observing is None else {}
            connection = self._connection = open_session(
                self._destination.url, f"placemat apply {self._destination.name}", **patience
            )
            # A frozen predecessor holds locks until its session ends; it could not commit any more.
            connection.execute(_END_PREDECESSORS)
            connection.commit()
            lanes = Lanes(connection, self._destination.name, self._destination.source, self._topics, self._above)
            lanes.claim()
            self._forget_unrouted(connection, lanes)
            catalogue = read_catalogue(connection, self._destination.name, self._destination.routes)
            self._pause_missing(lanes, catalogue.missing)
            paused = lanes.paused
            outcomes = Outcomes(
                self._destination.source, lanes.next_offsets, lanes.main.place[0],
                wanted=self._destination.audited, silent=self._messages,
                queueing=self._queueing() if self._destination.mirror else None,
            )  # fmt: skip
            self._outcomes = outcomes
            router = self._router = open_router(connection, self._destination, paused, outcomes)
            self._parked = Parked(
                connection, self._destination.source, router, self._destination.routes, outcomes, self._rests
            )
            self._parked.load()
            holds = self._holds = Holds(connection, self._destination, catalogue)
            holds.load(lanes.main, lanes.tables)
            self._rerouting = Rerouting(connection, self._destination, {lane.table for lane in lanes.tables})
            two_way = self._two_way = (
                TwoWay(connection, self._destination, catalogue, self._awaited)
                if self._destination.both_ways is not None
                else None
            )
            connection.commit()
        self._lanes = lanes
        self._writer = Writer(
            connection,
            self._destination.name,
            self._topics,
            catalogue,
            self._parked,
            router,
            paused,
            holds,
            two_way,
            outcomes,
        )
        return lanes.main

    def lanes(self) -> list[TableLane]:
        _, writer, _, lanes = self._session()
        return sorted(lanes.tables, key=lambda lane: writer.rank(lane.table))

    def rerouted(self) -> list[Rerouted]:
        return self._rerouting.found if self._rerouting is not None else []

    def settle_routes(self) -> None:
        connection, _, _, lanes = self._session()
        rerouting, self._rerouting = self._rerouting, None
        if rerouting is not None and rerouting.due:
            with self._translated():
                lanes.hold()
                rerouting.settle()
                connection.commit()

    def pinned(self) -> Mapping[str, Pin]:
        return pins.pinned(self._destination)

    def pin(self, found: Mapping[str, Pin]) -> Mapping[str, Pin]:
        connection, _, _, _ = self._session()
        with self._translated():
            kept = pins.pin(connection, self._destination.source, found)
            connection.commit()
        return kept

    def adapt(self, shape: NewShape) -> bool:
        connection, writer, _, lanes = self._session()
        claimed, destination = writer.catalogue, self._destination
        with self._translated():
            known = read_columns(connection, destination.source)
            connection.rollback()
        check_conditions(destination.name, destination.routes, shape, known, lanes.paused)
        if self._router is not None:
            self._router.unread[shape.table] = unread(destination.routes, shape, known)
        if shape.keyless:
            writer.reading.keys[shape.table] = shape.key
        writer.reading.rekeyed[shape.table] = shape.key_back if plan.referring(destination.routes, shape.table) else ()
        routing = destination.routes.get(shape.table)
        if routing is None:
            return False
        with self._translated():
            self._begin(connection, anew=True)
            lanes.hold()
            if destination.both_ways is None or destination.both_ways.observing is None:
                # The hub's own tables are what they are.
                Adapting(connection, destination.name, routing, shape, additive=destination.additive).run()
            now = read_catalogue(connection, destination.name, {shape.table: routing})
            connection.commit()
        return now.layout(shape.table) != claimed.layout(shape.table)

    def gone(self, table: str) -> NoReturn:
        _, _, _, lanes = self._session()
        raise unfit_as_gone(self._destination.name, self._destination.routes, table, lanes.paused)

    def write(self, records: Sequence[Record], table: str | None = None) -> None:
        connection, writer, _, lanes = self._session()
        with self._translated():
            self._begin(connection)
            if self._holds is not None and records:
                position = records[0].position
                self._holds.begin(table, (position.timeline, position.commit_lsn))
            if self._two_way is not None:
                self._two_way.narrow({table} if table else self._two_way.tables - {one.table for one in lanes.tables})
            self._outcomes.take(records)
            writer.write(records)
            self._outcomes.spill(connection, MAIN_LANE, lanes.ends_from(), writer.waiting)

    def commit(self, progress: Progress, table: str | None = None) -> None:
        connection, writer, _, lanes = self._session()
        with self._guarded(connection, lanes) as holds, self._translated():
            self._begin(connection)
            holds.begin(table, progress.place)
            writer.finish()
            holds.check()
            self._outcomes.store(connection, table or MAIN_LANE, lanes.ends_from(table), progress)
            lanes.store(progress, table)
            holds.settle(progress.place)
            self._commit(connection)
        self._outcomes.stored(progress)
        lanes.stored(progress, table)
        holds.committed(progress.place)

    def hold(self, table: str | None = None) -> Hold | None:
        return self._holds.hold(table) if self._holds is not None else None

    def pause(self, table: str, reason: str, advice: str) -> None:
        connection, _, _, lanes = self._session()
        with self._translated():
            self._begin(connection, anew=True)
            lanes.pause(table, reason, advice)
            connection.commit()

    def rejoin(self, table: str) -> None:
        connection, writer, _, lanes = self._session()
        with self._guarded(connection, lanes, for_good=True) as holds, self._translated():
            self._begin(connection, anew=True)
            holds.begin(table, BEFORE_ALL)
            lanes.rejoin(table)
            writer.rejoin(table)
            holds.check()
            holds.settle(LAST)
            self._tell(connection, lanes)
            self._commit(connection)

    def regrouped(self) -> bool:
        connection, _, _, lanes = self._session()
        with self._translated():
            changed = lanes.regroup()
            answered = self._holds is not None and self._holds.answered()
            connection.commit()
        return changed or answered

    def rollback(self) -> None:
        self._outcomes.forget()
        if self._connection is None:
            return
        with self._translated():
            self._connection.rollback()
            if self._writer is not None and self._parked is not None:
                self._writer.forget()
                self._parked.load()
                self._connection.commit()

    def attend(self) -> None:
        connection, writer, parked, lanes = self._session()
        if not parked.entries:
            return
        with self._translated():
            asked = [(key, request) for key, request in parked.asked() if not writer.rests(key[0])]
            if not asked and not writer.retrying.due:
                connection.rollback()
                return
            self._begin(connection, anew=True)
            lanes.hold()
            for key, request in asked:
                if request == "discard":
                    self._outcomes.change(*key, DISCARDED, parked.events(key))
                    writer.discard(key)
                elif parked.entries[key].kind == "refused":
                    writer.retrying.redrive(key)
                else:
                    parked.ask_again(key)
            writer.finish()
            self._tell(connection, lanes)
            self._commit(connection)
            self._outcomes.forget()

    def wanted(self) -> list[Wanted]:
        connection, _, parked, lanes = self._session()
        apart = {lane.table for lane in lanes.tables}
        found = [Wanted(*key) for key, entry in parked.entries.items() if entry.asks]
        if self._router is not None:
            with self._translated():
                found += [Wanted(*key) for key in self._router.wanted()]
                connection.rollback()
        # Of a paused table no answer is read, and of one that catches up what is on its way may be one.
        return [one for one in found if one.table not in apart]

    def outcomes(self) -> Mapping[str, int]:
        return self._outcomes.counted()

    def parked(self) -> int:
        return len(self._parked.entries) if self._parked is not None else 0

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if self._two_way is not None:
            self._two_way.close()
        self._writer = self._parked = self._lanes = self._rerouting = self._holds = self._two_way = None
        if connection is not None:
            connection.close()

    def _forget_unrouted(self, connection: psycopg.Connection[Any], lanes: Lanes) -> None:
        source, topics = self._destination.source, self._topics
        kept = {*topics, transactions_topic(source)}
        if self._messages is not None:
            kept.add(self._messages)
        if unrouted := Unrouted(connection, source, kept, topics.values(), self._destination.routes):
            self._begin(connection, anew=True)
            unrouted.forget()
            lanes.hold()
            connection.commit()
            lanes.claim()

    def _queueing(self) -> Queueing:
        untold = {one.table for one in self._destination.mirrored if not one.told}
        return Queueing({topic: table for topic, table in self._routed.items() if table not in untold})

    def _pause_missing(self, lanes: Lanes, missing: frozenset[str]) -> None:
        """A table that is not there takes nothing, and need not hold up the others."""
        name = self._destination.name
        if concerned := missing - lanes.paused:
            for table in sorted(concerned):
                advice = (
                    f"Create it there, then: placemat resume {name} {table}; or take it out of targets.{name}.tables."
                )
                there = self._destination.routes[table].table or table
                lanes.pause(table, f"Target {name} has no table {there}.", advice)
            lanes.claim()

    def _begin(self, connection: psycopg.Connection[Any], *, anew: bool = False) -> None:
        """Mark the transaction as ours before its first row, so that no capture takes it for anybody else's, and wait
        for a replay that is writing."""
        if anew or connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            origin = self._origin if self._two_way is None else self._two_way.origin()
            turns.begin_live(connection, self._destination.source, origin)

    def _commit(self, connection: psycopg.Connection[Any]) -> None:
        connection.commit()
        if self._two_way is not None:
            self._two_way.committed()

    def _tell(self, connection: psycopg.Connection[Any], lanes: Lanes) -> None:
        """What was done to keys beside the stream."""
        self._outcomes.store(connection, MAIN_LANE, lanes.ends_from(), None)

    def _session(self) -> tuple[psycopg.Connection[Any], Writer, Parked, Lanes]:
        if self._connection is None or self._writer is None or self._parked is None or self._lanes is None:
            raise Unavailable(f"target {self._destination.name} is not connected")
        return self._connection, self._writer, self._parked, self._lanes

    @contextmanager
    def _guarded(self, connection: psycopg.Connection[Any], lanes: Lanes, *, for_good: bool = False) -> Iterator[Holds]:
        """What would delete too much is rolled back by the time it comes here, and the hold is stored."""
        holds = self._holds
        assert holds is not None, "the session is open"
        try:
            yield holds
        except Exceeded as exceeded:
            with self._translated():
                self._begin(connection, anew=True)
                lanes.hold()
                holds.store(exceeded, for_good=for_good)
                connection.commit()
            raise

    def _translated(self) -> AbstractContextManager[None]:
        """Whatever goes wrong, nothing stays half done."""
        name = self._destination.name
        return translated(name, "refuses what placemat keeps there", "Run: placemat init", self._abandon)

    def _abandon(self) -> None:
        self._outcomes.forget()
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
            if self._writer is not None and self._parked is not None:
                self._writer.forget()
                self._parked.load()
                connection.commit()
        except psycopg.Error:
            self.close()
