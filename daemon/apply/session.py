"""What is in memory from one claim of the target to the next: the main lane, and the one that catches up.

A table that is paused is left out; its changes wait in Kafka. When it is resumed, the same merge runs over its own
partitions, beside the main lane and never beyond it. Where both stand at the same commit, it rejoins. Every such change
is committed in the target first; then all begins anew from what stands there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from threading import Event

import structlog

from connectors.contract import Held, Hold, Progress, Sink, TableLane
from daemon.apply.lane import Lane
from daemon.apply.requests import RowRequests
from daemon.apply.shapes import Shapes
from daemon.config.kafka import Kafka
from daemon.config.target import Target
from daemon.consume.consumer import LaneConsumer, PartitionReader
from daemon.consume.versions import Versions
from daemon.errors import OperatorError, TableUnfit
from daemon.observe import metrics
from daemon.seams import AFTER_REGROUP, AFTER_REJOIN, BEFORE_REJOIN, seam
from daemon.supervisor import Report
from schemas.envelope import TransactionEnd
from schemas.topics import messages_topic, table_topic, transactions_topic

POLL_SECONDS = 0.1
ATTEND_SECONDS = 0.5
REPORT_SECONDS = 15.0
TURN_SECONDS = 1.0
"""How long the main lane stands still for one that has nearly caught up."""
NEAR = 1_000
"""Transactions between the two."""
CATCH_UP_POLL_SECONDS = 0.01

log = structlog.get_logger(__name__)


class Lost(Exception):
    """The lanes were given to another worker."""


class Regrouped(Exception):
    """A table has left the main lane, has come back to it, or was altered: begin anew from what the target has."""


class Session:
    """Raises Lost, Regrouped, and what the sink and the consumer raise."""

    def __init__(
        self, sink: Sink, name: str, target: Target, kafka: Kafka, consumer: LaneConsumer, requests: RowRequests,
        versions: Versions, stored: Progress, *, both_ways: bool = False,
    ) -> None:  # fmt: skip
        self._sink = sink
        self._name = name
        self._target = target
        self._kafka = kafka
        self._consumer = consumer
        self._requests = requests
        self._generation = consumer.generation
        self._spine = transactions_topic(target.source), 0
        self._notes = messages_topic(target.source) if both_ways else None
        apart = sink.lanes()
        without = {lane.table for lane in apart}
        topics = {self._topic(table): table for table in target.needed if table not in without}
        self._main = Lane(sink, name, target, consumer, self._spine, topics, stored, consumer.commit, notes=self._notes)
        self._shapes = Shapes(sink, versions, topics, requests.ask_for_tables)
        self._ask_for_joining(self._main, topics)
        self._ask_for_rerouted({topics[topic] for topic in self._main.joining})
        self._resuming = next((lane for lane in apart if lane.resuming), None)
        behind = {self._topic(lane.table): lane.table for lane in apart if lane is self._resuming}
        self._shapes_behind = Shapes(sink, versions, behind, requests.ask_for_tables)
        self._reader: PartitionReader | None = None
        self._behind: Lane | None = None
        self._attended_at = 0.0
        self._looked_at = float("-inf")

    def work(self, stop: Event, report: Report, check: Callable[[], None]) -> None:
        """Until `stop`, or until `check` raises."""
        metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
        self._tell(report)
        reported = time.monotonic()
        try:
            while not stop.is_set():
                check()
                self._turn(stop)
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    self._tell(report)
            self._sink.rollback()
        except TableUnfit as unfit:
            self._pause(unfit.table, unfit)
        except Held as held:
            raise Regrouped from held
        finally:
            if self._reader is not None:
                self._reader.close()

    def _tell(self, report: Report) -> None:
        """Whether an operator is waited for; what of the lane comes before that is applied all the same."""
        waiting = [hold for hold in (self._sink.hold(), self._hold_behind()) if hold is not None and not hold.answered]
        metrics.HELD_DELETES.labels(self._name).set(sum(hold.rows for hold in waiting))
        if waiting:
            report("waiting", f"{waiting[0].sentence} Try: {waiting[0].advice}")
        else:
            report("running", None)

    def _hold_behind(self) -> Hold | None:
        return self._sink.hold(self._resuming.table) if self._resuming is not None else None

    def _turn(self, stop: Event) -> None:
        busy = self._main.streaming or self._resuming is not None
        self._main.feed(0.0 if busy else POLL_SECONDS)
        if not self._consumer.owned or self._consumer.generation != self._generation:
            raise Lost
        resting = False
        if self._behind is None or not self._behind.streaming:
            resting = self._main.apply(stop, self._admitted)
            self._adapt(self._shapes)
        if self._resuming is not None and not self._main.streaming:
            self._catch_up(self._resuming, stop)
        if not self._main.streaming and (self._behind is None or not self._behind.streaming):
            self._attend(resting)

    def _attend(self, resting: bool) -> None:
        """What operators have asked for; parked keys only when there is nothing else to do."""
        now = time.monotonic()
        if now - self._attended_at < ATTEND_SECONDS:
            return
        self._attended_at = now
        if self._main.retrying(self._sink.regrouped):
            seam(AFTER_REGROUP)
            log.info("tables were regrouped", target=self._name)
            raise Regrouped
        if resting:
            self._main.retrying(self._sink.attend)
            metrics.PARKED_KEYS.labels(self._name).set(self._sink.parked())
            self._requests.ask(self._sink.wanted())
            if now - self._looked_at >= self._target.check_interval_seconds:
                self._looked_at = now
                self._shapes.check_there(self._main.applied)

    def _catch_up(self, resuming: TableLane, stop: Event) -> None:
        """A turn of the lane that is behind. Where little is left, the main lane waits for it, so that they meet."""
        hold = self._hold_behind()
        waits = hold is not None and not hold.answered
        try:
            lane = self._behind = self._behind or self._open(resuming)
            until = time.monotonic() + TURN_SECONDS
            while not stop.is_set():
                lane.feed(CATCH_UP_POLL_SECONDS)
                lane.apply(stop, self._not_beyond_main)
                if lane.streaming:
                    return
                self._adapt(self._shapes_behind)
                if waits:
                    return
                if lane.applied == self._main.applied:
                    self._shapes_behind.check_there(lane.applied)
                    seam(BEFORE_REJOIN)
                    self._sink.rejoin(resuming.table)
                    seam(AFTER_REJOIN)
                    log.info("paused table has caught up", target=self._name, table=resuming.table)
                    raise Regrouped
                if self._main.next_offset - lane.next_offset > NEAR or time.monotonic() > until:
                    return
        except TableUnfit:
            raise
        except OperatorError as error:
            self._pause(resuming.table, error)

    def _admitted(self, end: TransactionEnd) -> bool:
        return _admits(self._sink.hold(), end) and self._shapes.known(end)

    def _not_beyond_main(self, end: TransactionEnd) -> bool:
        if (end.timeline, end.commit_lsn) > self._main.applied or not _admits(self._hold_behind(), end):
            return False
        return self._shapes_behind.known(end)

    def _adapt(self, shapes: Shapes) -> None:
        if altered := self._main.retrying(shapes.adapt):
            log.info("table is another one than before", target=self._name, table=altered)
            raise Regrouped

    def _open(self, resuming: TableLane) -> Lane:
        self._reader = PartitionReader(self._kafka, self._name, self._target.buffer_bytes // 2)
        topics = {self._topic(resuming.table): resuming.table}
        log.info("paused table catches up", target=self._name, table=resuming.table)
        lane = Lane(
            self._sink, self._name, self._target, self._reader, self._spine, topics, resuming.progress,
            lambda offsets: self._consumer.commit({key: at for key, at in offsets.items() if key != self._spine}),
            resuming.table, self._notes,
        )  # fmt: skip
        self._ask_for_joining(lane, topics)
        return lane

    def _ask_for_joining(self, lane: Lane, topics: Mapping[str, str]) -> None:
        """Before the lane's first commit, after which they are known: asked for twice rather than never."""
        tables = sorted(topics[topic] for topic in lane.joining)
        for table in tables:
            advice = (
                "Rows that the target has and the source has no more stay there; to delete them:"
                f" placemat snapshot {table} --delete-gone"
            )
            log.info("table is followed from now on, and asked for", target=self._name, table=table, advice=advice)
        self._requests.ask_for_tables(*tables)

    def _ask_for_rerouted(self, joining: Collection[str]) -> None:
        """Before that is stored: asked for twice rather than never. Those that join are asked for already."""
        rerouted = [one for one in self._sink.rerouted() if one.table not in joining]
        for one in rerouted:
            log.info(
                "route is another one than before, and its table is asked for",
                target=self._name,
                table=one.table,
                advice=one.advice,
            )
        self._requests.ask_for_tables(*(one.table for one in rerouted))
        self._sink.settle_routes()

    def _pause(self, table: str, why: OperatorError) -> None:
        self._sink.pause(table, str(why), why.try_)
        log.warning("table is paused", target=self._name, table=table, error=str(why), advice=why.try_)
        raise Regrouped from why

    def _topic(self, table: str) -> str:
        return table_topic(self._target.source, *table.split(".", 1))


def _admits(hold: Hold | None, end: TransactionEnd) -> bool:
    return hold is None or hold.admits((end.timeline, end.commit_lsn))
