"""From the topics: the rows of tables at a moment, and every event of single keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Message

from daemon.config.settings import Settings
from daemon.history.events import Seen, seen
from daemon.history.past import Past
from daemon.history.shape import Shape, shape_as_met
from daemon.history.span import At, Bounds, Oldest, PastLocator, Span
from daemon.history.versions import others
from daemon.progress import Tracker
from daemon.recover.locate import Place, place_of
from daemon.recover.reader import ReplayReader
from schemas.position import Position
from schemas.topics import table_topic, transactions_topic

Part = Literal["within", "inside", "beyond"]


@dataclass(frozen=True, slots=True)
class Question:
    """Which rows, and when: tables of one source, and keys of the only table as a person writes them (none: all).

    `until` is the end of the window after the moment whose changes are told apart from those that are later.
    """

    source: str
    tables: Sequence[str]
    at: At
    until: At | None = None
    keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of each table, its columns then, and the partitions that retention has cut; `records` count.

    `uncovered` are partitions that do not hold every change since the moment.
    """

    tables: Mapping[str, Past]
    shapes: Mapping[str, Shape]
    lost: Mapping[str, Mapping[int, Oldest]]
    uncovered: Mapping[str, Sequence[int]]
    records: int


@contextmanager
def read_past(settings: Settings, era: int, question: Question, tracker: Tracker) -> Iterator[Answer]:
    """Fold the topics of a source, which is in that era.

    Raises OperatorError for a table without a key or a topic, and Unavailable when Kafka does not answer.
    """
    topics = {table_topic(question.source, *table.split(".", 1)): table for table in question.tables}
    with ExitStack() as stack:
        with closing(PastLocator(settings.kafka, transactions_topic(question.source), era)) as locator:
            bounds = locator.bounds(question.at)
            window = locator.bounds(question.until) if question.until is not None else None
            span = locator.span(list(topics), bounds.era, question.keys)
            announced = locator.shapes(question.source, question.tables, bounds)
        fold = _Fold(topics, bounds, window, span, tracker)
        for past in fold.tables.values():
            stack.callback(past.close)
        with closing(ReplayReader(settings.kafka, span.starts)) as reader:
            tracker.begin("reading", reader.behind(span.ends))
            reader.read(span.ends, fold.take)
        shapes = {}
        for table, past in fold.tables.items():
            past.settle(announced[table].made_lsn if table in announced else 0)
            shapes[table] = announced.get(table) or shape_as_met(past.columns())
        lost: dict[str, dict[int, Oldest]] = {table: {} for table in question.tables}
        for (topic, partition), oldest in span.lost.items():
            lost[topics[topic]][partition] = oldest
        uncovered = {table: span.uncovered(topic, bounds) for topic, table in topics.items()}
        yield Answer(fold.tables, shapes, lost, uncovered, fold.records)


def read_events(settings: Settings, source: str, table: str, text: str, tracker: Tracker) -> tuple[bytes, list[Seen]]:
    """The record key that a person means, and the events of all keys that its rows had, with truncates.

    Raises as `read_past` does.
    """
    topic = table_topic(source, *table.split(".", 1))
    found: dict[bytes, list[Seen]] = {}
    truncates: dict[tuple[int, int], Seen] = {}
    with closing(PastLocator(settings.kafka, transactions_topic(source), 0)) as locator:
        span = locator.span([topic], None, [text])
        key = next(iter(span.keys or ()))
        wanted = {key}
        while wanted:
            found |= {one: [] for one in wanted}
            for event in _events(settings, span, tracker):
                if event.key:
                    found[event.key].append(event)
                else:
                    truncates[event.partition, event.offset] = event
            wanted = others(event for one in wanted for event in found[one]) - found.keys()
            if wanted:
                span = locator.of_keys(topic, wanted)
    return key, [*truncates.values(), *(event for events in found.values() for event in events)]


def _events(settings: Settings, span: Span, tracker: Tracker) -> list[Seen]:
    keys = {b"", *(span.keys or ())}
    events: list[Seen] = []

    def take(messages: Sequence[tuple[Message, Position]]) -> None:
        events.extend(seen(message, position) for message, position in messages if (message.key() or b"") in keys)
        tracker.advance(len(messages))

    with closing(ReplayReader(settings.kafka, span.starts)) as reader:
        tracker.begin("reading", reader.behind(span.ends))
        reader.read(span.ends, take)
    return events


class _Fold:
    def __init__(
        self, topics: Mapping[str, str], bounds: Bounds, window: Bounds | None, span: Span, tracker: Tracker
    ) -> None:
        self._topics, self._bounds, self._window, self._keys = topics, bounds, window, span.keys
        self._tracker = tracker
        self.tables = {table: Past(table, bounds.era, span.covers(topic, bounds)) for topic, table in topics.items()}
        self.records = 0

    def take(self, messages: Sequence[tuple[Message, Position]]) -> None:
        parts: defaultdict[tuple[str, Part], list[Seen]] = defaultdict(list)
        for message, position in messages:
            event = seen(message, position)
            if self._keys is not None and event.key not in self._keys and event.key != b"":
                continue
            table = self._topics[message.topic() or ""]
            if (part := self._part(place_of(position.timeline, position.commit_lsn))) is not None:
                parts[table, part].append(event)
        for (table, part), events in parts.items():
            if part == "within":
                self.tables[table].take(events)
            else:
                self.tables[table].take_later(events, beyond=part == "beyond")
            self.records += len(events)
        self._tracker.advance(len(messages))

    def _part(self, place: Place) -> Part | None:
        if self._bounds.holds(place):
            return "within"
        if not self._bounds.passed(place):
            return None
        return "beyond" if self._window is not None and self._window.passed(place) else "inside"
